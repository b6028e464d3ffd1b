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
    answer = {"attention": np.array([0.5, 1.0]), "tcam": np.array([[0.2, 0.4], [0.6, 0.8]])}
    assert stpn.weighted_tcam(answer) == approx(np.array([[0.1, 0.2], [0.6, 0.8]]))


@pytest.mark.rival_equation("stpn", "7")
def test_a_segment_is_scored_by_both_streams_eq_7():
    tcam, p = np.array([[1.0], [1.0], [0.0], [0.0]]), np.array([0.9])
    rgb = {"attention": np.array([0.8, 0.6, 0.0, 0.0]), "tcam": tcam, "p": p}
    flow = {"attention": np.array([0.4, 0.2, 0.0, 0.0]), "tcam": tcam, "p": p}
    settings = stpn.Settings(thresholds=(0.1,), stream_share=0.75, nms_tiou=1.0)
    found = stpn.STPN.localize({"rgb": rgb, "flow": flow}, settings)
    # Both give [0, 2]. The means there are 0.7 in RGB and 0.3 in flow; the one that proposes counts 0.75
    assert sorted(found.scores.tolist()) == approx([0.75 * 0.3 + 0.25 * 0.7, 0.75 * 0.7 + 0.25 * 0.3])
    assert found.segments.tolist() == [[0.0, 0.5], [0.0, 0.5]]
    assert found.classes.tolist() == [1, 1]


def test_a_long_test_video_is_brought_to_the_length_of_training():
    model = stpn.STPN(Shape((3,), 2, 4), stpn.Settings(hidden=5))
    x = torch.randn(4, 3)
    once, thrice = model.answer(x)["p"], model.answer(x.repeat_interleave(3, 0))["p"]
    assert torch.allclose(once, thrice, atol=1e-6)
