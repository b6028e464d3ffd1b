"""Who does what, so that several processes asked for the same work do it once.

A lease is a file, made by the first process to come, on a shared file system too, and renewed while the work
goes on: `filelock.SoftFileLease`. Only time depends on it: work whose lease was lost is done twice, and the
first result stays.
"""

import time
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

RENEWED_EVERY_S = 20.0
STALE_S = 180.0  # a lease not renewed for this long is free: longer than network file systems cache times


class Leases(ExitStack):
    """Leases on names in a folder; those that this process holds end with the `with` block.

    A lease of another machine is stale to an object that has seen it unchanged for `STALE_S`: keep one object
    while you poll. Clocks of different machines are never compared.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._leases: dict[str, SoftFileLease] = {}
        self._unchanged: dict[str, tuple[tuple[int, int], float]] = {}  # inode and time of change; seen since

    def acquire(self, name: str) -> bool:
        """Take the lease on a name; False where another process holds it.

        The lease of a process of this machine that was killed is free at once, that of another machine after
        `STALE_S` without renewal.
        """
        if name not in self._leases:
            self._leases[name] = SoftFileLease(
                self._folder / name, lease_duration=STALE_S, heartbeat_interval=RENEWED_EVERY_S
            )
            self.callback(self._leases[name].release, force=True)
        lease = self._leases[name]
        if not lease.is_locked:
            self._remove_abandoned(name)
        with suppress(Timeout, LeaseSettingsMismatch):
            lease.acquire(blocking=False)
        return lease.is_locked

    def is_free(self, name: str) -> bool:
        """Return whether no process holds the lease on a name."""
        free = self.acquire(name)
        self._leases[name].release()
        return free

    def _remove_abandoned(self, name: str) -> None:
        """Remove a lease that is stale, but that `SoftFileLease` does not take over.

        It does so by exchanging two names, which NFS and other network file systems refuse, and it leaves an
        empty file alone, the lease of a process that was killed before it could write it.
        """
        path = self._folder / name
        with suppress(FileNotFoundError):
            change, now = _last_change(path), time.monotonic()
            seen, since = self._unchanged.setdefault(name, (change, now))
            if seen != change:
                self._unchanged[name] = change, now
            elif now - since > STALE_S + RENEWED_EVERY_S:
                # Only one process can rename it. A later one may meet a new lease, and puts it back.
                aside = path.with_name(f".{name}.{uuid.uuid4().hex}")
                path.rename(aside)
                if _last_change(aside) != change:
                    with suppress(FileExistsError):
                        path.hardlink_to(aside)
                aside.unlink()


def _last_change(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns
