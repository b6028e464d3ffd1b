import pytest
import torch

from dgam_core.system.machine import SMALL, threads_for


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_small_work_uses_one_thread_and_leaves_the_number_as_it_was():
    with threads_for(SMALL - 1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with pytest.raises(KeyboardInterrupt), threads_for(1):
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 3


def test_large_work_uses_them_all():
    with threads_for(SMALL):
        assert torch.get_num_threads() == 3
