"""AutoLoc's equations against independent formulas."""

import math

import numpy as np
import pytest
import torch
from pytest import approx

from dgam_core.localize import nms
from dgam_core.rivals import autoloc, proposals
from dgam_core.rivals.rival import Shape

F = torch.tensor([[0.0, 0.0, 0.5, 1.0, 0.9, 0.0, 0.1, 0.0]], dtype=torch.float64)


def model(**own) -> autoloc.AutoLoc:
    return autoloc.AutoLoc(Shape((3,), 2, 8), autoloc.Settings(channels=4, **own))


def mean_by_steps(f: torch.Tensor, areas: list[tuple[float, float]]) -> float:
    """Mean of f, 0 beyond the video, over areas, at points 1/1000 of a snippet apart."""
    u = np.concatenate([np.arange(start + 5e-4, end, 1e-3) for start, end in areas])
    values = np.append(f.numpy(), 0.0)
    return values[np.where((u >= 0) & (u < len(f)), np.floor(u), len(f)).astype(int)].mean()


@pytest.mark.rival_equation("autoloc", "activations")
def test_activations_are_class_probabilities_where_attention_is_high():
    scores = torch.tensor([[[0.0, math.log(3)], [0.0, 0.0], [math.log(4), 0.0]]])
    attention = torch.tensor([[[7.0], [3.0], [8.0]]])
    # The mean is 6; a constant that the softmax over time does not see does not matter either
    for constant in (0.0, -20.0):
        f = autoloc.activations(scores, attention + constant, 0.0)
        assert torch.allclose(f, torch.tensor([[[0.25, 0.0, 0.8], [0.75, 0.0, 0.2]]]))
    assert (autoloc.activations(scores, attention, 1.5)[0, :, 0] == 0).all()


@pytest.mark.rival_equation("autoloc", "boundaries")
def test_boundaries_shift_and_stretch_an_anchor():
    regressed = torch.zeros(1, 4, 6)
    regressed[0, 1, 3], regressed[0, 3, 3] = 0.5, math.log(2)  # t_x and t_w of the second anchor at x_a = 3
    segments = autoloc.boundaries(regressed, (1.0, 4.0))
    assert segments.shape == (1, 6, 2, 2)
    # x = 3 + 4·0.5 = 5 and w = 4·2 = 8, so from snippet 1 to snippet 9, which ends at 10
    assert segments[0, 3, 1].tolist() == approx([1.0, 10.0])
    # As it is, from 3 − 1/2 to 3 + 1/2 + 1
    assert segments[0, 3, 0].tolist() == approx([2.5, 4.5])


@pytest.mark.rival_equation("autoloc", "boundaries")
def test_a_width_without_bounds_keeps_its_gradient_finite():
    regressed = torch.full((1, 2, 8), 200.0, dtype=torch.float64, requires_grad=True)
    oic, _, _ = autoloc.predictions(F, autoloc.boundaries(regressed, (4.0,)), autoloc.Settings())
    oic.sum().backward()
    assert regressed.grad.isfinite().all()


@pytest.mark.rival_equation("autoloc", "OIC")
def test_oic_is_the_mean_around_minus_the_mean_within():
    inner, outer = (
        torch.tensor([[[2.0, 5.0], [1.5, 4.0], [6.0, 8.0]]]),
        torch.tensor([[[1.0, 6.0]] * 2 + [[5, 9]]]),
    )
    loss = autoloc.oic_loss(F, inner.double(), outer.double())[0].tolist()
    # Within [2, 5] (0.5 + 1 + 0.9)/3, around it two snippets of 0
    assert loss[0] == approx(-0.8)
    # Within [1.5, 4] (0.5 + 1)/2.5, in [1, 1.5] 0 and in [4, 6] 0.9, so 0.9/2.5 around
    assert loss[1] == approx((0.9 - 1.5) / 2.5)
    # The outer area ends beyond the video, where the activation is 0
    assert loss[2] == approx(0.0 - 0.1 / 2)
    areas = ([(2.0, 5.0)], [(1.0, 2.0), (5.0, 6.0)])
    within, around = (mean_by_steps(F[0], area) for area in areas)
    assert loss[0] == approx(around - within)


@pytest.mark.rival_equation("autoloc", "OIC")
def test_oic_is_the_contrast_of_the_proposals_with_the_other_sign():
    segments = np.array([[2.0, 6.0], [3.0, 4.5]])
    width = 0.25 * (segments[:, 1:] - segments[:, :1])
    outer = torch.from_numpy(segments + width * [-1, 1])
    loss = autoloc.oic_loss(F, torch.from_numpy(segments)[None], outer[None])[0]
    assert loss.numpy() == approx(-proposals.outer_inner(F[0].numpy(), segments, 0.25))


@pytest.mark.rival_equation("autoloc", "OIC")
def test_the_gradient_is_the_activation_at_the_boundary():
    inner = torch.tensor([[[2.25, 4.5]]], dtype=torch.float64, requires_grad=True)
    outer = torch.tensor([[[1.0, 6.0]]], dtype=torch.float64, requires_grad=True)
    autoloc.oic_loss(F, inner, outer).backward()
    length, beside = 2.25, 2.75
    A_i = (0.75 * 0.5 + 1.0 + 0.5 * 0.9) / length
    A_o = (0.25 * 0.5 + 0.5 * 0.9) / beside
    # ∂L/∂x₁ and ∂L/∂x₂, by the quotient rule, where f(x₁) = 0.5 and f(x₂) = 0.9; then ∂L/∂X₁ and ∂L/∂X₂
    x1, x2 = (0.5 - A_o) / beside + (0.5 - A_i) / length, (A_o - 0.9) / beside + (A_i - 0.9) / length
    assert inner.grad[0, 0].tolist() == approx([x1, x2])
    assert outer.grad[0, 0].tolist() == approx([(A_o - 0.0) / beside, (0.1 - A_o) / beside])


@pytest.mark.rival_equation("autoloc", "OIC")
def test_the_anchor_of_lowest_loss_is_chosen_and_both_thresholds_hold():
    segments = autoloc.boundaries(torch.zeros(1, 4, 8, dtype=torch.float64), (2.0, 100.0))
    oic, inner, is_kept = autoloc.predictions(F, segments, autoloc.Settings())
    # At snippet 3 [2, 5], with the least width of 1 on each side; of the whole video the mean is 2.5/8, and
    # beyond it there is 1 snippet of 0 on each side
    assert oic[0, 3].item() == approx(-0.8)
    assert inner[0, 3].tolist() == [2.0, 5.0]
    assert oic[0, 0].item() == approx(-2.5 / 8)
    assert inner[0, 0].tolist() == [0.0, 8.0]
    # Snippet 0 has no activation; at 2, [1, 4] has (0.9 + 0)/2 around and (0.5 + 1)/3 within, the whole less
    assert is_kept[0].tolist() == [False, False, True, True, True, False, False, False]
    strict = autoloc.Settings(oic_threshold=-0.5)
    assert autoloc.predictions(F, segments, strict)[2][0].tolist() == [k == 3 for k in range(8)]


def test_an_area_outside_the_video_is_the_worst_and_has_no_infinite_gradient():
    segments = torch.tensor([[[[-9.0, -5.0]]] * 8], dtype=torch.float64, requires_grad=True)
    oic, _, is_kept = autoloc.predictions(F, segments, autoloc.Settings())
    assert oic.tolist() == [[1.0] * 8]
    assert not is_kept.any()
    oic.sum().backward()
    assert segments.grad.isfinite().all()


def test_the_loss_is_averaged_over_predictions_after_nms_and_then_over_videos():
    torch.manual_seed(0)
    s = autoloc.Settings(channels=4, oic_threshold=0.2, anchors=(1.0, 3.0))
    network = autoloc.AutoLoc(Shape((3,), 2, 8), s)
    x, y = torch.randn(3, 8, 3), torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    loss = network.losses(x, y, torch.Generator())["oic"].item()
    segments = autoloc.boundaries(network.branch(x.mT), s.anchors).detach().double().clone()
    f = autoloc.activations(network.classifier(x), network.attention(x), 0.0).detach().double()
    of_videos = []
    for b in range(3):
        kept = []
        for c in y[b].nonzero()[:, 0]:
            found = []
            for t in range(8):
                choices = []
                for x1, x2 in segments[b, t].tolist():
                    margin = max(0.25 * (x2 - x1), 1)
                    X1, X2, x1, x2 = max(x1 - margin, -1), min(x2 + margin, 9), max(x1, 0), min(x2, 8)
                    around = mean_by_steps(f[b, c], [(X1, x1), (x2, X2)])
                    choices.append((around - mean_by_steps(f[b, c], [(x1, x2)]), x1, x2))
                if f[b, c, t] > 0.1 and min(choices)[0] < 0.2:
                    found.append(min(choices))
            array = np.array(found)
            kept += array[nms(array[:, 1:], -array[:, 0], 0.4), 0].tolist()
        of_videos.append(np.mean(kept))
    assert loss == approx(np.mean(of_videos), abs=5e-3)


def test_each_loss_reaches_its_own_branch():
    network = model(oic_threshold=1.0)
    losses = network.losses(torch.randn(2, 8, 3), torch.ones(2, 2), torch.Generator())
    branch = list(network.branch.parameters())
    others = [*network.classifier.parameters(), *network.attention.parameters()]
    losses["oic"].backward()
    assert all(weight.grad.abs().sum() > 0 for weight in branch[-2:])
    assert all(weight.grad is None for weight in others)
    network.zero_grad()
    losses["class"].backward()
    assert all(weight.grad is not None for weight in others)
    assert all(weight.grad is None for weight in branch)


def test_without_predictions_the_loss_is_zero_and_its_gradient_defined():
    network = model(oic_threshold=-1.0)
    losses = network.losses(torch.randn(2, 8, 3), torch.ones(2, 2), torch.Generator())
    assert losses["oic"].item() == 0
    losses["total"].backward()
    assert all((weight.grad == 0).all() for weight in network.branch.parameters())


def test_a_prediction_is_scored_by_its_contrast():
    segments = autoloc.boundaries(torch.zeros(1, 2, 8, dtype=torch.float64), (2.0,))[0].numpy()
    f = np.concatenate([F.numpy(), np.zeros((1, 8))])
    answer = {"activation": f, "segments": segments, "p": np.array([0.8, 0.2])}
    found = autoloc.AutoLoc.localize({"flow+rgb": answer}, autoloc.Settings())
    # [2, 5] at snippet 3, L_OIC = −0.8. At 4 [3, 6] has 1.9/3 within and (0.5 + 0.1)/2 around, L_OIC = −1/3,
    # and a tIoU of 2/4 with the better one, above 0.4; at 2, L_OIC is above −0.3
    assert found.segments.tolist() == [[2 / 8, 5 / 8]]
    assert found.scores.tolist() == approx([(1 + 0.8) / 2])
    assert found.classes.tolist() == [1]


@torch.no_grad()
def test_the_branch_sees_a_long_video_as_it_was_trained():
    torch.manual_seed(0)
    network = model().eval()
    x = torch.randn(8, 3)
    once, thrice = network.answer(x)["segments"], network.answer(x.repeat_interleave(3, 0))["segments"]
    width, width_3 = (segments[..., 1] - segments[..., 0] - 1 for segments in (once, thrice))
    assert torch.allclose(width_3[1::3], 3 * width, atol=1e-4)
    shift = once.mean(-1) - 0.5 - torch.arange(8)[:, None]
    shift_3 = thrice.mean(-1) - 0.5 - torch.arange(24)[:, None]
    assert torch.allclose(shift_3[1::3], 3 * shift, atol=1e-4)
