import json
import os
import socket
import subprocess
import sys
import time

import pytest

from dgam_core.system import leases as module
from dgam_core.system.leases import leases


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "leases"


def test_a_name_is_leased_once_until_it_is_given_back(folder):
    with leases(folder) as first, leases(folder) as second:
        assert first.acquire("a")
        assert first.acquire("a")  # it has it already
        assert not second.acquire("a")
        assert second.acquire("b")
    with leases(folder) as third:
        assert third.acquire("a")
    assert list(folder.iterdir()) == []


def test_the_lease_of_a_process_that_was_killed_is_free(folder):
    code = (
        "import sys, time; from pathlib import Path; from dgam_core.system.leases import leases\n"
        "with leases(Path(sys.argv[1])) as own: print(own.acquire('a'), flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    with leases(folder) as own:
        assert not own.acquire("a")
        process.kill()
        process.wait()
        process.stdout.close()
        assert own.acquire("a")
    assert list(folder.iterdir()) == []


def test_of_another_host_a_lease_counts_while_it_is_fresh(folder, monkeypatch):
    folder.mkdir()
    (folder / "a").write_text(json.dumps({"host": "elsewhere", "pid": os.getpid()}))
    with leases(folder) as own:
        assert not own.acquire("a")
        old = time.time() - module.STALE_S - 1
        os.utime(folder / "a", (old, old))
        assert own.acquire("a")
        assert json.loads((folder / "a").read_text())["host"] == socket.gethostname()


def test_a_lease_that_was_never_written_out_is_free_once_it_is_old(folder):
    folder.mkdir()
    (folder / "a").touch()
    with leases(folder) as own:
        assert not own.acquire("a")
        old = time.time() - module.STALE_S - 1
        os.utime(folder / "a", (old, old))
        assert own.acquire("a")


def test_a_lease_that_others_find_old_at_the_same_moment_is_free_for_one(folder, monkeypatch):
    folder.mkdir()
    (folder / "a").write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    old = time.time() - module.STALE_S - 1
    os.utime(folder / "a", (old, old))
    really, quicker = module._is_stale, leases(folder)

    def found_old_before_another_took_it(path):
        monkeypatch.setattr(module, "_is_stale", really)
        stale = really(path)
        assert held.acquire("a")
        return stale

    with quicker as held, leases(folder) as own:
        monkeypatch.setattr(module, "_is_stale", found_old_before_another_took_it)
        assert not own.acquire("a")
        assert [path.name for path in folder.iterdir()] == ["a"]
    assert list(folder.iterdir()) == []


def test_leases_are_kept_fresh(folder, monkeypatch):
    monkeypatch.setattr(module, "FRESH_S", 0.02)
    with leases(folder) as own:
        own.acquire("a")
        os.utime(folder / "a", (0, 0))
        until = time.monotonic() + 10
        while (folder / "a").stat().st_mtime < 1 and time.monotonic() < until:
            time.sleep(0.01)
        assert time.time() - (folder / "a").stat().st_mtime < 10


def test_many_take_turns_and_nobody_stumbles_over_another(folder):
    code = (
        "import sys; from pathlib import Path; from dgam_core.system.leases import leases\n"
        "for i in range(300):\n"
        "    with leases(Path(sys.argv[1])) as own: own.acquire(str(i % 3))"
    )
    crowd = [subprocess.Popen([sys.executable, "-c", code, folder]) for _ in range(4)]
    assert [process.wait(timeout=120) for process in crowd] == [0] * 4
    assert list(folder.iterdir()) == []
