"""Training that is told the times: losses against their formulas, and that it learns."""

import numpy as np
import pytest
import torch

from dgam_core.data.simulated import features
from dgam_core.errors import InputError
from dgam_core.model import new_model
from dgam_core.snippets import DataSet, Segment, Video
from dgam_core.training.batches import load_training_data
from dgam_core.training.fused import Batch, Factors, stack
from dgam_core.training.products import LARGE
from dgam_core.training.supervised import supervised_losses
from dgam_core.training.train import Job, train

CPU = torch.device("cpu")


@pytest.fixture
def s(settings):
    told = {"supervision": "times", "gamma_re": 0.0, "background": "last", "classifier_bias": True}
    return settings.model_copy(update=told).training.for_stream("rgb")


def batch_of(seed):
    torch.manual_seed(seed)
    x = torch.rand(3, 4, 5, dtype=torch.float64)
    kind = torch.randint(0, 3, (3, 4))
    of_snippets = torch.eye(3, dtype=torch.float64)[kind]
    of_snippets[0, 0] = torch.tensor([0, 0.5, 0.5])  # a snippet of two classes
    return Batch(
        x[None], x.square().sum(-1)[None], of_snippets.amax(1)[None], 2, None, None, of_snippets[None]
    )


@pytest.mark.parametrize("own_batches", [False, True])
@pytest.mark.parametrize("background", ["first", "last"])
def test_losses_and_gradients_are_those_of_each_run_by_its_formula(s, background, own_batches):
    s = s.model_copy(update={"background": background})
    single = [new_model(5, 2, s, seed).double() for seed in (0, 1)]
    model, batches = stack(single), [batch_of(0), batch_of(1 if own_batches else 0)]
    batch = Batch.join(batches) if own_batches else batches[0]
    factors = Factors.stack([Factors.of(s, 1.0, 4, 5)] * 2, next(model.parameters()))
    losses = supervised_losses(model, batch, s, factors)
    for r, alone in enumerate(single):
        x, y = batches[r].x[0], batches[r].snippet_target[0]
        lam, p = alone.attention(x), alone.classifier(x).softmax(-1)  # (3, 4), (3, 4, 3)
        a = (y[..., 0] == 0).double()  # whether a snippet is action
        attention = -(a * lam.log() + (1 - a) * (1 - lam).log()).mean()
        snippets = -(y * p.log()).sum(-1).mean()
        (attention + snippets).backward()
        found = [losses[name][r] for name in ("attention", "snippets", "total")]
        assert torch.allclose(torch.stack(found), torch.stack([attention, snippets, attention + snippets]))
        for values, alone_values in zip(
            model.stage_parameters("a"), alone.stage_parameters("a"), strict=True
        ):
            assert torch.allclose(values.grad[r], alone_values.grad, atol=1e-12)
    assert all(parameter.grad is None for parameter in model.cvae.parameters())


def test_large_products_have_the_same_losses_and_gradients_as_small_ones(s):
    """From 4 million multiplications on, float32 products on the CPU are those of another library."""
    torch.manual_seed(0)
    s = s.model_copy(update={"attention_hidden": 40})
    x, kind = torch.rand(1, 8, 64, 256), torch.randint(0, 3, (1, 8, 64))
    assert x.numel() * 43 > LARGE
    batches = [
        Batch(
            part,
            part.square().sum(-1),
            torch.zeros(1, part.shape[1], 3),
            1,
            snippet_target=torch.eye(3)[label],
        )
        for part, label in zip((x, *x.split(1, 1)), (kind, *kind.split(1, 1)), strict=True)
    ]
    found = []
    for batch in batches:
        single = stack([new_model(256, 2, s, seed=0)])
        losses = supervised_losses(single, batch, s, Factors.stack([Factors.of(s, 1.0, 64, 256)], x))
        found.append([losses["total"], *(values.grad for values in single.stage_parameters("a"))])
    whole, *parts = found
    for values, *of_parts in zip(whole, *parts, strict=True):
        assert torch.allclose(values, torch.stack(of_parts).mean(0), atol=1e-5)


def data_of(segments):
    x = np.random.default_rng(0).random((5, 3), dtype=np.float32)
    video = Video("v", "train", 5.0, 5, ("dive", "jump"), segments)
    return DataSet("d", "", True, 25.0, 25, ("dive", "jump"), (video,), {"rgb": {"v": x}})


def test_snippets_have_the_classes_of_the_segments_that_their_middles_lie_in():
    # middles at 0.5, 1.5, … s; an end at a middle leaves it out, as a start at one takes it in
    data = data_of((Segment("jump", 0.4, 2.5), Segment("dive", 1.5, 2.0)))
    loaded = load_training_data(data, "rgb", CPU, with_times=True)
    background, jump, both = [1, 0, 0], [0, 0, 1], [0, 0.5, 0.5]
    assert loaded.snippet_target.tolist() == [jump, both, background, background, background]
    assert load_training_data(data, "rgb", CPU).snippet_target is None


def test_a_training_video_without_segments_is_refused():
    with pytest.raises(InputError) as error:
        load_training_data(data_of(()), "rgb", CPU, with_times=True)
    assert str(error.value) == (
        "d: v has no segments; with supervision = times each training video needs some"
    )


def test_features_in_the_store_and_in_memory_train_alike(s, monkeypatch, tiny):
    job = Job(tiny, "rgb", [s], [0], CPU)
    (resident,) = train(job)
    monkeypatch.setattr("dgam_core.training.batches.MAX_MEMORY_SHARE", 0.0)
    (streamed,) = train(job)
    assert all((streamed.weights[name] == values).all() for name, values in resident.weights.items())


def test_it_learns_when_actions_happen_and_leaves_the_cvae_alone(s):
    data = features.thumos14()
    s = s.model_copy(update={"epochs": 30, "num_snippets": 32, "batch_size": 32, "learning_rate": 0.016})
    (trained,) = train(Job(data, "flow", [s], [0], CPU))
    assert set(trained.curves) == {"attention", "snippets"}
    # a constant attention has the entropy of the share of action, 0.29: 0.60 nats
    assert trained.curves["attention"][-1] < 0.35 < 0.55 < trained.curves["attention"][0]
    before = new_model(64, 20, s, Job(data, "flow", [s], [0], CPU).seeds_of_stream[0]).state_dict()
    assert all((trained.weights[n] == v).all() for n, v in before.items() if n.startswith("cvae."))
