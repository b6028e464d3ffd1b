import os
import subprocess
import sys
import time

import filelock
import pytest

from dgam_core.system import leases as module
from dgam_core.system.leases import Leases


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "leases"


@pytest.fixture
def soon_stale(monkeypatch):
    """Leases that are stale after 0.4 s without renewal."""
    monkeypatch.setattr(module, "STALE_S", 0.4)
    monkeypatch.setattr(module, "RENEWED_EVERY_S", 0.1)


def write_lease(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "a").write_text(text)
    return folder / "a"


def lease_of(host, pid=1, duration=0.4):
    """A lease as `SoftFileLease` writes it."""
    return f"filelock/2\npid={pid}\nhost={host}\nmode=lease\ntoken=t\nduration={duration}\n"


def seconds_until_acquired(leases, patience_s=10.0):
    since = time.monotonic()
    while not leases.acquire("a"):
        assert time.monotonic() - since < patience_s
        time.sleep(0.01)
    return time.monotonic() - since


def test_a_name_is_leased_once_until_it_is_released(folder):
    with Leases(folder) as first, Leases(folder) as second:
        assert first.acquire("a")
        assert first.acquire("a")  # it has it already
        assert not second.acquire("a")
        assert not second.is_free("a")
        assert second.acquire("b")
    with Leases(folder) as third:
        assert third.is_free("a")
        assert list(folder.iterdir()) == []
        assert third.acquire("a")
    assert list(folder.iterdir()) == []


def test_the_lease_of_a_process_that_was_killed_is_free_at_once(folder):
    code = (
        "import sys, time; from pathlib import Path; from dgam_core.system.leases import Leases\n"
        "with Leases(Path(sys.argv[1])) as leases: print(leases.acquire('a'), flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    with Leases(folder) as leases:
        assert not leases.acquire("a")
        process.kill()
        process.wait()
        process.stdout.close()
        assert leases.acquire("a")
    assert list(folder.iterdir()) == []


def test_the_lease_of_another_machine_is_free_once_it_is_not_renewed(folder, soon_stale):
    path = write_lease(folder, lease_of("elsewhere", os.getpid()))
    with Leases(folder) as leases:
        for _ in range(5):  # 0.5 s, renewed all the time
            assert not leases.acquire("a")
            time.sleep(0.1)
            os.utime(path)
        assert seconds_until_acquired(leases) > 0.3
        assert "host=elsewhere" not in path.read_text()


@pytest.mark.parametrize("text", ["", '{"host": "elsewhere", "pid": 1}', lease_of("elsewhere", duration=999)])
def test_leases_that_were_never_written_out_or_written_by_other_versions_do_not_block(
    folder, soon_stale, text
):
    write_lease(folder, text)
    with Leases(folder) as leases:
        assert not leases.acquire("a")
        seconds_until_acquired(leases)


def test_where_the_file_system_cannot_exchange_names_stale_leases_are_free_too(
    folder, soon_stale, monkeypatch
):
    """As on NFS, where `SoftFileLease` itself would wait for ever."""
    monkeypatch.setattr(filelock._soft, "exchange_names", lambda source, target: False)
    write_lease(folder, lease_of("elsewhere"))
    with Leases(folder) as leases:
        assert seconds_until_acquired(leases) > 0.3
        assert [path.name for path in folder.iterdir()] == ["a"]


def test_a_lease_that_others_find_stale_at_the_same_moment_is_free_for_one(folder, soon_stale, monkeypatch):
    path = write_lease(folder, "")
    really = module._last_change
    with Leases(folder) as quicker, Leases(folder) as slower:
        slower.acquire("a")
        seconds_until_acquired(quicker)
        quicker_lease = path.read_text()
        # The slower one has looked before the quicker one took the lease, and acts afterwards.
        ((stale, _),) = slower._unchanged.values()
        answers = iter([stale])
        monkeypatch.setattr(module, "_last_change", lambda path: next(answers, None) or really(path))
        assert not slower.acquire("a")
        assert path.read_text() == quicker_lease
        assert [path.name for path in folder.iterdir()] == ["a"]
    assert list(folder.iterdir()) == []


def test_a_lease_is_renewed_while_it_is_held(folder, soon_stale):
    with Leases(folder) as leases, Leases(folder) as other:
        leases.acquire("a")
        os.utime(folder / "a", (0, 0))
        until = time.monotonic() + 10
        while (folder / "a").stat().st_mtime < 1 and time.monotonic() < until:
            assert not other.acquire("a")
            time.sleep(0.01)
        assert time.time() - (folder / "a").stat().st_mtime < 10


def test_many_take_turns_and_none_fails_or_leaves_anything(folder):
    code = (
        "import sys; from pathlib import Path; from dgam_core.system.leases import Leases\n"
        "for i in range(300):\n"
        "    with Leases(Path(sys.argv[1])) as leases: leases.acquire(str(i % 3))"
    )
    crowd = [subprocess.Popen([sys.executable, "-c", code, folder]) for _ in range(4)]
    assert [process.wait(timeout=120) for process in crowd] == [0] * 4
    assert list(folder.iterdir()) == []


def test_of_several_processes_that_find_the_lease_of_a_dead_one_one_takes_it(folder):
    code = (
        "import sys; from pathlib import Path; from dgam_core.system.leases import Leases\n"
        "with Leases(Path(sys.argv[1])) as leases:\n"
        "    print('ready', flush=True); sys.stdin.readline()\n"
        "    print(sum(leases.acquire(str(i)) for i in range(50)), flush=True); sys.stdin.readline()"
    )
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    with Leases(folder) as leases:
        leases.acquire("own")
        text = (folder / "own").read_text()
    text = text.replace(f"pid={os.getpid()}", f"pid={dead.pid}")
    for i in range(50):
        (folder / str(i)).write_text(text)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    crowd = [subprocess.Popen([sys.executable, "-c", code, folder], **pipes) for _ in range(4)]
    for process in crowd:
        assert process.stdout.readline() == "ready\n"
    for process in crowd:
        print(file=process.stdin, flush=True)
    assert sum(int(process.stdout.readline()) for process in crowd) == 50
    for process in crowd:
        process.communicate("\n", timeout=60)
    assert list(folder.iterdir()) == []
