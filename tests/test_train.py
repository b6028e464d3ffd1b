import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pytest import approx

from dgam_core import train
from dgam_core.attention import pool_background, pool_foreground
from dgam_core.errors import InputError
from dgam_core.snippets import sample_training

CPU = torch.device("cpu")


@pytest.fixture
def s(settings):
    return settings.for_stream("rgb")


@pytest.fixture
def model(s):
    return train.new_model(5, 2, s, seed=0)


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return torch.rand(2, 6, 5), torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def weights(module):
    return copy.deepcopy(module.state_dict())


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def one_step(model, stage, total):
    with train.only_updating(model, stage):
        adam = torch.optim.Adam(model.stage_parameters(stage), lr=0.01)
        total().backward()
        adam.step()


def test_stage_a_changes_no_cvae_weight(model, batch, s):
    before = weights(model)
    one_step(model, "a", lambda: train.stage_a_losses(model, *batch, s, 1.0, generator())["total"])
    after = weights(model)
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("cvae"))
    assert not any(torch.equal(before[name], after[name]) for name in before if not name.startswith("cvae"))


def test_stage_b_changes_no_attention_or_classifier_weight(model, batch, s):
    before = weights(model)
    one_step(model, "b", lambda: train.stage_b_losses(model, batch[0], s, 1.0, generator())["total"])
    after = weights(model)
    assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("cvae"))
    assert not any(torch.equal(before[name], after[name]) for name in before if name.startswith("cvae"))


def test_gradient_of_l_re_reaches_the_attention_through_the_frozen_decoder(model, batch, s):
    with train.only_updating(model, "a"):
        train.stage_a_losses(model, *batch, s, 1.0, generator())["re"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.attention.parameters())
    assert all(p.grad is None for p in model.cvae.parameters())
    assert all(p.grad is None for p in model.classifier.parameters())


def test_gradient_of_l_re_agrees_with_finite_differences(model, batch, s):
    model, x = model.double(), batch[0].double()
    bias = model.attention.fc2.bias

    def l_re():
        return train.stage_a_losses(model, x, batch[1].double(), s, 1.0, generator())["re"]

    l_re().backward()
    step = 1e-6
    with torch.no_grad():
        bias += step
        above = l_re()
        bias -= 2 * step
        below = l_re()
    assert bias.grad.item() == approx(((above - below) / (2 * step)).item(), rel=1e-5)


def test_stage_b_gives_the_attention_no_gradient_even_when_it_is_not_frozen(model, batch, s):
    train.stage_b_losses(model, batch[0], s, 1.0, generator())["total"].backward()
    assert all(p.grad is None for p in model.attention.parameters())


def test_guide_reaches_attention_and_classifier(model, batch, s):
    # Between both maps, |λ − λ̂fg| + |λ − λ̂bg| is flat in λ; above both it is not.
    torch.nn.init.constant_(model.attention.fc2.bias, 5.0)
    train.stage_a_losses(model, *batch, s, 1.0, generator())["guide"].backward()
    assert all(
        p.grad.abs().sum() > 0 for p in [*model.attention.parameters(), *model.classifier.parameters()]
    )


def test_total_of_stage_a_is_eq_16_with_warm_up(model, batch, s):
    s = s.model_copy(update={"alpha": 0.2, "gamma_re": 0.7, "gamma_guide": 0.4})
    out = train.stage_a_losses(model, *batch, s, 0.25, generator())
    elements = 6 * 5  # γ1 weighs the mean over T and D
    expected = out["fg"] + 0.2 * out["bg"] + 0.25 * 0.7 * out["re"] / elements + 0.4 * out["guide"]
    assert out["total"].item() == approx(expected.item())
    literal = train.stage_a_losses(
        model, *batch, s.model_copy(update={"gamma_re_per": "video"}), 0.25, generator()
    )
    expected = out["fg"] + 0.2 * out["bg"] + 0.25 * 0.7 * out["re"] + 0.4 * out["guide"]
    assert literal["total"].item() == approx(expected.item())


def test_losses_of_stage_a_come_from_the_pooled_features(model, batch, s):
    x, target = batch
    out = train.stage_a_losses(model, x, target, s, 1.0, generator())
    lam, w = model.attention(x), model.classifier.fc1.weight
    log_p_fg = (pool_foreground(x, lam) @ w.T).log_softmax(-1)
    # the first video is of class 1 alone, the second shares its target between both classes
    fg = -(log_p_fg[0, 1] + 0.5 * log_p_fg[1, 1] + 0.5 * log_p_fg[1, 2]) / 2
    assert out["fg"].item() == approx(fg.item(), rel=1e-5)
    bg = -(pool_background(x, lam) @ w.T).log_softmax(-1)[:, 0].mean()
    assert out["bg"].item() == approx(bg.item(), rel=1e-5)


def test_a_loss_without_weight_is_not_computed(model, batch, s):
    off = s.model_copy(update={"alpha": 0.0, "gamma_re": 0.0, "gamma_guide": 0.0})
    out = train.stage_a_losses(model, *batch, off, 1.0, generator())
    assert out["bg"] == out["re"] == out["guide"] == 0
    assert out["total"] == out["fg"]


def test_first_weights_depend_on_the_seed_and_leave_the_global_state_alone(s):
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    a, b, c = (weights(train.new_model(5, 2, s, seed)) for seed in (0, 0, 1))
    assert torch.equal(state, torch.random.get_rng_state())
    assert same(a, b)
    assert not same(a, c)


def test_training_data_holds_the_videos_end_to_end(tiny):
    data = train.load_training_data(tiny, "rgb", CPU)
    assert data.count.tolist() == [6, 7]
    assert data.start.tolist() == [0, 6]
    assert np.array_equal(data.features[6:].numpy(), tiny.features["rgb"]["v1"])
    assert data.target.tolist() == [[0, 1, 0], [0, 0, 1]]  # the background first, then jump and throw


def test_training_twice_gives_the_same_bits(tiny, s):
    first, again = (train.train(tiny, "rgb", s, 3, CPU, lambda _: None) for _ in range(2))
    assert same(first.weights, again.weights)
    for name in first.outputs:
        assert np.array_equal(first.outputs[name].attention, again.outputs[name].attention)


def test_training_reports_every_epoch_and_each_loss(tiny, s):
    epochs = []
    trained = train.train(tiny, "rgb", s, 0, CPU, epochs.append)
    assert epochs == [1, 2, 3]
    assert set(trained.curves) == {"fg", "bg", "re", "guide", "log_likelihood", "kl", "cvae"}
    assert all(values.shape == (3,) for values in trained.curves.values())
    assert {name: len(o.attention) for name, o in trained.outputs.items()} == {"v2": 8, "v3": 9}


def test_small_trainings_use_one_thread_and_leave_the_number_as_it_was(tiny, s):
    before, seen = torch.get_num_threads(), []
    train.train(tiny, "rgb", s, 0, CPU, lambda _: seen.append(torch.get_num_threads()))
    assert set(seen) == {1}
    assert torch.get_num_threads() == before


def test_warm_up_rises_linearly_and_scales_the_first_steps(tiny, s, monkeypatch):
    factors = []
    real = train.stage_b_losses

    def listening(model, x, s, warmup, generator):
        factors.append(warmup)
        return real(model, x, s, warmup, generator)

    monkeypatch.setattr(train, "stage_b_losses", listening)
    train.train(tiny, "rgb", s.model_copy(update={"epochs": 4, "warmup_epochs": 3}), 0, CPU, lambda _: None)
    assert factors == approx([1 / 3, 2 / 3, 1, 1])  # one batch an epoch


def test_training_learns_to_classify_and_to_reconstruct(tiny, s):
    long = s.model_copy(update={"epochs": 200, "learning_rate": 0.01})
    trained = train.train(tiny, "rgb", long, 0, CPU, lambda _: None)
    assert trained.curves["fg"][0] == approx(math.log(3), abs=0.3)  # three classes, nothing known
    assert trained.curves["fg"][-1] < 0.1
    assert trained.curves["log_likelihood"][-1] > trained.curves["log_likelihood"][0]


def test_prediction_is_restored_from_weights(tiny, s):
    trained = train.train(tiny, "rgb", s, 0, CPU, lambda _: None)
    again = train.predict(train.restore(trained.weights, s), tiny, "rgb", s.max_snippets, CPU)
    for name, outputs in trained.outputs.items():
        assert np.array_equal(outputs.attention, again[name].attention)
        assert np.array_equal(outputs.logits, again[name].logits)


def test_prediction_samples_long_videos(tiny, s):
    trained = train.train(tiny, "rgb", s.model_copy(update={"max_snippets": 4}), 0, CPU, lambda _: None)
    assert {len(outputs.attention) for outputs in trained.outputs.values()} == {4}


def test_features_that_are_not_finite_stop_the_training_with_a_sentence(tiny, s):
    broken = {**tiny.features["rgb"], "v1": np.full((7, 5), np.nan, dtype=np.float32)}
    with pytest.raises(InputError, match=r"v1: rgb features hold nan at snippet 0, dimension 0"):
        train.train(replace(tiny, features={"rgb": broken}), "rgb", s, 0, CPU, lambda _: None)


def test_a_training_that_diverges_says_so(tiny, s):
    huge = {name: x * 1e25 for name, x in tiny.features["rgb"].items()}
    with pytest.raises(
        InputError, match=r"tiny, rgb, seed 0: the loss '\w+' is infinite or undefined after 0"
    ):
        train.train(replace(tiny, features={"rgb": huge}), "rgb", s, 0, CPU, lambda _: None)


def test_device_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        assert train.choose_device("auto").type == "cuda"
    else:
        assert train.choose_device("auto").type == "cpu"
        with pytest.raises(InputError, match="no CUDA device"):
            train.choose_device("cuda")


@pytest.mark.gpu
def test_a_step_on_the_gpu_equals_one_on_the_cpu(model, batch, s):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    x, target = batch
    off = s.model_copy(update={"gamma_re": 0.0})  # the devices draw different random numbers
    here = train.stage_a_losses(model, x, target, off, 1.0, generator())["total"]
    there = train.stage_a_losses(model.cuda(), x.cuda(), target.cuda(), off, 1.0, torch.Generator("cuda"))[
        "total"
    ]
    assert there.item() == approx(here.item(), rel=1e-5)


def test_crops_index_each_video_within_itself(tiny):
    data = train.load_training_data(tiny, "rgb", CPU)
    index = data.start[:, None] + sample_training(data.count, 50, generator())
    assert index[0].max() < 6 <= index[1].min()
    assert index[1].max() < 13
