"""The equations of background modeling against independent formulas."""

import math

import numpy as np
import pytest
import torch
from pytest import approx

from dgam_core.rivals import background_modeling as bm
from dgam_core.rivals.rival import Shape


def new(**settings) -> bm.BackgroundModeling:
    torch.manual_seed(0)
    return bm.BackgroundModeling(Shape((3,), 2, 4), bm.Settings(hidden=5, **settings))


@pytest.mark.rival_equation("background_modeling", "x_fg")
@pytest.mark.parametrize(
    ("divide_by", "x_fg", "x_bg"),
    # Σ λx = 0.5·(1, 2) + 0.25·(3, 6) = (1.25, 2.5), Σ λ = 0.75; Σ (1 − λ)x = (2.75, 5.5), Σ (1 − λ) = 1.25
    [("attention", [5 / 3, 10 / 3], [2.2, 4.4]), ("length", [0.625, 1.25], [1.375, 2.75])],
)
def test_foreground_and_background_are_weighted_means(divide_by, x_fg, x_bg):
    x, lam = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]), torch.tensor([[0.5, 0.25]])
    assert bm.pool(x, lam, divide_by)[0].tolist() == approx(x_fg)
    assert bm.pool(x, 1 - lam, divide_by)[0].tolist() == approx(x_bg)


@pytest.mark.rival_equation("background_modeling", "L_cluster")
def test_the_clusters_are_a_classification_of_foreground_against_background():
    u_fg, u_bg = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    z_fg, z_bg = math.e / (math.e + 1), math.exp(2) / (1 + math.exp(2))
    assert bm.cluster_loss(u_fg, u_bg).item() == approx(-math.log(z_fg) - math.log(z_bg))


@pytest.mark.rival_equation("background_modeling", "L_total")
def test_the_loss_is_the_weighted_sum_of_four():
    model = new(alpha=0.5, beta=0.25, gamma=0.125, sigma_s=1e-3)  # a filter so narrow leaves the maps alone
    x, y = torch.randn(2, 4, 3), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    losses = model.losses(x, y, torch.Generator())
    lam, w, u = model.attention(x), model.classifier.fc1.weight, model.clusters.weight
    fg, bg, guide, cluster = 0.0, 0.0, 0.0, 0.0
    for b, labels in enumerate([[1], [1, 2]]):
        x_fg = lam[b] @ x[b] / lam[b].sum()
        x_bg = (1 - lam[b]) @ x[b] / (1 - lam[b]).sum()
        fg -= (w @ x_fg).softmax(0)[labels].log().mean() / 2
        bg -= (w @ x_bg).softmax(0)[0].log() / 2
        p = (x[b] @ w.T).softmax(-1)
        map_fg, map_bg = p[:, labels].max(-1).values, p[:, 1:].sum(-1)
        guide += ((lam[b] - map_fg).abs() + (lam[b] - map_bg).abs()).mean() / 2
        cluster -= ((u @ x_fg).softmax(0)[0] * (u @ x_bg).softmax(0)[1]).log() / 2
    expected = {"class": fg, "background": bg, "guide": guide, "cluster": cluster}
    expected["total"] = fg + 0.5 * bg + 0.25 * guide + 0.125 * cluster
    assert {name: value.item() for name, value in losses.items()} == approx(
        {name: value.item() for name, value in expected.items()}, rel=1e-5
    )


@pytest.mark.parametrize(
    ("loss", "reached"),
    [
        ("class", {"attention", "classifier"}),
        ("background", {"attention", "classifier"}),
        ("guide", {"attention", "classifier"}),
        ("cluster", {"attention", "clusters"}),
    ],
)
def test_the_clusters_teach_the_attention_without_the_classes(loss, reached):
    model = new()
    model.losses(torch.randn(2, 4, 3), torch.ones(2, 2), torch.Generator())[loss].backward()
    assert {
        name.split(".")[0] for name, value in model.named_parameters() if value.grad is not None
    } == reached


@pytest.mark.rival_equation("background_modeling", "s")
def test_a_segment_is_scored_by_the_weighted_scores_of_both_streams():
    p = np.array([0.9, 0.05])
    scores = np.array([[2.0, 0.0], [4.0, 0.0], [1.0, 0.0]])
    rgb = {"attention": np.array([0.5, 0.75, 0.0]), "scores": scores, "p": p}
    flow = {"attention": np.array([0.0, 0.25, 1.0]), "scores": scores, "p": p}
    settings = bm.Settings(thresholds=(0.3,), stream_share=0.75, nms_tiou=1.0)
    found = bm.BackgroundModeling.localize({"rgb": rgb, "flow": flow}, settings)
    # λ·w_cᵀx is (1, 3, 0) in RGB and (0, 1, 1) in flow. RGB gives [0, 2]: 0.75·(1 + 3)/2 + 0.25·(0 + 1)/2;
    # flow gives [2, 3]: 0.75·1 + 0.25·0. The other class is below 0.1
    assert found.segments * 3 == approx(np.array([[0.0, 2.0], [2.0, 3.0]]))
    assert found.scores.tolist() == approx([1.625, 0.75])
    assert found.classes.tolist() == [1, 1]


def test_attention_everywhere_leaves_a_background_that_is_defined():
    model = new()
    with torch.no_grad():
        model.attention.fc2.bias.fill_(100)
    losses = model.losses(torch.rand(2, 1, 3), torch.ones(2, 2), torch.Generator())
    losses["total"].backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(value.grad.isfinite().all() for value in model.parameters())
