import psutil
import pytest
import torch

from dgam_core.system import machine

CPU = torch.device("cpu")
GIB = 2**30


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Control groups of the test's own, on a machine with 64 GiB free."""
    monkeypatch.setattr(machine, "CGROUP_ROOT", tmp_path / "groups")
    monkeypatch.setattr(machine, "CGROUPS_OF_PROCESS", tmp_path / "groups_of_process")
    real = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: real._replace(available=64 * GIB))

    def group(path, names, limit, used, cache):
        folder = tmp_path / "groups" / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / names[0]).write_text(f"{limit}\n")
        (folder / names[1]).write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {cache}\nslab 2\n")

    def groups_of_process(*lines):
        (tmp_path / "groups_of_process").write_text("\n".join(lines))

    return group, groups_of_process


def test_free_memory_is_no_more_than_there_is():
    assert 0 < machine.free_bytes(CPU) <= psutil.virtual_memory().total


def test_without_control_groups_the_machine_counts(groups):
    assert machine.free_bytes(CPU) == 64 * GIB


def test_the_tightest_group_above_a_process_counts(groups):
    """As SLURM makes them: the job has a limit, its steps and the machine have none."""
    group, groups_of_process = groups
    groups_of_process("0::/system/job_7/step_0")
    group("system/job_7/step_0", machine.CGROUP_V2, "max", 3 * GIB, 0)
    group("system/job_7", machine.CGROUP_V2, 8 * GIB, 3 * GIB, 0)
    group("system", machine.CGROUP_V2, 40 * GIB, 10 * GIB, 0)
    assert machine.free_bytes(CPU) == 5 * GIB


def test_cached_files_do_not_count_as_used(groups):
    group, groups_of_process = groups
    groups_of_process("0::/job")
    group("job", machine.CGROUP_V2, 8 * GIB, 8 * GIB, 6 * GIB)
    assert machine.free_bytes(CPU) == 6 * GIB


def test_groups_of_the_first_version(groups):
    group, groups_of_process = groups
    groups_of_process("5:cpu,cpuacct:/job", "4:memory:/job", "0::/")
    group("memory/job", machine.CGROUP_V1, 4 * GIB, GIB, 0)
    group("memory", machine.CGROUP_V1, 2**63 - 4096, 20 * GIB, 0)  # unlimited
    assert machine.free_bytes(CPU) == 3 * GIB


def test_a_container_that_sees_its_own_group_at_the_top(groups):
    group, groups_of_process = groups
    groups_of_process("0::/docker/4711")  # which it does not see
    group(".", machine.CGROUP_V2, 2 * GIB, GIB, 0)
    assert machine.free_bytes(CPU) == GIB


def test_a_group_that_is_over_its_limit_leaves_nothing(groups):
    group, groups_of_process = groups
    groups_of_process("0::/job")
    group("job", machine.CGROUP_V2, GIB, 2 * GIB, 0)
    assert machine.free_bytes(CPU) == 0


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_small_work_uses_one_thread_and_leaves_the_number_as_it_was(three_threads):
    with machine.threads_for(machine.MIN_ELEMENTS_FOR_THREADS - 1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with pytest.raises(KeyboardInterrupt), machine.threads_for(1):
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 3


def test_large_work_uses_them_all(three_threads):
    with machine.threads_for(machine.MIN_ELEMENTS_FOR_THREADS):
        assert torch.get_num_threads() == 3
