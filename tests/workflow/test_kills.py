"""The Snakefile: batches that are killed at random moments."""

import os
import random
import shutil
import time

import psutil
import pytest

from tests.workflow.batches import (
    change,
    check_files,
    finish,
    inside,
    record,
    start,
    tables,
)


@pytest.mark.thorough
def test_batches_that_are_killed_again_and_again_end_with_the_same_tables(project, tmp_path):
    change(project, "table3_thumos14", epochs=400)
    change(project, "table7_beta", epochs=400)
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(project, undisturbed, symlinks=True)
    assert finish(undisturbed)[0] == 0

    chance, killed = random.Random(), []
    while len(killed) < int(os.environ.get("KILLS", 10)):
        batch = start(project, start_new_session=True)
        time.sleep(chance.uniform(1, 9))
        processes = [psutil.Process(batch.pid), *psutil.Process(batch.pid).children(recursive=True)]
        if batch.poll() is None:
            victim = chance.choice(processes)
            killed.append(victim.name())
            victim.kill()
        else:  # finished before; begin anew, so that there is something to kill
            shutil.rmtree(project / "results")
        batch.communicate(timeout=120)
        check_files(project)
        last = time.monotonic() + 20
        while (left := inside(project)) and time.monotonic() < last:
            time.sleep(0.2)
        assert not left, f"{killed[-1]} was killed; {[process.cmdline() for process in left]} stays"
    status, said = finish(project)
    assert status == 0, said
    check_files(project)
    assert tables(project) == tables(undisturbed)
    assert record(project) == record(undisturbed)
