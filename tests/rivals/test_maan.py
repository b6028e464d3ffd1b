"""MAAN's equations against all subsets, and against the paper's recursion."""

from itertools import product

import numpy as np
import pytest
import torch
from pytest import approx
from torch import Tensor

from dgam_core.rivals import maan
from dgam_core.rivals.rival import Shape


def over_all_subsets(x: Tensor, p: Tensor) -> Tensor:
    """E[Σ z_t·x_t / Σ z_t] of one video, (T, D) and (T,), by summing over all 2^T values of z."""
    mean = torch.zeros(x.shape[1], dtype=x.dtype)
    for z in product([0.0, 1.0], repeat=len(p)):
        chosen = torch.tensor(z, dtype=x.dtype)
        probability = torch.where(chosen > 0, p, 1 - p).prod()
        mean = mean + probability * (chosen @ x) / chosen.sum().clamp(min=1)
    return mean


def by_recursion(x: Tensor, p: Tensor) -> Tensor:
    """x̄ of one video by Eq. (9, 10), from snippet to snippet."""
    T = len(p)
    q, m = torch.zeros(T + 1, dtype=x.dtype), torch.zeros(T + 1, x.shape[1], dtype=x.dtype)
    q[0] = 1
    i = torch.arange(1, T + 1, dtype=x.dtype)[:, None]
    b = (i - 1) / i  # b_{i−1} of i = 1 … T
    for x_t, p_t in zip(x, p, strict=True):
        m = (1 - p_t) * m + p_t * torch.cat(
            [torch.zeros_like(m[:1]), b * m[:-1] + (1 - b) * q[:-1, None] * x_t]
        )
        q = (1 - p_t) * q + p_t * torch.cat([q.new_zeros(1), q[:-1]])
    return m.sum(0)


def random(*size: int, seed: int = 0) -> Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.rival_equation("maan", "2")
@pytest.mark.parametrize("length", [1, 2, 3, 9])
def test_the_aggregate_is_the_expected_average_of_a_subset_eq_2(length):
    x, p = random(3, length, 4), random(3, length, seed=1)
    expected = torch.stack([over_all_subsets(*video) for video in zip(x, p, strict=True)])
    assert torch.allclose(maan.aggregate(x, p), expected, atol=1e-12)


@pytest.mark.rival_equation("maan", "2")
def test_two_snippets_by_hand_eq_2():
    x, p = torch.tensor([[[1.0], [3.0]]]), torch.tensor([[0.5, 0.2]])
    # The first alone: 0.5·0.8·1; the second alone: 0.5·0.2·3; both: 0.5·0.2·2; none: 0
    assert maan.aggregate(x, p).item() == approx(0.4 + 0.3 + 0.2)


@pytest.mark.rival_equation("maan", "9, 10")
@pytest.mark.parametrize("power", [1, 8])
def test_the_paper_s_recursion_comes_to_the_same_for_400_snippets_eq_9_10(power):
    x, p = random(400, 2), random(400, seed=1) ** power
    assert torch.allclose(maan.aggregate(x[None], p[None])[0], by_recursion(x, p), rtol=1e-9)


@pytest.mark.rival_equation("maan", "3")
def test_weights_are_the_probability_times_the_expected_share_eq_3():
    p = random(1, 3)
    a, b, c = p[0].tolist()
    # λ_a = a·E[1 / (1 + z_b + z_c)]
    share = (1 - b) * (1 - c) + (b * (1 - c) + c * (1 - b)) / 2 + b * c / 3
    assert maan.attention_weights(p)[0, 0].item() == approx(a * share)


@pytest.mark.rival_equation("maan", "3")
def test_weights_keep_the_order_of_the_probabilities_and_stretch_their_gaps():
    p = random(5, 30)
    lam = maan.attention_weights(p)
    order = p.argsort(1)
    assert torch.equal(lam.argsort(1), order)
    # Proposition 2: among shares of the whole, the best snippet stands out less in p than in λ
    p_share, lam_share = (v / v.sum(1, keepdim=True) for v in (p, lam))
    assert (p_share.amax(1) - p_share.amin(1) <= lam_share.amax(1) - lam_share.amin(1)).all()


def test_weights_sum_to_the_probability_that_a_snippet_is_chosen():
    p = random(4, 300) * torch.tensor([[1.0], [0.1], [1e-3], [0.0]], dtype=torch.float64)
    expected = 1 - (1 - p).prod(1)
    assert torch.allclose(maan.attention_weights(p).sum(1), expected, atol=1e-9)


@pytest.mark.parametrize("probability", [0.0, 1e-30, 1.0])
def test_certainty_is_no_trouble(probability):
    p = torch.full((1, 400), probability, requires_grad=True)
    lam = maan.attention_weights(p)
    assert lam.sum().item() == approx(400 * probability if probability < 1 else 1, rel=1e-4)
    lam.pow(2).sum().backward()
    assert p.grad.isfinite().all()


def test_gradients_are_those_of_the_expectation():
    assert torch.autograd.gradcheck(
        maan.aggregate, (random(2, 7, 3).requires_grad_(), random(2, 7, seed=1).requires_grad_())
    )


@pytest.mark.rival_equation("maan", "11")
def test_the_loss_is_cross_entropy_of_each_class_eq_11():
    model = maan.MAAN(Shape((3,), 2, 4), maan.Settings(hidden=5))
    x, y = torch.randn(2, 4, 3), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    p = model.attention(x)[..., 0].sigmoid()
    mean = torch.stack([over_all_subsets(*video) for video in zip(x, p, strict=True)])
    sigma = model.classifier(mean).sigmoid()
    expected = -(y * sigma.log() + (1 - y) * (1 - sigma).log()).mean()
    assert model.losses(x, y, torch.Generator())["class"].item() == approx(expected.item(), rel=1e-5)


def test_the_loss_teaches_attention():
    model = maan.MAAN(Shape((3,), 2, 4), maan.Settings(hidden=5))
    model.losses(torch.randn(2, 4, 3), torch.eye(2), torch.Generator())["total"].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.attention.parameters())


@pytest.mark.rival_equation("maan", "15")
def test_the_sequence_is_gated_by_the_probability_not_by_its_weight_eq_15():
    answer = {"p": np.array([0.5, 1.0]), "tcam": np.array([[0.2, 0.4], [0.6, 0.8]])}
    assert maan.activation_sequence(answer) == approx(np.array([[0.1, 0.2], [0.6, 0.8]]))


def test_a_segment_is_scored_by_both_streams():
    tcam, video = np.array([[1.0], [1.0], [0.0], [0.0]]), np.array([0.9])
    rgb = {"p": np.array([0.8, 0.6, 0.0, 0.0]), "tcam": tcam, "video": video}
    flow = {"p": np.array([0.0, 0.15, 0.0, 0.0]), "tcam": tcam, "video": video}
    settings = maan.Settings(thresholds=(0.1,), nms_tiou=0.4)
    found = maan.MAAN.localize({"rgb": rgb, "flow": flow}, settings)
    # RGB gives [0, 2], of means 0.7 and 0.075; flow gives [1, 2], of 0.6 and 0.15, which is worse by 0.0125
    assert found.segments.tolist() == [[0.0, 0.5]]
    assert found.scores.tolist() == approx([(0.7 + 0.075) / 2])
    assert found.classes.tolist() == [1]


def test_a_long_test_video_needs_no_rescaling():
    model = maan.MAAN(Shape((3,), 2, 4), maan.Settings(hidden=5))
    x = torch.ones(1, 3)
    few, many = (model.answer(x.expand(count, 3))["video"] for count in (20, 2000))
    assert torch.allclose(few, many, atol=1e-3)
