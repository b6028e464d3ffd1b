"""Hide-and-Seek's equations against independent formulas."""

import numpy as np
import pytest
import torch
from pytest import approx

from dgam_core.rivals import hide_and_seek as hs
from dgam_core.rivals.rival import Shape


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.rival_equation("hide_and_seek", "hide")
def test_hidden_snippets_are_the_mean():
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 0.0], [7.0, 2.0]]])
    hidden = torch.tensor([[True, False], [False, True]])
    # μ is (1 + 3 + 5 + 7) / 4 and (2 + 4 + 0 + 2) / 4
    assert hs.hide(x, hidden).tolist() == [[[4.0, 2.0], [3.0, 4.0]], [[5.0, 0.0], [4.0, 2.0]]]


@pytest.mark.rival_equation("hide_and_seek", "hide")
def test_the_mean_keeps_what_a_layer_expects():
    x = torch.rand(40, 60, 2, generator=generator()) + torch.tensor([1.0, 3.0])
    seen = hs.hide(x, hs.hidden_parts(x, 20, 0.5, generator()))
    # Standard error of the mean of 40·20 hidden parts is below 0.29 / √800 = 0.01
    assert seen.mean((0, 1)).tolist() == approx(x.mean((0, 1)).tolist(), abs=0.04)


def test_a_part_is_hidden_as_a_whole_with_the_given_probability():
    hidden = hs.hidden_parts(torch.zeros(500, 60, 1), 20, 0.3, generator()).reshape(500, 20, 3)
    assert (hidden.all(-1) | ~hidden.any(-1)).all()
    # Standard error √(0.3·0.7 / 10,000) = 0.005
    assert hidden.float().mean().item() == approx(0.3, abs=0.02)


def test_a_video_shorter_than_the_parts_hides_single_snippets():
    hidden = hs.hidden_parts(torch.zeros(400, 3, 1), 20, 0.5, generator())
    assert len(hidden.unique(dim=0)) == 2**3


def test_nothing_is_hidden_in_evaluation():
    torch.manual_seed(0)
    model = hs.HideAndSeek(Shape((3,), 2, 4), hs.Settings(channels=5))
    x, y = torch.rand(2, 4, 3), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    in_training = model.losses(x, y, generator())["class"].item()
    model.eval()
    p = (model.convolution(x).relu().mean(1) @ model.classifier.weight.T + model.classifier.bias).softmax(-1)
    expected = -(p[0, 0].log() + 0.5 * p[1].log().sum()) / 2
    assert model.losses(x, y, generator())["class"].item() == approx(expected.item(), rel=1e-5)
    assert in_training != approx(expected.item())


def test_a_hidden_snippet_gets_no_gradient_of_its_own():
    x = torch.rand(1, 4, 1, requires_grad=True)
    hs.hide(x, torch.tensor([[True, False, False, False]]))[0, 1:].sum().backward()
    assert x.grad.flatten().tolist() == [0.0, 1.0, 1.0, 1.0]


@pytest.mark.rival_equation("hide_and_seek", "M_c")
def test_the_activation_map_sums_the_channels_and_its_mean_is_the_score():
    channels, weight = torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([[1.0, -1.0], [0.5, 2.0]])
    # 1 − 2 and 0.5 + 4; 3 and 1.5
    assert hs.activation_map(channels, weight).tolist() == [[-1.0, 4.5], [3.0, 1.5]]
    assert torch.equal(hs.activation_map(channels, weight).mean(0), weight @ channels.mean(0))


def test_segments_are_above_half_the_range_of_activation():
    cam = np.array([[-2.0], [2.0], [3.0], [0.0]])
    answers = {"rgb": {"cam": cam, "p": np.array([1.0])}, "flow": {"cam": cam + 1, "p": np.array([1.0])}}
    found = hs.HideAndSeek.localize(answers, hs.Settings())
    # The mean is −1.5, 2.5, 3.5, 0.5, of which half the range is 1
    assert found.segments.tolist() == [[0.25, 0.75]]
    assert found.scores.tolist() == approx([3.0])
    assert found.classes.tolist() == [1]
