"""W-TALC's equations against independent formulas."""

import numpy as np
import pytest
import torch
from pytest import approx
from torch.nn.functional import cosine_similarity

from dgam_core.rivals import wtalc
from dgam_core.rivals.rival import Shape

C, D, T = 3, 5, 8


def features_and_activations() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(4, T, D, generator=random), torch.randn(4, T, C, generator=random)


@pytest.mark.rival_equation("wtalc", "3.3")
def test_a_score_is_the_mean_of_the_k_greatest_activations_section_3_3():
    activations = torch.tensor([5.0, 1.0, 4.0, 3.0, 0.0])[None, :, None]
    # ⌊5/2⌋ = 2 of them: (5 + 4)/2
    assert wtalc.k_max(activations, 2).tolist() == [[4.5]]
    # ⌊5/8⌋ is 0, but one is always taken
    assert wtalc.k_max(activations, 8).tolist() == [[5.0]]


@pytest.mark.rival_equation("wtalc", "3.3")
def test_classification_is_cross_entropy_with_shared_labels_section_3_3():
    score = torch.tensor([[1.0, 2.0, 0.5], [0.0, 1.0, 3.0]])
    p = score.exp() / score.exp().sum(1, keepdim=True)
    # One class in the first video; two in the second, half of the label each
    expected = -(p[0, 1].log() + 0.5 * p[1, 0].log() + 0.5 * p[1, 2].log()) / 2
    loss = wtalc.mil_loss(score, torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]))
    assert loss.item() == approx(expected.item(), rel=1e-5)


@pytest.mark.rival_equation("wtalc", "3.4")
def test_attended_features_are_weighted_sums_section_3_4():
    # Attention e^0 : e^log 3 is ¼ : ¾, and of T - 1 = 1 what is left is ¾ : ¼
    x, activations = torch.tensor([[[4.0, 0.0], [0.0, 8.0]]]), torch.tensor([[[0.0], [3.0]]])
    activations[0, 1] = np.log(3)
    high, low = wtalc.attended(x, activations)
    assert high.flatten().tolist() == approx([1.0, 6.0])
    assert low.flatten().tolist() == approx([3.0, 2.0])


def test_low_attention_is_a_mean_for_any_length_and_one_snippet_has_none():
    x, activations = features_and_activations()
    _, low = wtalc.attended(torch.ones_like(x), activations)
    assert torch.allclose(low, torch.ones_like(low))
    _, low = wtalc.attended(x[:, :1], activations[:, :1])
    assert torch.equal(low, torch.zeros_like(low))


@pytest.mark.rival_equation("wtalc", "3.4")
def test_co_activity_is_a_hinge_on_distances_of_each_pair_section_3_4():
    high, low = wtalc.attended(*features_and_activations())
    y = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 0], [0, 0, 1]])

    def d(a: torch.Tensor, b: torch.Tensor) -> float:
        return 1 - cosine_similarity(a, b, dim=0).item()

    def pair(m: int, n: int, j: int) -> float:
        near = d(high[m, j], high[n, j])
        one = max(0, near - d(high[m, j], low[n, j]) + 0.5)
        other = max(0, near - d(low[m, j], high[n, j]) + 0.5)
        return 0.5 * (one + other)

    # The first class has three pairs, the second one, the third none
    expected = ((pair(0, 1, 0) + pair(0, 2, 0) + pair(1, 2, 0)) / 3 + pair(1, 2, 1)) / 2
    assert wtalc.co_activity_loss(high, low, y.float(), 0.5).item() == approx(expected, rel=1e-5)


def test_co_activity_by_hand_with_a_margin():
    high, low = torch.tensor([[[1.0, 0.0]], [[2.0, 0.0]]]), torch.tensor([[[0.0, 1.0]], [[0.0, 3.0]]])
    y = torch.ones(2, 1)
    # d[ᴴ, ᴴ] = 0 and d[ᴴ, ᴸ] = 1: apart by more than a margin of ½, by less than one of 1¼
    assert wtalc.co_activity_loss(high, low, y, 0.5).item() == 0
    assert wtalc.co_activity_loss(high, low, y, 1.25).item() == approx(0.25)


def test_without_a_pair_co_activity_is_zero_and_has_a_gradient():
    x, activations = features_and_activations()
    loss = wtalc.co_activity_loss(
        *wtalc.attended(x, activations.requires_grad_()), torch.eye(4)[:, :C], margin=0.5
    )
    loss.backward()
    assert loss.item() == 0
    assert activations.grad is not None
    assert not activations.grad.any()


def test_co_activity_trains_only_classes_that_two_videos_share():
    x, activations = features_and_activations()
    y = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    wtalc.co_activity_loss(*wtalc.attended(x, activations.requires_grad_()), y, margin=2.0).backward()
    # Of activations (video, class): videos 0, 1 and 3 share the first class
    assert activations.grad is not None
    assert activations.grad.abs().sum(1).bool().tolist() == (y * torch.tensor([1, 0, 0])).bool().tolist()


@pytest.mark.rival_equation("wtalc", "3.5")
def test_the_loss_is_shared_between_both_section_3_5():
    model = wtalc.WTALC(Shape((D,), C, T), wtalc.Settings(class_share=0.25)).eval()
    x, _ = features_and_activations()
    y = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    losses = model.losses(x, y, torch.Generator())
    features = model.hidden(x).clamp(min=0)
    activations = model.classifier(features)
    l_mill = wtalc.mil_loss(activations.max(1).values, y)  # ⌊8/8⌋ = 1
    l_casl = wtalc.co_activity_loss(*wtalc.attended(features, activations), y, 0.5)
    assert losses["class"].item() == approx(l_mill.item(), rel=1e-5)
    assert losses["co_activity"].item() == approx(l_casl.item(), rel=1e-5)
    assert losses["total"].item() == approx(0.25 * l_mill.item() + 0.75 * l_casl.item(), rel=1e-5)


def test_dropout_is_for_training_alone():
    model = wtalc.WTALC(Shape((D,), C, T), wtalc.Settings())
    x, y = features_and_activations()[0], torch.ones(4, C)
    one, other = (model.losses(x, y, torch.Generator().manual_seed(s))["class"].item() for s in (0, 1))
    assert one != other


@pytest.mark.rival_equation("wtalc", "3.6")
def test_localization_by_hand_section_3_6():
    activations = np.array([[-1.0, 9.0], [3.0, 9.0], [2.5, 0.0], [-1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]])
    answer = {"activations": activations, "score": np.array([2.0, -0.1])}
    found = wtalc.WTALC.localize({"flow+rgb": answer}, wtalc.Settings())
    # The second class has a score below 0. In the first, half way between 3 and -1 is 1: [1, 3] and [4, 5],
    # which is too short. Its score is 3 + 0.7·2
    assert found.segments.tolist() == [[1 / 6, 3 / 6]]
    assert found.scores.tolist() == approx([4.4])
    assert found.classes.tolist() == [1]


def test_a_video_of_no_class_has_no_detections():
    answer = {"activations": np.zeros((4, 2)), "score": np.array([0.0, -1.0])}
    assert len(wtalc.WTALC.localize({"flow+rgb": answer}, wtalc.Settings()).scores) == 0
