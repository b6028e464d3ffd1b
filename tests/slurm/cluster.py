"""A SLURM of one node on this machine's loopback, from Debian's packages, for as long as a test needs it."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# SLURM's default place: jobs that the executor submits know no other.
CONFIGURATION = Path("/etc/slurm/slurm.conf")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
NODE = """\
# Written by the tests of this project, and removed by them.
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
SchedulerParameters=sched_interval=2,batch_sched_delay=0
KillWait=2
MinJobAge=60
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory_mb} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def obstacle() -> str | None:
    """Why no cluster can be started here."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    if missing := [name for name in PROGRAMS if shutil.which(name, path=path) is None]:
        return f"{missing[0]} is not installed: `make test-slurm` installs Debian's slurm-wlm and munge"
    if os.geteuid() != 0:
        return "only root can start a cluster"
    if CONFIGURATION.exists():
        return f"{CONFIGURATION} exists: this machine has a SLURM of its own"
    return None


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Run a cluster; its state and its logs lie in `folder`."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20 - 512
    values = {"host": socket.gethostname().split(".")[0], "cores": os.cpu_count(), "memory_mb": memory_mb}
    own_munge = not Path("/run/munge/munge.socket.2").is_socket()
    started: list[subprocess.Popen[bytes]] = []
    try:
        CONFIGURATION.parent.mkdir(exist_ok=True)
        CONFIGURATION.write_text(NODE.format(folder=folder, **values))
        if own_munge:
            Path("/run/munge").mkdir(exist_ok=True, mode=0o755)
            shutil.chown("/run/munge", "munge", "munge")
            started.append(_start("/usr/sbin/munged", "--foreground", user="munge"))
            _wait_for(lambda: Path("/run/munge/munge.socket.2").is_socket(), "munged")
        started.append(_start("/usr/sbin/slurmctld", "-D"))
        started.append(_start("/usr/sbin/slurmd", "-D"))
        _wait_for(lambda: "idle" in _output("sinfo", "--noheader", "--format=%T"), "the node")
        yield
    finally:
        if CONFIGURATION.exists() and len(started) > 1:
            subprocess.run(["scancel", "--state=RUNNING"], capture_output=True, check=False)
            subprocess.run(["scancel", "--state=PENDING"], capture_output=True, check=False)
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=30)
        CONFIGURATION.unlink(missing_ok=True)


def _start(*command: str, user: str | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user, group=user
    )


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _wait_for(condition, what: str, seconds: float = 30) -> None:
    last = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > last:
            raise TimeoutError(f"{what} does not answer after {seconds:g} s")
        time.sleep(0.2)
