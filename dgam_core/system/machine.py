"""What this machine offers: free memory, CPU threads and the device to compute on."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch

from dgam_core.errors import InputError

# Linux's control groups: where they are, and to which of them this process belongs.
CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUPS_OF_PROCESS = Path("/proc/self/cgroup")
# In both versions: the files with limit and use in bytes, and the entry of memory.stat for the file cache,
# which the system frees on demand.
CGROUP_V2 = ("memory.max", "memory.current", "inactive_file")
CGROUP_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a device in bytes; on the CPU no more than control groups allow."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return max(0, min([int(psutil.virtual_memory().available), *_free_in_groups()]))


def _free_in_groups() -> Iterator[int]:
    """Yield the memory that each control group of this process with a limit leaves, in bytes."""
    with suppress(OSError):  # there are no control groups
        for line in CGROUPS_OF_PROCESS.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            top, names = (CGROUP_ROOT / "memory", CGROUP_V1) if controllers else (CGROUP_ROOT, CGROUP_V2)
            folder = top / path.lstrip("/")
            # A container may see its group at the top, whatever path the line names.
            for group in (folder, *folder.parents):
                if group.is_relative_to(top):
                    with suppress(OSError, ValueError, KeyError):
                        yield _free_in_group(group, *names)


def _free_in_group(group: Path, limit: str, use: str, cache: str) -> int:
    stat = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
    reclaimable = int(dict(line.split() for line in stat)[cache])
    allowed, used = (int((group / name).read_text(encoding="utf-8")) for name in (limit, use))
    return allowed - (used - reclaimable)


# With fewer input elements a second thread gains nothing, and where other programs run, waiting for it takes
# longer than the work.
MIN_ELEMENTS_FOR_THREADS = 200_000


@contextmanager
def threads_for(elements: int) -> Iterator[None]:
    """Use one thread within the block where the features of a batch have few elements."""
    before = torch.get_num_threads()
    if elements < MIN_ELEMENTS_FOR_THREADS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def describe() -> str:
    """Return this machine in words, such as "2 cores of AMD EPYC", and its GPU; nothing names its owner."""
    model = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):  # Linux says more, and says it here
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    gpu = f" and one {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{psutil.cpu_count()} cores of {model}{gpu}"


def choose_device(name: str) -> torch.device:
    """Return the device that "auto", "cpu" or "cuda" means on this machine."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device = 'cuda': this machine has no CUDA device; use 'auto' or 'cpu'")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
