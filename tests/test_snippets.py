import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from dgam_core.errors import InputError
from dgam_core.snippets import sample_test, sample_training, to_seconds


def uniform(videos, T, seed):
    return torch.rand(videos, T, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


RULES = pytest.mark.parametrize("rule", ["stratified", "overlapping"])


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 99))
def test_training_draws_one_snippet_from_each_part(count, T, seed):
    index = sample_training(torch.tensor([count]), uniform(1, T, seed), "stratified")[0]
    for t, i in enumerate(index.tolist()):
        # part t covers [t, t + 1] · count / T of the video; snippet i covers [i, i + 1]
        assert i <= (t + 1) * count / T
        assert i + 1 >= t * count / T
        assert 0 <= i < count


def test_training_reaches_every_snippet():
    index = sample_training(torch.full((50,), 12), uniform(50, 4, seed=0), "stratified")
    assert set(index.flatten().tolist()) == set(range(12))


@RULES
def test_a_draw_at_the_very_end_stays_inside(rule):
    u = torch.full((1, 400), 1 - 2**-53, dtype=torch.float64)
    assert sample_training(torch.tensor([3]), u, rule).max() == 2


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 99))
def test_the_released_crops_lie_between_neighbouring_positions(v, T, seed):
    index = sample_training(torch.tensor([v]), uniform(1, T, seed), "overlapping")[0]
    for i, found in enumerate(index.tolist()):
        low, high = math.floor(i * v / T), math.floor((i + 1) * v / T) if i < T - 1 else v - 1
        assert low <= found <= high if low != high else found == low
    assert (index.diff() >= 0).all()


def test_the_released_crops_draw_both_ends_alike():
    # v = 4, T = 2: the first of 0, 1, 2, the second of 2, 3, each as often as the others
    counts = torch.full((3000,), 4)
    index = sample_training(counts, uniform(3000, 2, seed=0), "overlapping")
    assert torch.bincount(index[:, 0], minlength=4).tolist() == approx([1000, 1000, 1000, 0], abs=100)
    assert torch.bincount(index[:, 1], minlength=4).tolist() == approx([0, 0, 1500, 1500], abs=110)


def test_test_videos_are_whole_or_sampled_uniformly():
    assert sample_test(5, 400).tolist() == [0, 1, 2, 3, 4]
    assert sample_test(10, 4).tolist() == [0, 2, 5, 7]  # floor of 0, 2.5, 5, 7.5
    assert len(np.unique(sample_test(401, 400))) == 400
    assert sample_test(3, 400, 5).tolist() == [0, 0, 1, 1, 2]  # floor of 0, 0.6, 1.2, 1.8, 2.4
    assert sample_test(1, 400).tolist() == [0]


def test_positions_become_seconds():
    # 100 of 250 snippets of 0.64 s: a step is 2.5 snippets, 1.6 s; the end is the video's
    assert to_seconds(np.array([0, 1, 100]), 100, 250, 0.64).tolist() == approx([0, 1.6, 160])


def test_words_for_numbers_and_missing_subsets(tiny):
    assert tiny.provenance == "simulated"
    assert replace(tiny, simulated=False).provenance == "measured on real features"
    with pytest.raises(InputError, match="no video in the subset 'test'"):
        replace(tiny, videos=tiny.videos[:2]).subset("test")


def test_ground_truth_is_a_table_of_the_subset(tiny):
    truth = tiny.ground_truth("test")
    assert truth.video.tolist() == ["v2", "v3"]
    assert truth.label.tolist() == ["jump", "throw"]
    assert truth.start_s.tolist() == [2, 2]


def test_the_summary_says_first_where_the_numbers_come_from(tiny):
    assert tiny.summary == (
        "**Every number of this run is simulated.** Data set: `tiny`, 2 training and 2 test videos, "
        "2 classes, streams flow and rgb; made by hand."
    )
