import math

import numpy as np
import pytest
import torch
from pytest import approx

from dgam_core.classifier import Classifier, background_tcam, foreground_tcam, gaussian_filter

LOG2 = math.log(2)
NARROW = 0.1  # a filter of this width, in snippets, passes the signal unchanged


def test_classifier_is_a_weight_for_each_class_and_the_background():
    classifier = Classifier(dim=2, num_classes=3)
    assert [tuple(p.shape) for p in classifier.parameters()] == [(4, 2)]  # w_c and no bias


def test_the_background_comes_first_wherever_the_weights_have_it():
    first = Classifier(dim=2, num_classes=2, bias=True)
    last = Classifier(dim=2, num_classes=2, background="last", bias=True)
    with torch.no_grad():
        first.fc1.weight.copy_(torch.tensor([[9.0, 9.0], [1.0, 0.0], [0.0, 2.0]]))
        first.fc1.bias.copy_(torch.tensor([0.5, 0.1, 0.2]))
        last.fc1.weight.copy_(first.fc1.weight[[1, 2, 0]])
        last.fc1.bias.copy_(first.fc1.bias[[1, 2, 0]])
    x = torch.tensor([[1.0, 3.0]])
    # background 9 + 27 + 0.5, class 1 gives 1 + 0.1, class 2 gives 6 + 0.2
    for module in (first, last):
        assert module(x)[0].tolist() == approx([36.5, 1.1, 6.2])
        assert module.tcam(x)[0].tolist() == approx([36, 1, 6])  # no bias in a TCAM
        assert module.bias().tolist() == approx([0.5, 0.1, 0.2])
    assert Classifier(dim=2, num_classes=2).bias().tolist() == [0, 0, 0]


@pytest.mark.equation(13, 14)
def test_tcams_are_softmax_probabilities_eq_13_and_14():
    # exp: background 1, class 1 gives 2, class 2 gives 1; probabilities 1/4, 2/4, 1/4
    logits = torch.tensor([[[0.0, LOG2, 0.0]]])
    present = torch.tensor([[False, True, False]])
    assert foreground_tcam(logits, present, NARROW).item() == approx(2 / 4)
    assert background_tcam(logits, NARROW).item() == approx(3 / 4)


@pytest.mark.equation(13)
def test_foreground_tcam_of_several_classes_takes_the_likeliest():
    logits = torch.tensor([[[0.0, LOG2, 0.0], [0.0, 0.0, LOG2]]])
    present = torch.tensor([[False, True, True]])
    assert foreground_tcam(logits, present, NARROW)[0].tolist() == approx([2 / 4, 2 / 4])


@pytest.mark.equation(13, 14)
def test_filter_is_the_sampled_gaussian_with_mirrored_ends():
    signal, sigma = np.array([4.0, 1.0, 0.0, 2.0]), 1.0
    # by hand: sum over offsets −4 … 4 of exp(−k² / 2) · signal mirrored as … 1 4 | 4 1 0 2 | 2 0 …
    mirrored = [4, 1, 0, 2, 2, 0, 1, 4]
    weight = [math.exp(-(k**2) / 2) for k in range(-4, 5)]
    expected = [
        sum(weight[k + 4] * mirrored[(t + k) % 8] for k in range(-4, 5)) / sum(weight) for t in range(4)
    ]
    found = gaussian_filter(torch.tensor(signal)[None], sigma)
    assert found[0].tolist() == approx(expected)


@pytest.mark.parametrize("length", [1, 2, 3, 50])
def test_filter_keeps_a_constant_however_short_the_signal(length):
    assert torch.allclose(gaussian_filter(torch.full((2, length), 0.3), 2.0), torch.tensor(0.3))
