"""STPN's equations against independent formulas."""

import numpy as np
import pytest
import torch
from pytest import approx

from dgam_core.rivals import stpn
from dgam_core.rivals.rival import Shape


@pytest.mark.rival_equation("stpn", "1")
def test_pooling_is_the_weighted_sum_eq_1():
    x = torch.tensor([[[1.0, 2.0], [3.0, 5.0]]])
    # 0.5·(1, 2) + 0.25·(3, 5)
    assert stpn.pool(x, torch.tensor([[0.5, 0.25]]))[0].tolist() == [1.25, 2.25]


@pytest.mark.rival_equation("stpn", "2")
def test_sparsity_is_the_l1_norm_of_a_video_eq_2():
    lam = torch.tensor([[0.5, 0.25], [1.0, 0.25]])
    # ‖λ‖₁ is 0.75 and 1.25; their mean
    assert stpn.sparsity_loss(lam).item() == approx(1.0)


@pytest.mark.rival_equation("stpn", "2")
def test_the_loss_is_cross_entropy_of_each_class_and_the_weighted_norm_eq_2():
    model = stpn.STPN(Shape((3,), 2, 4), stpn.Settings(hidden=5, beta=0.1))
    x, y = torch.randn(2, 4, 3), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    losses = model.losses(x, y, torch.Generator())
    lam = model.attention(x)[..., 0].sigmoid()
    p = model.classifier(torch.stack([lam[b] @ x[b] for b in range(2)])).sigmoid()
    log_likelihood = y * p.log() + (1 - y) * (1 - p).log()
    assert losses["class"].item() == approx(-log_likelihood.mean().item(), rel=1e-5)
    assert losses["total"].item() == approx((losses["class"] + 0.1 * lam.sum(1).mean()).item(), rel=1e-5)


def test_sparsity_reaches_the_attention_alone():
    model = stpn.STPN(Shape((3,), 2, 4), stpn.Settings(hidden=5))
    losses = model.losses(torch.randn(2, 4, 3), torch.ones(2, 2), torch.Generator())
    losses["sparsity"].backward()
    assert all(parameter.grad is not None for parameter in model.attention.parameters())
    assert all(parameter.grad is None for parameter in model.classifier.parameters())


@pytest.mark.rival_equation("stpn", "5")
def test_weighted_tcam_gates_the_probability_by_attention_eq_5():
    # σ(log 3) is ¾, σ(-log 3) is ¼ and σ(0) is ½
    answer = {"attention": np.array([0.5, 1.0]), "tcam": np.log([[3, 1], [1 / 3, 3]])}
    assert stpn.weighted_tcam(answer) == approx(np.array([[0.5 * 0.75, 0.5 * 0.5], [0.25, 0.75]]))


@pytest.mark.rival_equation("stpn", "7")
def test_a_segment_is_scored_by_both_streams_eq_7():
    p = np.array([0.9])
    rgb = {
        "attention": np.array([0.8, 0.6, 0.0, 0.0]),
        "tcam": np.array([[2.0], [1.0], [5.0], [5.0]]),
        "p": p,
    }
    flow = {
        "attention": np.array([0.4, 0.5, 0.0, 0.0]),
        "tcam": np.array([[1.0], [3.0], [5.0], [5.0]]),
        "p": p,
    }
    settings = stpn.Settings(thresholds=(0.1,), upsampling=1, rgb_share=0.75, nms_tiou=1.0)
    found = stpn.STPN.localize({"rgb": rgb, "flow": flow}, settings)
    # Both give [0, 2]. RGB counts 0.75: the T-CAM of both is 0.75·2 + 0.25·1 = 1.75 and 0.75·1 + 0.25·3 = 1.5
    of_rgb, of_flow = (0.8 * 1.75 + 0.6 * 1.5) / 2, (0.4 * 1.75 + 0.5 * 1.5) / 2
    assert sorted(found.scores.tolist()) == approx([of_flow, of_rgb])
    assert found.segments.tolist() == [[0.0, 0.5], [0.0, 0.5]]
    assert found.classes.tolist() == [1, 1]


def test_between_snippets_signal_and_score_lie_on_straight_lines():
    answer = {"attention": np.array([1.0, 1.0]), "tcam": np.log([[3], [1 / 3]]), "p": np.array([0.9])}
    found = stpn.STPN.localize({"rgb": answer}, stpn.Settings(thresholds=(0.6,), upsampling=4, nms_tiou=1.0))
    # From ¾ to ¼: 6/8, 5/8, 4/8, 3/8, and on to 2/8 and below; two of eight are above 0.6
    assert found.segments.tolist() == [[0.0, 2 / 8]]
    # The T-CAM falls from log 3 to -log 3, by half of log 3 for each
    assert found.scores.tolist() == approx([(1 + 0.5) / 2 * np.log(3)])


def test_a_stream_proposes_only_classes_that_it_finds_likely_itself():
    tcam = np.zeros((4, 2))
    rgb = {"attention": np.array([0.9, 0.9, 0.0, 0.0]), "tcam": tcam, "p": np.array([0.2, 0.05])}
    flow = {"attention": np.array([0.0, 0.0, 0.9, 0.9]), "tcam": tcam, "p": np.array([0.05, 0.3])}
    found = stpn.STPN.localize({"rgb": rgb, "flow": flow}, stpn.Settings(thresholds=(0.1,), upsampling=1))
    assert dict(zip(found.classes.tolist(), found.segments.tolist(), strict=True)) == {
        1: [0, 0.5],
        2: [0.5, 1],
    }
    unlikely = rgb | {"p": np.array([0.1, 0.05])}
    assert len(stpn.STPN.localize({"rgb": unlikely, "flow": unlikely}, stpn.Settings()).scores) == 0


@pytest.mark.parametrize("divide_by", ["nothing", "length"])
def test_a_long_test_video_is_brought_to_the_length_of_training(divide_by):
    model = stpn.STPN(Shape((3,), 2, 4), stpn.Settings(hidden=5, divide_by=divide_by))
    x = torch.randn(4, 3)
    once, thrice = model.answer(x)["p"], model.answer(x.repeat_interleave(3, 0))["p"]
    assert torch.allclose(once, thrice, atol=1e-6)


def test_the_sum_is_divided_by_the_number_of_snippets_on_request():
    x, lam = torch.tensor([[[1.0, 2.0], [3.0, 5.0]]]), torch.tensor([[0.5, 0.25]])
    whole, part = (
        stpn.STPN(Shape((2,), 2, 2), stpn.Settings(divide_by=by)).pooled(x, lam)
        for by in ("nothing", "length")
    )
    # The sum is 0.5·(1, 2) + 0.25·(3, 5), of two snippets
    assert whole.tolist() == [[1.25, 2.25]]
    assert part.tolist() == [[0.625, 1.125]]
