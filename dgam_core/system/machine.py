"""What this machine offers: free memory, CPU threads and the device to compute on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch

from dgam_core.errors import InputError

# Linux's control groups: where they are, and to which of them this process belongs.
GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
# In both versions: files with the limit and the use in bytes, and in memory.stat what is used only to keep
# files at hand and is given up where it is wanted.
SECOND = ("memory.max", "memory.current", "inactive_file")
FIRST = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def free_bytes(device: torch.device) -> int:
    """Return the memory of a device that is free, in bytes; on the CPU no more than control groups leave."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return max(0, min([int(psutil.virtual_memory().available), *_left()]))


def _left() -> Iterator[int]:
    """What each control group of this process leaves of its limit; one without a limit says nothing."""
    with suppress(OSError):  # there are none
        for line in OWN.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            top, names = (GROUPS / "memory", FIRST) if controllers else (GROUPS, SECOND)
            folder = top / path.lstrip("/")
            # A container may see its own group at the top, by whatever path the line names it.
            for group in (folder, *folder.parents):
                if group.is_relative_to(top):
                    with suppress(OSError, ValueError, KeyError):
                        yield _left_in(group, *names)


def _left_in(group: Path, limit: str, use: str, cache: str) -> int:
    stat = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
    reclaimable = int(dict(line.split() for line in stat)[cache])
    allowed, used = (int((group / name).read_text(encoding="utf-8")) for name in (limit, use))
    return allowed - (used - reclaimable)


# Below this many elements of the input, a second thread gains nothing, and where other programs run,
# waiting for it takes longer than the work.
SMALL = 200_000


@contextmanager
def threads_for(elements: int) -> Iterator[None]:
    """Use one thread while the inputs are small; the number is as before afterwards.

    Args:
        elements: numbers in the features of a batch.
    """
    before = torch.get_num_threads()
    if elements < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_device(name: str) -> torch.device:
    """Return the device that "auto", "cpu" or "cuda" means on this machine."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device = 'cuda': this machine has no CUDA device; use 'auto' or 'cpu'")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
