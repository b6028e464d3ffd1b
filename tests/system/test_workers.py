import os
import time

import pytest
import torch

from dgam_core.system.files import whole_folder
from dgam_core.system.workers import in_order, side_by_side


def multiply(context, task):
    if task < 0:
        raise ValueError("a negative task")
    return context * task, os.getpid(), torch.get_num_threads()


def test_tasks_are_done_in_other_processes_that_share_the_threads():
    results = dict(side_by_side(multiply, 10, [1, 2, 3], workers=2))
    assert {task: result[0] for task, result in results.items()} == {1: 10, 2: 20, 3: 30}
    assert os.getpid() not in {pid for _, pid, _ in results.values()}
    assert {threads for _, _, threads in results.values()} == {max(1, (os.cpu_count() or 1) // 2)}


def test_with_one_worker_or_one_task_nothing_is_started():
    assert [result[1] for _, result in side_by_side(multiply, 10, [1, 2], workers=1)] == [os.getpid()] * 2
    assert [result[1] for _, result in side_by_side(multiply, 10, [1], workers=2)] == [os.getpid()]


def test_an_error_in_a_worker_comes_out_here():
    with pytest.raises(ValueError, match="a negative task"):
        list(side_by_side(multiply, 10, [1, -1, 2, 3], workers=2))


def write_slowly_or_fail(folder, task):
    started = folder / "started"
    if task == "fail":
        while not started.exists():
            time.sleep(0.01)
        raise ValueError("the other one was in the middle of writing")
    with whole_folder(folder / "result"):
        started.touch()
        time.sleep(60)


def test_after_an_error_nothing_half_written_stays_and_nobody_goes_on_writing(tmp_path):
    with pytest.raises(ValueError, match="in the middle"):
        list(side_by_side(write_slowly_or_fail, tmp_path, ["write", "fail"], workers=2))
    assert [path.name for path in tmp_path.iterdir()] == ["started"]


def slow_square(task):
    time.sleep(0.2 if task == 0 else 0)  # the first is finished last
    return task**2, os.getpid()


def test_results_come_in_order_from_other_processes():
    results = list(in_order(slow_square, range(6), workers=2))
    assert [result for result, _ in results] == [0, 1, 4, 9, 16, 25]
    assert os.getpid() not in {pid for _, pid in results}
    assert [pid for _, pid in in_order(slow_square, range(1, 3), workers=1)] == [os.getpid()] * 2


def test_tasks_are_taken_as_they_are_needed():
    taken = []
    results = in_order(slow_square, (taken.append(i) or i for i in range(100)), workers=2)
    next(results)
    assert len(taken) == 2 * 2 + 1
    results.close()
