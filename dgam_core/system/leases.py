"""Who does what, so that several processes asked for the same work do it once.

A lease is a file, made by whoever comes first, on a shared file system too, and kept fresh while the work
goes on. Nothing depends on it but time: work whose lease was lost is done twice, and the first result stays.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FRESH_S = 20.0  # how often a lease is freshened
STALE_S = (
    180.0  # after this long without, its holder is taken for dead: more than file systems keep times for
)


class Leases:
    """Leases on names in a folder, all held by this process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mine: set[Path] = set()
        self._over = threading.Event()

    def acquire(self, name: str) -> bool:
        """Take the lease on a name; False where another process holds it."""
        path = self._folder / name
        if path in self._mine:
            return True
        self._folder.mkdir(parents=True, exist_ok=True)
        if _is_stale(path):
            # Only one can rename it. One that comes later may meet another's new lease, and puts it back.
            aside = path.with_name(f".{name}.{uuid.uuid4().hex}")
            with suppress(FileNotFoundError):
                path.rename(aside)
                if not _is_stale(aside):
                    with suppress(FileExistsError):
                        path.hardlink_to(aside)
                aside.unlink()
        try:
            with path.open("x", encoding="utf-8") as file:
                json.dump({"host": socket.gethostname(), "pid": os.getpid()}, file)
        except FileExistsError:
            return False
        self._mine.add(path)
        return True

    def release_all(self) -> None:
        """Give back what is held."""
        self._over.set()
        while self._mine:
            self._mine.pop().unlink(missing_ok=True)

    def keep_fresh(self) -> None:
        """Freshen all leases until they are given back."""
        while not self._over.wait(FRESH_S):
            for path in list(self._mine):
                with suppress(OSError):
                    os.utime(path)


@contextmanager
def leases(folder: Path) -> Iterator[Leases]:
    """Hold leases for as long as the block lasts."""
    own = Leases(folder)
    threading.Thread(target=own.keep_fresh, daemon=True).start()
    try:
        yield own
    finally:
        own.release_all()


def _is_stale(path: Path) -> bool:
    """Whether a lease's holder is dead."""
    try:
        age_s = time.time() - path.stat().st_mtime
        holder = json.loads(path.read_text(encoding="utf-8"))
        here = holder["host"] == socket.gethostname()
        return age_s > STALE_S or (here and not _lives(int(holder["pid"])))
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError):
        return age_s > STALE_S  # not written yet, or its writer died before it could


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
