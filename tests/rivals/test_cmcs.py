"""The terms of Liu et al. against independent formulas."""

from math import log

import numpy as np
import pytest
import torch
from pytest import approx
from scipy.special import softmax
from torch.nn.functional import conv1d

from dgam_core.rivals import cmcs
from dgam_core.rivals.rival import Shape

SMALL = cmcs.Settings(embedding=5, hidden=2, branches=3)


def new(**own) -> cmcs.CMCS:
    return cmcs.CMCS(Shape((4,), 3, 6), SMALL.model_copy(update=own))


def scores(seed: int = 0) -> torch.Tensor:
    """S of B = 2 videos, K = 3 branches, T = 6 snippets and C = 3 classes."""
    return torch.randn(2, 3, 6, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.rival_equation("cmcs", "L_div")
def test_diversity_is_the_mean_cosine_similarity_of_pairs_of_branches():
    S = scores()
    A = S.softmax(-1).numpy()
    cosines = [
        A[b, i, :, c] @ A[b, j, :, c] / (np.linalg.norm(A[b, i, :, c]) * np.linalg.norm(A[b, j, :, c]))
        for b in range(2)
        for c in range(3)
        for i in range(2)
        for j in range(i + 1, 3)
    ]
    # Z = ½K(K − 1)C = 9 for each of two videos
    assert len(cosines) == 2 * 9
    assert cmcs.diversity_loss(S).item() == approx(np.mean(cosines), abs=1e-5)


def test_branches_that_agree_are_not_diverse_and_disjoint_ones_are():
    early, late = torch.zeros(4, 2), torch.zeros(4, 2)
    early[:2, 0], late[2:, 0] = 50.0, 50.0
    early[2:, 1], late[:2, 1] = 50.0, 50.0
    assert cmcs.diversity_loss(torch.stack([early, early])[None]).item() == approx(1, abs=1e-4)
    assert cmcs.diversity_loss(torch.stack([early, late])[None]).item() == approx(0, abs=1e-4)


@pytest.mark.rival_equation("cmcs", "L_norm")
def test_the_norm_term_is_the_distance_from_the_branches_mean():
    S = torch.tensor([[[[1.0], [-3.0]], [[4.0], [0.0]], [[0.0], [0.0]]]])
    # ‖S^k‖/T is 2, 2 and 0, their mean 4/3; distances 2/3, 2/3 and 4/3
    assert cmcs.norm_loss(S).item() == approx((2 / 3 + 2 / 3 + 4 / 3) / 3)


@pytest.mark.rival_equation("cmcs", "S^avg")
def test_a_videos_scores_are_the_attended_average_of_the_branches():
    S = torch.tensor([[[[1.0, 0.0], [3.0, 2.0]], [[3.0, 4.0], [5.0, 0.0]]]])
    # S^avg is (2, 2) and (4, 1)
    found = cmcs.video_scores(S, torch.tensor([[0.25, 0.75]]))
    assert found[0].tolist() == approx([0.25 * 2 + 0.75 * 4, 0.25 * 2 + 0.75 * 1])


@pytest.mark.rival_equation("cmcs", "L_mil")
def test_a_video_of_two_classes_has_half_a_label_of_each():
    video = torch.tensor([[log(0.5), log(0.3), log(0.2)], [log(0.1), log(0.1), log(0.8)]])
    y = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    expected = (-(log(0.5) + log(0.3)) / 2 - log(0.8)) / 2
    assert cmcs.mil_loss(video, y).item() == approx(expected, rel=1e-5)


@pytest.mark.rival_equation("cmcs", "L_sum")
def test_the_total_is_the_weighted_sum():
    model = new(alpha=0.3, beta=0.7).eval()
    losses = model.losses(torch.rand(2, 6, 4), torch.eye(3)[:2], torch.Generator())
    expected = losses["class"] + 0.3 * losses["diversity"] + 0.7 * losses["norm"]
    assert losses["total"].item() == approx(expected.item(), rel=1e-6)


def test_each_branch_is_a_convolution_of_its_own():
    model, x = new(), torch.rand(2, 6, 4)
    S, attention = model(x)
    assert S.shape == (2, 3, 6, 3)
    assert attention.sum(1).tolist() == approx([1, 1])
    bottom, _, head = model.branches
    embedded = model.embedding(x)
    for k in range(3):
        own, of_class = slice(2 * k, 2 * k + 2), slice(3 * k, 3 * k + 3)
        hidden = conv1d(embedded.mT, bottom.weight[own], bottom.bias[own], padding=1).relu().mT
        expected = hidden @ head.weight[of_class, :, 0].T + head.bias[of_class]
        assert torch.allclose(S[:, k], expected, atol=1e-6)


@pytest.mark.parametrize("term", ["diversity", "norm"])
def test_the_terms_on_branches_do_not_reach_attention(term):
    model = new()
    model.losses(torch.rand(2, 6, 4), torch.eye(3)[:2], torch.Generator())[term].backward()
    assert all(parameter.grad is None for parameter in model.attention.parameters())
    assert all(parameter.grad is not None for parameter in model.branches.parameters())


def test_dropout_takes_a_feature_from_all_snippets_of_a_video(monkeypatch):
    model, seen = new(dropout=0.5), []
    monkeypatch.setattr(model.embedding, "forward", lambda x: seen.append(x) or torch.zeros(2, 6, 5))
    model.losses(torch.ones(2, 6, 4), torch.eye(3)[:2], torch.Generator().manual_seed(0))
    assert seen[0].unique().tolist() == [0, 2]
    assert torch.equal(seen[0], seen[0][:, :1].expand(2, 6, 4))
    assert not torch.equal(seen[0][0], seen[0][1])


def test_segments_grow_by_the_dilation():
    signal = np.zeros(20)
    signal[8:10] = 1
    # The mean is 0.1; a dilation of 0.75 snippets of 4 cells is 3 cells, one at each end beside the own
    found = cmcs.dilated_segments(signal, cmcs.Settings(upsampling=4, dilation=0.75))
    assert found.tolist() == [[7, 11]]


def test_a_segment_is_scored_by_its_contrast_and_the_video():
    half = np.log([[0.2, 0.8], [0.6, 0.4], [0.6, 0.4], [0.2, 0.8], [0.2, 0.8], [0.2, 0.8]])
    answer = {"scores": half, "video": np.log([0.9, 0.1])}
    settings = cmcs.Settings(upsampling=1, dilation=0, margin=0.5, class_threshold=0.5, video_weight=0.25)
    found = cmcs.CMCS.localize({"rgb": answer}, settings)
    # Rescaled, class 0 is 0, 1, 1, 0, 0, 0; above its mean of 1/3 is [1, 3], which nothing surrounds
    assert found.segments.tolist() == [[approx(1 / 6), approx(3 / 6)]]
    assert found.scores.tolist() == approx([1 - 0 + 0.25 * 0.9])
    assert found.classes.tolist() == [1]


def test_streams_are_averaged_before_the_softmax():
    random = np.random.default_rng(0)
    rgb, flow = ({"scores": random.normal(size=(5, 2)), "video": random.normal(size=2)} for _ in range(2))
    mean = {name: (rgb[name] + flow[name]) / 2 for name in rgb}
    both, one = (cmcs.CMCS.localize(a, SMALL) for a in ({"rgb": rgb, "flow": flow}, {"rgb": mean}))
    assert np.array_equal(both.segments, one.segments)
    assert np.array_equal(both.scores, one.scores)
    assert set(both.classes) <= set(1 + np.flatnonzero(softmax(mean["video"]) > SMALL.class_threshold))


def test_a_sequence_without_ups_and_downs_has_no_segments():
    answer = {"scores": np.zeros((6, 2)), "video": np.zeros(2)}
    assert len(cmcs.CMCS.localize({"rgb": answer}, SMALL).scores) == 0
