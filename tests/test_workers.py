import os

import pytest
import torch

from dgam_core.workers import side_by_side


def multiply(context, task):
    if task < 0:
        raise ValueError("a negative task")
    return context * task, os.getpid(), torch.get_num_threads()


def test_tasks_are_done_in_other_processes_that_share_the_threads():
    found = dict(side_by_side(multiply, 10, [1, 2, 3], workers=2))
    assert {task: result[0] for task, result in found.items()} == {1: 10, 2: 20, 3: 30}
    assert os.getpid() not in {pid for _, pid, _ in found.values()}
    assert {threads for _, _, threads in found.values()} == {max(1, (os.cpu_count() or 1) // 2)}


def test_with_one_worker_or_one_task_nothing_is_started():
    assert [result[1] for _, result in side_by_side(multiply, 10, [1, 2], workers=1)] == [os.getpid()] * 2
    assert [result[1] for _, result in side_by_side(multiply, 10, [1], workers=2)] == [os.getpid()]


def test_an_error_in_a_worker_comes_out_here():
    with pytest.raises(ValueError, match="a negative task"):
        list(side_by_side(multiply, 10, [1, -1, 2, 3], workers=2))
