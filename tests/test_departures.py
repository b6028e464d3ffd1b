"""Each departure, switched on alone, changes what it should and nothing else: those of training."""

import math
from dataclasses import replace

import pytest
import torch
from pytest import approx

from dgam_core.attention import pool_background, pool_foreground
from dgam_core.classifier import background_tcam, foreground_tcam
from dgam_core.departures import CLASS0_BUG, DEPARTURES, difference, effective_beta, preset
from dgam_core.errors import InputError
from dgam_core.experiments.inference import load_test_features
from dgam_core.experiments.variants import switch
from dgam_core.model import new_model, seed_of_stream
from dgam_core.settings import Settings
from dgam_core.stages import stage_a, stage_b, warmup
from dgam_core.training import fused, train
from dgam_core.training.batches import load_training_data
from dgam_core.training.fit import Fit
from dgam_core.training.train import Job

CPU = torch.device("cpu")
BY_NUMBER = {departure.number: departure for departure in DEPARTURES}
BENCHMARKS = ("thumos14", "activitynet12")
T, D = 6, 5  # snippets and features of the batch below


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return torch.rand(2, T, D), torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]])


def on(base, number, benchmark="thumos14"):
    return switch(base, BY_NUMBER[number], benchmark)


def both_stages(settings, batch, warmup=0.5, stream="rgb"):
    """Losses of both stages on the batch, from the same first weights and the same z."""
    s = settings.for_stream(stream)
    model = new_model(D, 2, s, seed=0)
    a = stage_a(model, *batch, s, warmup, torch.Generator().manual_seed(0))
    b = stage_b(model, *batch, s, warmup, torch.Generator().manual_seed(0))
    return a, b, model


def changed(before, after):
    """Names of the losses that differ."""
    return {
        f"{stage}.{name}"
        for stage, x, y in (("a", before[0], after[0]), ("b", before[1], after[1]))
        for name in x
        if x[name].item() != approx(y[name].item(), rel=1e-6)
    }


def trained(data, settings):
    return train.train(Job(data, "rgb", [settings.for_stream("rgb")], [0], CPU))[0]


def same(a, b):
    return all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)


def test_01_the_pooling_offset_shrinks_the_foreground(settings, batch):
    before, after = both_stages(settings, batch), both_stages(on(settings, 1), batch)
    model = after[2]
    lam = model.attention(batch[0])
    total = lam.sum(-1, keepdim=True)
    x_fg = pool_foreground(batch[0], lam) * total / (total + 1)  # by the factor Σλ / (Σλ + 1)
    log_p = model.classifier(x_fg).log_softmax(-1)
    assert after[0]["fg"].item() == approx(-(batch[1] * log_p).sum(-1).mean().item(), rel=1e-5)
    x_bg = pool_background(batch[0], lam) * (T - total) / (T - total + 1e-6)
    l_bg = -model.classifier(x_bg).log_softmax(-1)[:, 0].mean()
    assert after[0]["bg"].item() == approx(l_bg.item(), rel=1e-5)
    assert changed(before, after) == {"a.fg", "a.total"}  # 1e-6 of the background is below the tolerance


def test_01_the_offset_is_not_there_in_a_test(settings, tiny):
    model = fused.stack([new_model(D, 2, on(settings, 1).for_stream("rgb"), seed=0)])
    data = load_training_data(tiny, "rgb", CPU)
    variants = (settings, on(settings, 1))
    losses = [train.classification_loss(model, [data], s.for_stream("rgb")) for s in variants]
    assert losses[0] == losses[1]


def test_02_the_background_moves_to_the_last_row_and_nothing_else_does(settings, batch):
    s = settings.for_stream("rgb")
    first, last = new_model(D, 2, s, 0), new_model(D, 2, on(s, 2), 0)
    rows = first.classifier.fc1.weight
    assert torch.equal(rows, last.classifier.fc1.weight)  # the same draw
    assert torch.equal(last.classifier(batch[0]), first.classifier(batch[0])[..., [2, 0, 1]])
    with torch.no_grad():  # with its rows in the other order, it is the same classifier
        last.classifier.fc1.weight.copy_(rows[[1, 2, 0]])
    before, after = (
        stage_a(model, *batch, s, 1.0, torch.Generator().manual_seed(0)) for model in (first, last)
    )
    for name in before:
        assert before[name].item() == approx(after[name].item())


def test_04_the_effective_beta_is_that_of_the_means(settings, batch):
    before, after = both_stages(settings, batch), both_stages(on(settings, 4), batch)
    assert changed(before, after) == {"b.cvae", "b.total"}
    b, Z = after[1], settings.latent_dim
    # σ = √½: −log p = ‖x − x̂‖² + D/2·log π; the mean of the squares stands beside β times that of the KL
    squares = -b["log_likelihood"].item() - D / 2 * math.log(math.pi)
    expected = squares / D + 0.1 * b["kl"].item() / Z + 0.5 * math.log(math.pi)
    assert b["cvae"].item() == approx(expected, rel=1e-5)
    # D times it is −log p + β·D/Z·KL: Eq. (10) with another β
    effective = effective_beta(on(settings, 4), D)
    assert effective == approx(0.1 * 5 / 3)
    assert D * b["cvae"].item() == approx(-b["log_likelihood"].item() + effective * b["kl"].item(), rel=1e-5)


def test_04_the_effective_beta_at_the_papers_sizes():
    released = preset("released", "thumos14")
    assert effective_beta(released, 1024) == approx(0.8)  # 0.1·1024 / 128
    sweep = [effective_beta(released.model_copy(update={"latent_dim": z}), 1024) for z in (16, 512)]
    assert sweep == approx([6.4, 0.2])
    assert effective_beta(preset("paper", "thumos14"), 1024) == 0.1


def test_05_gamma_1_weighs_a_mean_instead_of_a_sum(settings, batch):
    before, after = both_stages(settings, batch), both_stages(on(settings, 5), batch)
    assert changed(before, after) == {"a.total"}
    share = 0.5 * 0.5 * before[0]["re"].item()  # warm-up 0.5, γ1 0.5
    removed = before[0]["total"].item() - after[0]["total"].item()
    assert removed == approx(share * (1 - 1 / (T * D)), rel=1e-4)


def test_06_warm_up_goes_in_steps_of_10_and_l_cvae_weighs_10(settings, batch):
    before, after = both_stages(settings, batch), both_stages(on(settings, 6), batch)
    assert changed(before, after) == {"b.total"}
    assert after[1]["total"].item() == approx(10 * before[1]["total"].item())
    long = on(settings.model_copy(update={"warmup_epochs": 30}), 6)
    factors = [warmup(long, epoch) for epoch in range(35)]
    # the epoch in which the block of ten begins: 0, 10, 20, 30
    assert factors == approx([0] * 10 + [1 / 3] * 10 + [2 / 3] * 10 + [1] * 5)


def test_07_activitynet_has_weights_of_its_own(settings, batch):
    assert on(settings, 7) == settings  # nothing to switch on THUMOS14
    other = on(settings, 7, "activitynet12")
    assert set(difference(other, settings)) == {"alpha", "fg_weight", "gamma_re", "warmup_re"}
    for stream, weight in (("rgb", 1.0), ("flow", 0.3)):
        out, _, _ = both_stages(other, batch, warmup=0.5, stream=stream)
        # α 1, γ1 0.1 without warm-up, γ2 0.1
        expected = weight * out["fg"] + 1.0 * out["bg"] + 0.1 * out["re"] + 0.1 * out["guide"]
        assert out["total"].item() == approx(expected.item(), rel=1e-5)


def test_09_a_bias_that_no_tcam_has_and_a_guide_for_the_attention_alone(settings, batch):
    s = on(settings, 9).for_stream("rgb")
    model = new_model(D, 2, s, seed=0)
    with torch.no_grad():
        model.classifier.fc1.bias.copy_(torch.tensor([5.0, -5.0, 0.0]))
        model.attention.fc2.bias.fill_(5.0)  # above both maps, where the guide is not flat
    x, target = batch
    out = stage_a(model, x, target, s, 1.0, torch.Generator().manual_seed(0))
    lam = model.attention(x)
    with_bias = pool_foreground(x, lam) @ model.classifier.fc1.weight.T + model.classifier.fc1.bias
    l_fg = -(target * with_bias.log_softmax(-1)).sum(-1).mean()
    assert out["fg"].item() == approx(l_fg.item(), rel=1e-5)
    without_bias = x @ model.classifier.fc1.weight.T
    own = without_bias.softmax(-1).masked_fill(target[:, None] == 0, 0).amax(-1)
    filtered = foreground_tcam(without_bias, target > 0, 1.0)
    assert filtered.mean().item() == approx(own.mean().item(), rel=0.1)  # smoothed
    guide = (lam - filtered).abs().mean() + (lam - background_tcam(without_bias, 1.0)).abs().mean()
    assert out["guide"].item() == approx(guide.item(), rel=1e-5)
    out["guide"].backward()
    assert model.classifier.fc1.weight.grad is None
    assert model.attention.fc2.bias.grad.abs() > 0


def test_10_a_stage_can_have_several_passes_before_the_other(settings, tiny, monkeypatch):
    order = []
    for stage in ("a", "b"):
        real = getattr(fused, f"stage_{stage}_losses")

        def listening(*x, real=real, stage=stage):
            order.append(stage)
            return real(*x)

        monkeypatch.setattr(fused, f"stage_{stage}_losses", listening)
    trained(tiny, settings.model_copy(update={"stage_passes": 3, "epochs": 2, "held_out": 0.0}))
    assert "".join(order) == "bbbaaa" * 2  # one batch a pass


def test_11_adam_has_another_beta_1(settings, tiny, monkeypatch):
    seen = []
    real = torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda p, **kw: seen.append(kw) or real(p, **kw))
    data = load_training_data(tiny, "rgb", CPU)
    for s in (settings, on(settings, 11)):
        Fit([data], [s.for_stream("rgb")], [0], CPU)
    assert [arguments["betas"] for arguments in seen] == [(0.9, 0.999)] * 2 + [(0.8, 0.999)] * 2
    assert [arguments["lr"] for arguments in seen] == [0.001] * 4
    assert set(difference(on(settings, 11), settings)) == {"adam_beta1", "epochs"}


def draws(data, settings, epochs):
    """Batches of each epoch, videos and the snippets drawn; the training videos are five copies of two."""
    videos = tuple(replace(data.videos[i % 2], name=f"c{i}") for i in range(5))
    features = {"rgb": {f"c{i}": data.features["rgb"][f"v{i % 2}"] for i in range(5)}}
    loaded = load_training_data(replace(data, videos=videos, features=features), "rgb", CPU)
    fit = Fit([loaded], [settings.for_stream("rgb")], [0], CPU)
    found = []
    for _ in range(epochs):
        fit.epoch()
        found.append([(tuple(v.tolist()), tuple(map(tuple, i.tolist()))) for v, i in fit.draws[0].batches])
    return found


def test_12_one_draw_serves_ten_epochs_and_an_incomplete_batch_is_left_out(settings, tiny):
    fresh = draws(tiny, settings, 12)
    assert len({str(epoch) for epoch in fresh}) == 12
    assert all(sum(len(videos) for videos, _ in epoch) == 5 for epoch in fresh)
    shared = draws(tiny, on(settings, 12), 12)
    assert shared[0] == shared[9] != shared[10] == shared[11]
    assert all([len(videos) for videos, _ in epoch] == [2, 2] for epoch in shared)  # 5 videos by twos
    for videos, rows in shared[0]:
        for video, row in zip(videos, rows, strict=True):
            v = 6 + video % 2
            for i, index in enumerate(row):  # N = 5 positions
                assert i * v // 5 <= index <= min((i + 1) * v // 5, v - 1)


def test_12_batches_that_cannot_be_filled_stop_the_training(settings, tiny):
    with pytest.raises(InputError, match="2 training videos do not fill a batch of 4"):
        trained(tiny, on(settings, 12).model_copy(update={"batch_size": 4, "held_out": 0.0}))


def test_13_every_draw_repeats_the_same_numbers_for_other_videos(settings, tiny):
    one = replace(tiny.videos[0], name="v1")
    features = {"rgb": {name: x[:6] for name, x in tiny.features["rgb"].items()}}
    alike = replace(tiny, videos=(tiny.videos[0], one, *tiny.videos[2:]), features=features)

    def positions(epoch):
        return str([row for _, rows in epoch for row in rows])  # in the order of drawing

    repeated = draws(alike, on(settings, 13), 4)
    assert len({positions(epoch) for epoch in repeated}) == 1
    assert len({tuple(videos for videos, _ in epoch) for epoch in repeated}) == 4
    assert len({positions(epoch) for epoch in draws(alike, settings, 4)}) == 4


def test_13_four_batches_share_the_random_numbers(settings, tiny):
    six = settings.model_copy(update={"batch_size": 1, "num_snippets": 3, **BY_NUMBER[13].settings})
    videos = tuple(replace(tiny.videos[0], name=f"c{i}", subset="train") for i in range(6))
    features = {"rgb": {video.name: tiny.features["rgb"]["v0"] for video in videos}}
    data = load_training_data(replace(tiny, videos=videos, features=features), "rgb", CPU)
    fit = Fit([data], [six.for_stream("rgb")], [0], CPU)
    fit.epoch()
    rows = [index[0].tolist() for _, index in fit.draws[0].batches]
    assert rows[0] == rows[1] == rows[2] == rows[3]
    assert rows[4] == rows[5] != rows[0]


def test_29_draws_of_the_streams_are_their_own(settings, tiny):
    one, other = (seed_of_stream(0, stream) for stream in ("rgb", "flow"))
    data = load_training_data(tiny, "rgb", CPU)
    fits = [Fit([data], [settings.for_stream("rgb")], [seed], CPU) for seed in (one, one, other)]
    weights = [fit.model.attention.fc1.weight for fit in fits]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_14_the_choice_changes_and_the_number_of_checkpoints_but_not_the_training(settings, tiny):
    assert set(difference(on(settings, 14), settings)) == {"evaluation_interval", "model_choice"}
    few, many = (
        trained(tiny, settings.model_copy(update={"epochs": 30, "evaluation_interval": look}))
        for look in (15, 10)
    )
    assert few.checkpoints.epochs.tolist() == [15, 30]
    assert many.checkpoints.epochs.tolist() == [10, 20, 30]
    assert same(few, many)


def test_21_short_videos_are_sampled_up(settings, tiny):
    lengths = {
        benchmark: {
            len(x) for x in load_test_features(tiny, "rgb", on(settings, 21, benchmark), CPU).values()
        }
        for benchmark in BENCHMARKS
    }
    assert lengths == {"thumos14": {50}, "activitynet12": {8, 9}}


@pytest.mark.parametrize("number", [3, 8, 20, 24])
def test_where_the_paper_is_silent_both_presets_do_as_the_released_code(number):
    s = preset("paper", "thumos14")
    assert on(s, number) == s
    assert BY_NUMBER[number].values("activitynet12") == {}
    values = {
        3: s.prior_shift == 1.0,
        8: s.sigma_tcam == 1.0,
        20: s.class_threshold == 0.1,
        24: (s.attention_hidden, s.cvae_hidden, s.latent_dim) == (256, 128, 128),
    }
    assert values[number]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_released_is_paper_with_every_departure(name):
    every = preset("paper", name)
    for departure in DEPARTURES:
        if departure.number not in (CLASS0_BUG, 31):
            every = switch(every, departure, name)
    assert every == preset("released", name)
    assert not every.released_class0_bug
    assert every.assumed_snippet_s is None
    assert Settings.model_validate(every.model_dump()) == every  # switching does not validate; this does


def test_departures_have_settings_of_their_own():
    assert [d.number for d in DEPARTURES] == [*range(1, 25), *range(26, 32)]  # 25 is no departure
    for benchmark in BENCHMARKS:
        names = [name for d in BY_NUMBER.values() for name in d.values(benchmark)]
        assert len(names) == len(set(names))
        assert set(names) <= set(Settings.model_fields)


def test_presets_of_activitynet_have_its_sizes_and_measure():
    for name in ("paper", "released"):
        s = preset(name, "activitynet12")
        assert s.max_snippets == 200
        assert s.main_tiou == tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
    assert preset("paper", "thumos14").main_tiou == (0.5,)
    # section 4.2 gives γ1 without naming a data set
    assert preset("paper", "activitynet12").for_stream("flow").gamma_re == 0.3
