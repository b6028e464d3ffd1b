"""UntrimmedNet's equations against independent formulas."""

import numpy as np
import pytest
import torch
from pytest import approx

from dgam_core.rivals import untrimmednet as un
from dgam_core.rivals.rival import Shape


@pytest.mark.rival_equation("untrimmednet", "soft")
def test_soft_selection_weights_the_probabilities_of_snippets():
    scores, attention = torch.randn(2, 5, 3), torch.randn(2, 5)
    for b in range(2):
        weight = attention[b].exp() / attention[b].exp().sum()
        p = sum(weight[t] * scores[b, t].exp() / scores[b, t].exp().sum() for t in range(5))
        assert torch.allclose(un.soft_prediction(scores, attention)[b].exp(), p, atol=1e-6)


@pytest.mark.rival_equation("untrimmednet", "hard")
def test_hard_selection_takes_the_best_of_each_class():
    scores = torch.tensor([[[1.0, 0.0], [3.0, 5.0], [2.0, 1.0], [0.0, 2.0]]])
    # Of four, half are the best two: (3 + 2) / 2 and (5 + 2) / 2
    expected = torch.tensor([2.5, 3.5]).softmax(0)
    assert torch.allclose(un.hard_prediction(scores, 0.5)[0].exp(), expected)


@pytest.mark.parametrize(("length", "k"), [(1, 1), (2, 1), (7, 3), (14, 6), (32, 13)])
def test_three_of_seven_snippets_are_selected(length, k):
    scores = torch.zeros(1, length, 1, requires_grad=True)
    ranked = scores + torch.arange(float(length))[:, None]
    un.hard_prediction(torch.cat([ranked, torch.zeros_like(ranked)], -1), 3 / 7)[0, 1].backward()
    assert (scores.grad != 0).sum() == k


@pytest.mark.parametrize("selection", ["soft", "hard"])
def test_labels_are_scaled_to_a_sum_of_one(selection):
    model = un.UntrimmedNet(Shape((3,), 2, 4), un.Settings(selection=selection)).eval()
    x, y = torch.randn(2, 4, 3), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    log_p = model.predict(x)
    assert torch.allclose(log_p.exp().sum(-1), torch.ones(2))
    expected = -(log_p[0, 0] + 0.5 * log_p[1].sum()) / 2
    losses = model.losses(x, y, torch.Generator())
    assert losses["class"].item() == approx(expected.item(), rel=1e-5)
    losses["total"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_gradient_of_hard_selection_stays_with_the_selected():
    scores = torch.tensor([[[1.0, 0.0], [3.0, 5.0], [2.0, 1.0], [0.0, 2.0]]], requires_grad=True)
    un.hard_prediction(scores, 0.5)[0, 0].backward()
    assert (scores.grad[0] != 0).tolist() == [[False, False], [True, True], [True, False], [False, True]]


def test_features_are_dropped_in_training_alone():
    model = un.UntrimmedNet(Shape((3,), 2, 4), un.Settings(dropout=0.5))
    x, y = torch.rand(2, 4, 3), torch.ones(2, 2)

    def loss(seed: int) -> float:
        return model.losses(x, y, torch.Generator().manual_seed(seed))["total"].item()

    assert loss(0) != loss(1)
    model.eval()
    assert loss(0) == loss(1)


def test_the_scores_of_a_test_video_are_weighted_before_the_softmax():
    model = un.UntrimmedNet(Shape((3,), 2, 4), un.Settings(attention_temperature=2.0))
    x = torch.randn(5, 3)
    answer = model.answer(x)
    weight = (model.attention(x)[:, 0] / 2).softmax(0)
    assert torch.allclose(answer["weight"], weight)
    assert torch.allclose(answer["p"], (weight @ model.classifier(x)).softmax(0), atol=1e-6)


def test_smoothing_is_with_the_next_snippet():
    tcam = np.array([[0.2], [0.4], [1.0]])
    assert un.smoothed(tcam) == approx(np.array([[0.3], [0.7], [1.0]]))
    assert un.smoothed(tcam[:1]) == approx(tcam[:1])


def test_segments_are_above_half_the_greatest_probability():
    tcam = np.array([[0.8, 0.2], [0.8, 0.2], [0.2, 0.8], [0.2, 0.8]])
    weight = np.array([0.5, 0.5, 1e-5, 0.0])
    answer = {"tcam": tcam, "weight": weight, "p": np.array([0.7, 0.3])}
    found = un.UntrimmedNet.localize({"rgb": answer, "flow": answer}, un.Settings(score_threshold=0.6))
    # Smoothed, class 1 is 0.8, 0.5, 0.2, 0.2: 0.5 is above 0.6·0.8. Class 2 is 0.2, 0.5, 0.8, 0.8, but the
    # last two are background, so that 0.5 is a segment by itself
    assert found.segments.tolist() == [[0.0, 0.5], [0.25, 0.5]]
    assert found.scores.tolist() == approx([0.65 + 0.2 * 0.7, 0.5 + 0.2 * 0.3])
    assert found.classes.tolist() == [1, 2]


def test_with_hard_selection_no_snippet_is_background():
    model = un.UntrimmedNet(Shape((3,), 2, 4), un.Settings(selection="hard"))
    assert model.answer(torch.rand(5, 3))["weight"].tolist() == approx([0.2] * 5)
