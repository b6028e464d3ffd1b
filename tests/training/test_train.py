import math
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytest import approx

from dgam_core.attention import pool_foreground
from dgam_core.data import store
from dgam_core.errors import InputError
from dgam_core.model import restore, seed_of_stream
from dgam_core.stages import warmup
from dgam_core.training import train
from dgam_core.training.batches import hold_out, load_training_data
from dgam_core.training.fit import Fit
from dgam_core.training.train import Job

CPU = torch.device("cpu")


@pytest.fixture
def s(settings):
    return settings.for_stream("rgb")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def run(data, s, seed=0, progress=lambda losses: None):
    (trained,) = train.train(Job(data, "rgb", [s], [seed], CPU), progress)
    return trained


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_training_twice_gives_the_same_bits(tiny, s):
    first, again = (run(tiny, s, seed=3) for _ in range(2))
    assert same(first.weights, again.weights)
    assert same(first.checkpoints.weights, again.checkpoints.weights)
    assert np.array_equal(first.checkpoints.held_out, again.checkpoints.held_out)
    other = run(tiny, s, seed=4)
    assert not same(first.weights, other.weights)


def test_training_reports_every_epoch_and_each_loss(tiny, s):
    calls = []
    trained = run(tiny, s, progress=calls.append)
    assert len(calls) == 3 + 3  # the second model's epochs too
    assert [float(losses["re"]) for losses in calls[:3]] == trained.curves["re"].tolist()
    assert set(trained.curves) == {"fg", "bg", "re", "guide", "log_likelihood", "kl", "cvae"}
    assert all(values.shape == (3,) for values in trained.curves.values())


def test_checkpoints_are_snapshots_of_the_training(tiny, s):
    trained = run(tiny, s)
    shorter = run(tiny, s.model_copy(update={"epochs": 2}))
    assert trained.checkpoints.epochs.tolist() == [2, 3]
    assert not any(name.startswith("cvae") for name in trained.checkpoints.weights)
    for name, values in trained.checkpoints.weights.items():
        assert torch.equal(values[0], shorter.weights[name])
        assert torch.equal(values[1], trained.weights[name])


def test_the_second_model_changes_nothing_about_the_first(tiny, s):
    alone = run(tiny, s.model_copy(update={"held_out": 0.0}))
    assert same(alone.weights, run(tiny, s).weights)
    assert len(alone.checkpoints.held_out) == 0


def test_the_second_model_is_scored_on_videos_it_has_not_seen(tiny, s):
    trained = run(tiny, s)
    data = load_training_data(tiny, "rgb", CPU)
    kept, left_out = hold_out(data.target, s.held_out, 0)
    second = Fit([data.take(kept)], [s], [seed_of_stream(0, "rgb")], CPU)
    for _ in range(3):
        second.epoch()
    (video,) = left_out
    x = torch.from_numpy(tiny.features["rgb"][f"v{video}"])
    x = x[[math.floor(i * len(x) / 5) for i in range(5)]]  # T = 5, spread uniformly
    model = restore({name: values[0] for name, values in second.model.state_dict().items()}, s)
    with torch.no_grad():
        log_p = model.classifier(pool_foreground(x[None], model.attention(x[None]))).log_softmax(-1)
    assert trained.checkpoints.held_out[-1] == approx(
        -log_p[0, 1 + video].item(), rel=1e-5
    )  # v0 jumps, v1 throws


def test_a_single_video_cannot_be_split(tiny, s):
    one = replace(tiny, videos=tiny.videos[1:])
    with pytest.raises(InputError, match="a single training video cannot be split; set held_out to 0"):
        run(one, s)


def test_small_trainings_use_one_thread_and_leave_the_number_as_it_was(tiny, s):
    before, seen = torch.get_num_threads(), []
    run(tiny, s, progress=lambda losses: seen.append(torch.get_num_threads()))
    assert set(seen) == {1}
    assert torch.get_num_threads() == before


def test_warm_up_rises_linearly_from_zero(s):
    s = s.model_copy(update={"warmup_epochs": 3})
    assert [warmup(s, epoch) for epoch in range(5)] == approx([0, 1 / 3, 2 / 3, 1, 1])
    assert warmup(s.model_copy(update={"warmup_epochs": 0}), 0) == 1


def test_training_learns_to_classify_and_to_reconstruct(tiny, s):
    long = s.training.for_stream("rgb").model_copy(update={"epochs": 200, "learning_rate": 0.01})
    trained = run(tiny, long)
    assert trained.curves["fg"][0] == approx(math.log(3), abs=0.3)  # three classes, nothing known
    assert trained.curves["fg"][-1] < 0.1
    assert trained.curves["log_likelihood"][-1] > trained.curves["log_likelihood"][0]


def test_features_that_are_not_finite_stop_the_training_with_a_sentence(tiny, s):
    broken = {**tiny.features["rgb"], "v1": np.full((7, 5), np.nan, dtype=np.float32)}
    with pytest.raises(InputError, match=r"v1: rgb features hold nan at snippet 0, dimension 0"):
        run(replace(tiny, features={"rgb": broken}), s)


def test_of_several_seeds_the_one_that_diverges_is_named():
    losses = {"fg": np.array([[1, 1], [1, np.inf]], dtype=np.float32)}
    with pytest.raises(
        InputError, match="d, rgb, seed 8: the loss 'fg' is infinite or undefined after 1 epoch"
    ):
        train._check(losses, Job(SimpleNamespace(name="d"), "rgb", [None] * 2, [7, 8], CPU))


def test_a_training_that_diverges_says_so(tiny, s):
    huge = {name: x * 1e25 for name, x in tiny.features["rgb"].items()}
    with pytest.raises(
        InputError, match=r"tiny, rgb, seed 0: the loss '\w+' is infinite or undefined after 0"
    ):
        run(replace(tiny, features={"rgb": huge}), s)


def test_videos_of_one_snippet_and_classes_without_a_video_can_be_trained_on(tiny, s):
    features = {"rgb": {name: values[:1] for name, values in tiny.features["rgb"].items()}}
    videos = tuple(replace(v, num_snippets=1, duration_s=1.0, segments=()) for v in tiny.videos)
    odd = replace(tiny, videos=videos, features=features, classes=("jump", "swim", "throw"))
    trained = run(odd, s)
    assert trained.weights["classifier.fc1.weight"].shape == (4, 5)
    assert all(torch.isfinite(value).all() for value in trained.weights.values())


@pytest.mark.parametrize(
    "change", [{"num_samples": 4}, {"latent_dim": 1}, {"prior_shift": -2.5}, {"beta": 0.0}]
)
def test_the_probabilistic_model_trains_at_any_size(tiny, s, change):
    trained = run(tiny, s.model_copy(update=change))
    assert all(np.isfinite(values).all() for values in trained.curves.values())


KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from dgam_core.training import train
from dgam_core.settings import TrainingSettings
from dgam_core.training.train import Job
from dgam_core.data.store import read
train.STATE_INTERVAL_S = 0.0  # after every epoch
settings = TrainingSettings.model_validate_json(Path("settings.json").read_text())
seeds = [int(digit) for digit in sys.argv[3]]
runs = [settings, *[settings.model_copy(update={"beta": 0.5})] * (len(seeds) - 1)]
where, kept = torch.device("cpu"), Path(sys.argv[1])
found = train.train(Job(read(Path("x.h5")), "rgb", runs, seeds, where), state_folder=kept)
left = [(run.weights, run.checkpoints.weights, torch.from_numpy(run.checkpoints.held_out)) for run in found]
curves = [{name: torch.from_numpy(values) for name, values in run.curves.items()} for run in found]
torch.save(left + curves, sys.argv[2])
"""


def written(folder):
    """Epochs done of the first and the second model."""
    return {path.name: torch.load(path, weights_only=True)["epochs"] for path in folder.glob("[!.]*.pt")}


@pytest.mark.parametrize("seeds", ["00", "010"])
def test_a_training_killed_again_and_again_ends_with_the_same_bits(tiny, s, tmp_path, seeds):
    store.write(tmp_path / "x.h5", tiny)
    long = s.training.for_stream("rgb").model_copy(
        update={"epochs": 120, "evaluation_interval": 25, "crop_epochs": 7}
    )
    (tmp_path / "settings.json").write_text(long.model_dump_json())
    (tmp_path / "script.py").write_text(KILLED)

    def start(name):
        command = [sys.executable, "script.py", f"{name}.kept", f"{name}.pt", seeds]
        return subprocess.Popen(command, cwd=tmp_path)

    assert start("whole").wait() == 0
    random, kept, reached = np.random.default_rng(), tmp_path / "cut.kept", []
    for _ in range(4):
        process, before = start("cut"), written(kept)
        while process.poll() is None and written(kept) == before:
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.2))  # in the middle of anything
        process.kill()
        process.wait()
        reached.append(written(kept))
    assert len({str(state) for state in reached}) == 4  # every time it came further
    assert start("cut").wait() == 0
    whole, cut = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("whole", "cut"))

    def flat(value):
        if isinstance(value, torch.Tensor):
            return [value]
        return [x for item in (value.values() if isinstance(value, dict) else value) for x in flat(item)]

    assert len(flat(whole)) == len(flat(cut)) > 20
    assert all(torch.equal(a, b) for a, b in zip(flat(whole), flat(cut), strict=True))


def test_short_trainings_write_nothing_down(tiny, s, tmp_path):
    train.train(Job(tiny, "rgb", [s], [0], CPU), state_folder=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
