"""What every rival keeps: losses that train it, answers that localize, and what the others share with it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dgam_core.errors import InputError
from dgam_core.evaluation.mean_ap import mean_average_precision
from dgam_core.experiments import rival_inference
from dgam_core.experiments.inference import load_test_features
from dgam_core.rivals import loop, rival
from dgam_core.settings import LocalizationSettings, TrainingSettings
from dgam_core.snippets import DataSet, Segment, Video

CPU = torch.device("cpu")
MAX_LINES = 150
C, D, T, COUNT = 3, 12, 16, 24  # classes, features, snippets drawn, snippets of a video


@pytest.fixture(params=rival.names())
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def easy() -> DataSet:
    """Videos with one action of 6 of 24 seconds: the class in two of 2·C dimensions, action in another.

    Two, because a method that drops whole features in training could not learn the class from one.
    """
    random = np.random.default_rng(0)
    videos, features = [], {"rgb": {}, "flow": {}}
    classes = tuple(f"class{c}" for c in range(C))
    for i in range(36):
        c, start = i % C, int(random.integers(4, 12))
        video = Video(
            f"v{i}",
            "train" if i < 24 else "test",
            float(COUNT),
            COUNT,
            (classes[c],),
            (Segment(classes[c], float(start), float(start + 6)),),
        )
        videos.append(video)
        for of_stream in features.values():
            x = random.normal(0.2, 0.1, (COUNT, D)).astype(np.float32).clip(0)
            x[start : start + 6, [c, C + c, 2 * C]] += 1
            of_stream[video.name] = x
    return DataSet("easy", "made by hand", True, 16.0, 16, classes, tuple(videos), features)


SHARED = TrainingSettings(
    num_snippets=T, batch_size=8, epochs=60, learning_rate=0.005, evaluation_interval=30, held_out=0.25
)


def job(name: str, data: DataSet, settings: TrainingSettings = SHARED) -> loop.RivalJob:
    own = rival.read_settings(name, {})
    return loop.RivalJob(data, loop.streams_of(own, data)[0], own, loop.shared_settings(settings), 0, CPU)


def new(name: str) -> rival.Rival:
    return rival.new_rival(rival.Shape((D,), C, T), rival.read_settings(name, {}), seed=0)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    x = torch.rand(6, T, D, generator=random)
    # Pairs of a class, as co-activity needs them, and a video of two classes
    return x, torch.tensor([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1]], dtype=x.dtype)


def test_a_module_is_short(name):
    path = Path(rival.__file__).with_name(f"{name}.py")
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_it_has_a_title_and_settings_of_its_own(name):
    method = rival.find(name)
    assert method.title
    assert rival.name_of(rival.read_settings(name, {})) == name
    with pytest.raises(InputError, match=f"{name}: unknown parameter 'no_such'"):
        rival.read_settings(name, {"no_such": 1})


def test_losses_are_numbers_and_reach_every_weight(name):
    model = new(name)
    losses = model.losses(*batch(), torch.Generator().manual_seed(0))
    assert {"class", "total"} <= set(losses)
    assert all(value.shape == () and value.isfinite() for value in losses.values())
    losses["total"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_in_evaluation_mode_nothing_is_random(name):
    model = new(name).eval()
    one, other = (
        model.losses(*batch(), torch.Generator().manual_seed(seed))["class"].item() for seed in (0, 1)
    )
    assert one == other


@torch.no_grad()
def test_it_localizes_within_the_video(name):
    model = new(name).eval()
    answer = loop.answers_of(model, {"v": torch.rand(COUNT, D)})["v"]
    found = rival.find(name).localize({"rgb": answer, "flow": answer}, model.s)
    assert found.segments.shape == (len(found.scores), 2)
    assert found.classes.shape == found.scores.shape
    assert np.isfinite(found.scores).all()
    assert ((found.segments >= 0) & (found.segments <= 1)).all()
    assert (found.segments[:, 0] < found.segments[:, 1]).all()
    assert set(found.classes) <= set(range(1, C + 1))


@torch.no_grad()
def test_a_video_of_one_snippet_is_no_trouble(name):
    model = new(name).eval()
    answer = loop.answers_of(model, {"v": torch.rand(1, D)})["v"]
    found = rival.find(name).localize({"rgb": answer}, model.s)
    assert np.isfinite(found.scores).all()


def test_it_learns_from_labels_to_find_an_easy_action(name, easy):
    own = rival.read_settings(name, {})
    answers = {}
    for stream in loop.streams_of(own, easy):
        of_stream = replace(job(name, easy), stream=stream)
        trained = loop.train(of_stream)
        data = loop.with_joined(easy, stream)
        features = load_test_features(data, stream, LocalizationSettings(), CPU)
        network = of_stream.new()
        network.load_state_dict(trained.weights)
        answers[stream] = loop.answers_of(network, features)
    found = rival_inference.detect(easy, answers, own)
    names = [video.name for video in easy.subset("test")]
    (value,) = mean_average_precision(found, easy.ground_truth("test"), names, (0.3,)).map
    assert (value > 0.5) == (name not in ("uniform", "random_segments"))  # which know nothing of time
    assert len(trained.checkpoints.held_out) == 2


def test_an_interrupted_training_comes_to_the_same_weights(name, easy, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "STATE_INTERVAL_S", -1.0)
    short = SHARED.model_copy(update={"epochs": 6, "evaluation_interval": 2})
    whole = loop.train(job(name, easy, short))

    def stop(losses, after=[9]):  # noqa: B006, counts the calls
        after[0] -= 1
        if not after[0]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(job(name, easy, short), stop, tmp_path)
    resumed = loop.train(job(name, easy, short), state_folder=tmp_path)
    assert all(torch.equal(whole.weights[key], resumed.weights[key]) for key in whole.weights)
    assert np.array_equal(whole.checkpoints.held_out, resumed.checkpoints.held_out)


def test_initial_weights_depend_on_the_seed_alone(name):
    torch.manual_seed(3)
    one = new(name)
    torch.manual_seed(4)
    other = new(name)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_an_unknown_method_is_refused_with_those_there_are():
    with pytest.raises(InputError, match=r"'stpm' is no method; there are .*stpn"):
        rival.find("stpm")


def test_a_loss_that_is_not_finite_is_named(easy):
    with pytest.raises(
        InputError, match=r"easy, flow, seed 0: a loss is infinite or undefined.*learning_rate"
    ):
        loop.train(job("stpn", easy, SHARED.model_copy(update={"learning_rate": 1e38})))


def test_a_rate_of_ones_own_takes_the_place_of_the_shared_one(easy):
    own = job("stpn", easy, SHARED.model_copy(update={"epochs": 2, "learning_rate": 0.5}))
    own = replace(own, rival=rival.read_settings("stpn", {"learning_rate": 0.005}))
    shared = job("stpn", easy, SHARED.model_copy(update={"epochs": 2}))
    trained = [loop.train(one).weights for one in (own, shared)]
    assert all(torch.equal(trained[0][key], trained[1][key]) for key in trained[0])


def test_joined_streams_stand_side_by_side(easy):
    joined = loop.with_joined(easy, "flow+rgb")
    assert joined.dim("flow+rgb") == 2 * D
    expected = np.concatenate([easy.load("flow", "v3"), easy.load("rgb", "v3")], axis=1)
    assert np.array_equal(joined.load("flow+rgb", "v3"), expected)


def test_a_rival_shares_with_dgam_what_is_not_the_methods():
    s = TrainingSettings(num_snippets=7, batch_size=3, alpha=0.5, latent_dim=2)
    shared = loop.shared_settings(s)
    assert (shared.num_snippets, shared.batch_size) == (7, 3)
    assert (shared.alpha, shared.latent_dim) == (TrainingSettings().alpha, TrainingSettings().latent_dim)


def test_dropout_keeps_the_mean():
    x = torch.ones(100_000)
    dropped = rival.dropout(x, 0.7, torch.Generator().manual_seed(0))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.3])
    # Standard error √(0.7/0.3 / 100,000) = 0.005
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
