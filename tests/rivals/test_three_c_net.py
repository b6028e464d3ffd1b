"""3C-Net's equations against independent formulas."""

import numpy as np
import pytest
import torch
from pytest import approx
from torch.nn.functional import log_softmax

from dgam_core.rivals import three_c_net
from dgam_core.rivals.rival import Shape

B, C, D, T = 3, 2, 4, 16
Y = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


def x() -> torch.Tensor:
    return torch.randn(B, T, D, generator=torch.Generator().manual_seed(0))


def new(dims=(D // 2, D // 2), **settings) -> three_c_net.ThreeCNet:
    return three_c_net.ThreeCNet(Shape(dims, C, T), three_c_net.Settings(**settings))


@pytest.mark.rival_equation("three_c_net", "3.1")
def test_tcams_are_weighted_by_stream_and_class_section_3_1():
    rgb, flow = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[3.0, 4.0]]])
    # (0.5·1 + 2·3, 1·2 + 0.25·4)
    fused = three_c_net.fuse([rgb, flow], torch.tensor([[0.5, 1.0], [2.0, 0.25]]))
    assert fused.tolist() == [[[6.5, 3.0]]]


@pytest.mark.rival_equation("three_c_net", "3.2")
def test_classification_takes_each_stream_and_both_section_3_2():
    model = new().eval()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.5, 2.0], [1.5, 1.0]]))
    first, second = (
        classifier(hidden(part).relu())
        for classifier, hidden, part in zip(
            model.classifiers, (h[0] for h in model.hidden), x().chunk(2, dim=-1), strict=True
        )
    )
    expected = 0.0
    for tcam in (first, second, first * model.weight[0] + second * model.weight[1]):
        score = tcam.sort(dim=1, descending=True).values[:, :2].mean(1)  # 16/8 = 2
        log_p = log_softmax(score, dim=1)
        expected -= (log_p[0, 0] + log_p[1].mean() + log_p[2, 1]).item() / 3
    assert model.losses(x(), Y, torch.Generator())["class"].item() == approx(expected, rel=1e-5)


@pytest.mark.rival_equation("three_c_net", "3.2")
def test_features_are_taken_where_attention_is_above_its_mean_section_3_2():
    # Attention ½, ⅓, ⅙ has the mean ⅓, which the second reaches: (½·6 + ⅓·12)/(½ + ⅓) = 7/(5/6)
    tcam = torch.tensor([3.0, 2.0, 1.0]).log()[None, :, None]
    features = torch.tensor([6.0, 12.0, 100.0])[None, :, None]
    assert three_c_net.aggregate(features, tcam).item() == approx(8.4, rel=1e-5)


def test_where_attention_is_uniform_each_snippet_counts():
    for count in (1, 3, 7, 100):
        f = three_c_net.aggregate(torch.ones(1, count, 1).cumsum(1), torch.full((1, count, 1), 0.3))
        assert f.item() == approx((count + 1) / 2, rel=1e-5)


@pytest.mark.rival_equation("three_c_net", "3.2")
def test_center_loss_is_the_mean_distance_of_the_classes_there_are_section_3_2():
    f = torch.tensor([[[1.0, 2.0], [9.0, 9.0]], [[0.0, 0.0], [3.0, 1.0]]])
    centers = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    # Squared distances 1 + 4, 0, and 4 + 0; what the first video says of the second class counts for nothing
    assert three_c_net.center_loss(f, y, centers).item() == approx((5 + 0 + 4) / 3)


@pytest.mark.rival_equation("three_c_net", "3.2")
def test_centers_follow_the_gradient_of_their_loss_section_3_2():
    f = torch.randn(B, C, D)
    centers = torch.randn(C, D, requires_grad=True)
    (gradient,) = torch.autograd.grad(three_c_net.center_loss(f, Y, centers), centers)
    moved = three_c_net.move_centers(f, Y, centers.detach(), 0.1)
    assert torch.allclose(moved, centers.detach() - 0.1 * gradient, atol=1e-6)


def test_centers_move_in_training_alone_and_those_of_classes_there_are():
    model, y = new(), torch.tensor([[1.0, 0.0]]).expand(B, C)
    before = model.centers.clone()
    model.eval().losses(x(), y, torch.Generator())
    assert torch.equal(model.centers, before)
    model.train().losses(x(), y, torch.Generator())
    assert (model.centers != before).any(1).tolist() == [True, False]
    assert torch.equal(model.state_dict()["centers"], model.centers)


def test_the_center_loss_reaches_each_stream_but_not_the_weights_of_both():
    model = new()
    losses = model.losses(x(), Y, torch.Generator())
    losses["center"].backward()
    assert all(p.grad is not None for p in [*model.hidden.parameters(), *model.classifiers.parameters()])
    assert model.weight.grad is None
    expected = losses["class"] + 1e-3 * losses["center"]
    assert losses["total"].item() == approx(expected.item())


def test_streams_of_unlike_sizes_and_a_single_one():
    unlike = new((1, 3))
    assert [hidden[0].in_features for hidden in unlike.hidden] == [1, 3]
    assert unlike.answer(x()[0])["tcam"].shape == (T, C)
    single = new((4,), hidden_layers=2)
    assert len(single.hidden[0]) == 4
    assert single.answer(x()[0])["tcam"].shape == (T, C)


@pytest.mark.rival_equation("three_c_net", "3.3")
def test_localization_by_hand_section_3_3():
    column = np.array([-1.0, 3.0, 2.5, -1.0, 2.0, -1.0])
    answer = {"tcam": np.stack([column, column, column], axis=1), "score": np.array([2.0, 1.0, 1.5])}
    found = three_c_net.ThreeCNet.localize({"flow+rgb": answer}, three_c_net.Settings())
    # Half of the greatest score, 1, is not above 1. Half way between 3 and -1 is 1: [1, 3], and [4, 5], which
    # is too short. The peak is 3
    assert found.segments.tolist() == [[1 / 6, 3 / 6]] * 2
    assert found.scores.tolist() == approx([3 + 2.0, 3 + 1.5])
    assert found.classes.tolist() == [1, 3]


def test_a_video_whose_scores_are_negative_has_no_detections():
    answer = {"tcam": np.array([[1.0], [1.0], [-9.0]]), "score": np.array([-1.0])}
    assert len(three_c_net.ThreeCNet.localize({"flow+rgb": answer}, three_c_net.Settings()).scores) == 0
