import io
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from tqdm import tqdm

from dgam_core.data import store
from dgam_core.errors import InputError
from dgam_core.experiments import obtain, run_store
from dgam_core.experiments.parameters import Experiment
from dgam_core.rivals.stpn import Settings
from dgam_core.system.leases import Leases
from dgam_core.training import train
from dgam_core.training.processes import Group

CPU = torch.device("cpu")


@pytest.fixture
def specs(tiny, settings):
    data = replace(tiny, digest="d")
    return [
        run_store.specify(data, stream, seed, settings, CPU) for stream in data.streams for seed in (0, 1)
    ]


class Trainings:
    """Counts trainings, and interrupts one of them."""

    def __init__(self):
        self.count, self.interrupted_at = 0, None

    def __call__(self, *arguments):
        self.count += 1
        if self.count == self.interrupted_at:
            raise KeyboardInterrupt
        return train.train(*arguments)


@pytest.fixture
def trainings(monkeypatch):
    counted = Trainings()
    monkeypatch.setattr(obtain, "train", counted)
    return counted


def finished(folder):
    """Runs in a store in which nothing is left over: half-written runs and leases are hidden."""
    hidden = [path for path in folder.rglob(".*") if path.name != ".leases"]
    assert hidden == []
    # A process that is ended in the very moment of taking a lease leaves it; nobody waits for it.
    with Leases(folder / ".leases") as leases:
        assert all(leases.is_free(path.name) for path in folder.glob(".leases/*"))
    return list(folder.glob("[!.]*"))


def test_runs_are_trained_once_and_read_afterwards(tmp_path, tiny, specs, trainings):
    first = obtain.obtain(tmp_path, tiny, specs)
    again = obtain.obtain(tmp_path, tiny, specs)
    assert trainings.count == 2  # two streams, of two seeds each
    for a, b in zip(first, again, strict=True):
        assert a.record == b.record
        for name, values in a.trained.curves.items():
            assert np.array_equal(values, b.trained.curves[name])


def test_runs_that_can_are_put_together_the_longest_first(tiny, settings):
    data = replace(tiny, digest="d")

    def spec(seed, **change):
        return run_store.specify(data, "rgb", seed, settings.model_copy(update=change), CPU)

    one, other, short = spec(0), spec(0, beta=0.5), spec(0, epochs=1)
    without, another_seed = spec(0, gamma_re=0.0), spec(1)
    stacks = obtain.put_together(data, [short, another_seed, one, without, other])
    assert stacks == [[one, other, another_seed], [without], [short]]
    many = [spec(0, beta=float(i)) for i in range(20)]
    # Enough of one seed share their batches.
    assert obtain.put_together(data, [*many, another_seed]) == [many[:10], many[10:], [another_seed]]


def test_small_runs_of_several_seeds_make_stacks_for_all_workers(tiny, settings):
    data = replace(tiny, digest="d")
    few = [run_store.specify(data, "rgb", seed, settings, CPU) for seed in range(30)]
    both = [*few, *(run_store.specify(data, "flow", seed, settings, CPU) for seed in range(12))]

    def sizes(specs, *arguments):
        return [len(stack) for stack in obtain.put_together(data, specs, *arguments)]

    assert sizes(few, 1) == sizes(few, 2) == [15, 15]
    assert sizes(few[:5], 2) == [3, 2]
    assert sizes(few[:1], 2) == [1]
    assert sizes(both, 2) == [15, 15, 12]
    assert sizes(few, 1, Group(0, 2, 2)) == [1] * 30
    assert sizes([replace(spec, device="cuda") for spec in few]) == [1] * 30
    # 32 · 32 snippets of 128 hidden units: 2¹⁷ activations
    for hidden, count in ((128, 2), (129, 30)):
        large = settings.model_copy(update={"batch_size": 32, "num_snippets": 32, "attention_hidden": hidden})
        assert len(sizes([replace(spec, settings=large.for_stream("rgb")) for spec in few])) == count


def test_large_runs_make_small_stacks_on_the_cpu(tiny, settings):
    """32 · 400 snippets, 256 + 3 · 128 hidden units: 8.2 million activations a run, 2²⁵ for four."""
    sizes = {"batch_size": 32, "num_snippets": 400, "attention_hidden": 256, "cvae_hidden": 128}
    data = replace(tiny, digest="d")
    for device, counts in (("cpu", [4, 4, 4, 4, 4]), ("cuda", [10, 10])):
        specs = [
            run_store.specify(
                data, "rgb", 0, settings.model_copy(update=sizes | {"beta": beta}), torch.device(device)
            )
            for beta in np.arange(1, 21) / 10
        ]
        assert [len(stack) for stack in obtain.put_together(data, specs)] == counts


def test_what_trains_together_is_written_apart(tmp_path, tiny, settings, trainings):
    data = replace(tiny, digest="d")
    variants = [settings.model_copy(update={"beta": beta}) for beta in (0.1, 0.5)]
    specs = [run_store.specify(data, "rgb", 0, variant, CPU) for variant in variants]
    first, second = obtain.obtain(tmp_path, tiny, specs)
    assert trainings.count == 1
    assert (first.settings.beta, second.settings.beta) == (0.1, 0.5)
    assert not np.array_equal(first.trained.curves["cvae"], second.trained.curves["cvae"])


def test_an_interrupted_batch_goes_on_from_the_last_finished_run(tmp_path, tiny, specs, trainings):
    trainings.interrupted_at = 2
    with pytest.raises(KeyboardInterrupt):
        obtain.obtain(tmp_path, tiny, specs)
    assert len(finished(tmp_path)) == 2
    assert len(obtain.obtain(tmp_path, tiny, specs)) == 4
    assert trainings.count == 2 + 1


def test_what_killed_processes_left_behind_days_ago_is_cleared_away(tmp_path, tiny, specs):
    old = time.time() - obtain.LEFTOVER_AGE_S - 60
    left = [tmp_path / ".0123456789abcdef0123.x1y2", tmp_path / ".unfinished" / "0123", tmp_path / "finished"]
    fresh = [tmp_path / ".0123456789abcdef0123.z", tmp_path / ".unfinished" / "4567"]
    for path in left + fresh:
        path.mkdir(parents=True)
        (path / "first.pt").touch()
    for path in left:
        os.utime(path, (old, old))
    obtain.obtain(tmp_path, tiny, specs[:1])
    assert [path.exists() for path in left] == [False, False, True]
    assert all(path.exists() for path in fresh)


def test_equal_requests_are_one_run(tmp_path, tiny, specs, trainings):
    assert len(obtain.obtain(tmp_path, tiny, [specs[0], specs[0]])) == 2
    assert trainings.count == 1


def test_models_are_one_run_a_stream_for_every_variant_and_seed(tmp_path, tiny, settings):
    data = replace(tiny, digest="d")
    experiment = Experiment(**settings.model_dump(), profile="p", dataset="d", seeds=(0, 1), device="cpu")
    old = experiment.model_copy(update={"gamma_re": 0.0, "seeds": (1, 2, 3)})  # seeds of its own
    models = obtain.obtain_models(tmp_path, data, {"old": old, "new": experiment}, experiment)
    assert set(models) == {("old", 1), ("old", 2), ("old", 3), ("new", 0), ("new", 1)}
    for (name, seed), model in models.items():
        for stream, run in model.items():
            assert run.record["spec"]["stream"] == stream
            assert run.record["spec"]["seed"] == seed
            assert ("cvae" in run.trained.curves) == (name == "new")
    assert set(models["new", 0]) == {"flow", "rgb"}


def test_workers_train_the_same_bits_side_by_side(tmp_path, tiny, specs):
    store.write(tmp_path / "x.h5", tiny)
    data = store.read(tmp_path / "x.h5")
    alone = obtain.obtain(tmp_path / "alone", data, specs)
    beside = obtain.obtain(tmp_path / "beside", data, specs, workers=2)
    for a, b in zip(alone, beside, strict=True):
        assert a.record["digest"] == b.record["digest"]
        assert all(torch.equal(a.trained.weights[name], value) for name, value in b.trained.weights.items())


KILLED = """
from pathlib import Path
from dgam_core.experiments import obtain
from dgam_core.training import train
from dgam_core.experiments.parameters import Experiment
from dgam_core.data.store import read
if __name__ == "__main__":
    data = read(Path("x.h5"))
    many = Experiment(profile="p", dataset="d", seeds=tuple(range(50)), workers=2, epochs=40, num_snippets=64)
    obtain.obtain_models(Path("runs"), data, {"x": many}, many)
"""


def test_workers_end_with_the_process_that_started_them(tmp_path, tiny):
    store.write(tmp_path / "x.h5", tiny)
    (tmp_path / "script.py").write_text(KILLED)
    process = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, start_new_session=True)
    until = time.monotonic() + 120
    while not list(tmp_path.glob("runs/[!.]*")) and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(2)
    finished = len(list(tmp_path.glob("runs/[!.]*")))
    assert 0 < finished < 100
    time.sleep(3)
    assert len(list(tmp_path.glob("runs/[!.]*"))) == finished


def test_an_error_in_a_worker_reaches_the_user_and_keeps_what_was_finished(tmp_path, tiny, specs):
    broken = {**tiny.features["rgb"], "v1": np.full((7, 5), np.nan, dtype=np.float32)}
    data = replace(tiny, features={**tiny.features, "rgb": broken})
    with pytest.raises(InputError, match="v1: rgb features hold nan"):
        obtain.obtain(tmp_path, data, specs, workers=2)
    for folder in finished(tmp_path):
        assert run_store.read(folder).record["spec"]["stream"] == "flow"


TWICE = """
import sys
from pathlib import Path
from dgam_core.experiments import obtain
from dgam_core.training import train
from dgam_core.experiments.parameters import Experiment
from dgam_core.data.store import read

def counted(*arguments):
    with Path("trained.txt").open("a") as file:
        file.write(sys.argv[1])
    return train.train(*arguments)

if __name__ == "__main__":
    obtain.train = counted
    data = read(Path("x.h5"))
    experiment = Experiment(profile="p", dataset="d", seeds=(0, 1, 2, 3), epochs=60, num_snippets=64)
    models = obtain.obtain_models(Path("runs"), data, {"x": experiment}, experiment)
    assert len(models) == 4
"""


def test_two_processes_asked_for_the_same_share_it_and_do_it_once(tmp_path, tiny):
    store.write(tmp_path / "x.h5", tiny)
    (tmp_path / "script.py").write_text(TWICE)
    processes = [subprocess.Popen([sys.executable, "script.py", name], cwd=tmp_path) for name in "ab"]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    trained = (tmp_path / "trained.txt").read_text()
    assert len(trained) == 8  # 4 seeds, 2 streams
    assert set(trained) == {"a", "b"}
    assert len(finished(tmp_path / "runs")) == 8


def test_a_process_that_waits_takes_over_when_the_other_one_gives_up(tmp_path, tiny, specs, trainings):
    with Leases(tmp_path / obtain.LEASES) as other:
        other.acquire(specs[0].digest)
        waiting = threading.Thread(target=obtain.obtain, args=(tmp_path, tiny, specs[:2]))
        waiting.start()
        until = time.monotonic() + 60
        while not (tmp_path / specs[1].digest).is_dir() and time.monotonic() < until:
            time.sleep(0.05)
        assert waiting.is_alive()
        assert trainings.count == 1
    waiting.join(timeout=60)
    assert trainings.count == 2
    assert (tmp_path / specs[0].digest).is_dir()


def test_the_line_of_progress_has_the_losses_of_its_stack():
    terminal = io.StringIO()
    with tqdm(total=3, file=terminal, mininterval=0, unit="epoch") as line:
        obtain._show(line, {"fg": torch.tensor([1.0, 2.0]), "kl": torch.zeros(2)})
        obtain._show(line, {"fg": torch.tensor([0.5, 0.25]), "kl": torch.zeros(2)})
    assert "1/3" in terminal.getvalue()
    assert "fg=1.5]" in terminal.getvalue()  # the mean over the runs
    assert "fg=0.375]" in terminal.getvalue()
    assert "kl" not in terminal.getvalue()


def scaled(data, **factors):
    """A data set with some streams' features on another scale."""
    features = {
        stream: {name: factors.get(stream, 1) * x for name, x in of_videos.items()}
        for stream, of_videos in data.features.items()
    }
    return replace(data, features=features, digest="d")


@pytest.mark.parametrize(("factor", "advice"), [(1e4, "0.001"), (1e12, "1e-11")])
@pytest.mark.filterwarnings("ignore:tiny. its rgb features")
def test_a_loss_that_is_infinite_through_the_scale_of_the_features_says_so(
    tmp_path, tiny, settings, factor, advice
):
    data = scaled(tiny, rgb=factor)
    with pytest.raises(InputError) as error:
        obtain.obtain(tmp_path, data, [run_store.specify(data, "rgb", 0, settings, CPU)])
    rms = factor * np.sqrt(np.mean([np.square(tiny.features["rgb"][name]).mean() for name in ("v0", "v1")]))
    assert re.fullmatch(
        r"tiny, rgb, seed 0: the loss '\w+' is infinite or undefined after \d epochs; the cause is the scale "
        r"of the rgb features, which are \S+ in size \(root mean square\), those of I3D about 0\.5: "
        rf"multiply them by {advice}",
        str(error.value),
    )
    assert float(str(error.value).split(" in size")[0].split()[-1]) == pytest.approx(rms, rel=0.1)


INFINITE = "tiny, a, seed 0: the loss 'fg' is infinite or undefined after 1 epochs"
LOWER = f"{INFINITE}; lower learning_rate"
BY_SCALE = f"{INFINITE}; the cause is the scale of the rgb features"


@pytest.mark.parametrize(
    ("streams", "raised", "said"),
    [
        # whatever else is odd about the data
        ("flow", LOWER, LOWER),
        ("rgb", "tiny: something else is wrong", "tiny: something else is wrong"),
        ("rgb", LOWER, BY_SCALE),
        # a method whose input is both streams side by side
        ("flow+rgb", LOWER, BY_SCALE),
    ],
)
@pytest.mark.parametrize("rival", [None, Settings()])
@pytest.mark.filterwarnings("ignore:tiny. its rgb features")
def test_the_scale_is_named_only_where_it_is_the_cause(
    tmp_path, tiny, settings, monkeypatch, streams, raised, said, rival
):
    def fail(*_):
        raise InputError(raised)

    monkeypatch.setattr(obtain, "train", fail)
    monkeypatch.setattr(obtain, "train_rival", fail)
    data = scaled(tiny, rgb=1e4)
    spec = replace(run_store.specify(data, "rgb", 0, settings, CPU, rival), stream=streams)
    monkeypatch.setattr(obtain, "put_together", lambda *_, **__: [[spec]])
    with pytest.raises(InputError) as error:
        obtain.obtain(tmp_path, data, [spec])
    assert str(error.value).startswith(said)
    assert ("learning_rate" in str(error.value)) == ("learning_rate" in said)
