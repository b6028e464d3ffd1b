import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from dgam_core.errors import InputError
from dgam_core.snippets import Segment, check, sample_test, sample_training, to_seconds

RULES = pytest.mark.parametrize("rule", ["stratified", "overlapping"])


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 99))
def test_training_draws_one_snippet_from_each_part(count, T, seed):
    index = sample_training(torch.tensor([count]), T, torch.Generator().manual_seed(seed), "stratified")[0]
    for t, i in enumerate(index.tolist()):
        # part t covers [t, t + 1] · count / T of the video; snippet i covers [i, i + 1]
        assert i <= (t + 1) * count / T
        assert i + 1 >= t * count / T
        assert 0 <= i < count


def test_training_reaches_every_snippet():
    generator = torch.Generator().manual_seed(0)
    seen = {
        i
        for _ in range(50)
        for i in sample_training(torch.tensor([12]), 4, generator, "stratified")[0].tolist()
    }
    assert seen == set(range(12))


@RULES
def test_a_draw_at_the_very_end_stays_inside(monkeypatch, rule):
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, 1 - 2**-53, dtype=torch.float64))
    assert sample_training(torch.tensor([3]), 400, torch.Generator(), rule).max() == 2


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 99))
def test_the_released_crops_lie_between_neighbouring_positions(v, T, seed):
    index = sample_training(torch.tensor([v]), T, torch.Generator().manual_seed(seed), "overlapping")[0]
    for i, found in enumerate(index.tolist()):
        low, high = math.floor(i * v / T), math.floor((i + 1) * v / T) if i < T - 1 else v - 1
        assert low <= found <= high if low != high else found == low
    assert (index.diff() >= 0).all()


def test_the_released_crops_draw_both_ends_alike():
    # v = 4, T = 2: the first of 0, 1, 2, the second of 2, 3, each as often as the others
    counts = torch.full((3000,), 4)
    index = sample_training(counts, 2, torch.Generator().manual_seed(0), "overlapping")
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


def _change_video(data, **changes):
    return replace(data, videos=(replace(data.videos[0], **changes), *data.videos[1:]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: replace(d, videos=()), "tiny: has no video"),
        (lambda d: replace(d, videos=(*d.videos, d.videos[0])), "tiny: the video 'v0' occurs more than once"),
        (lambda d: replace(d, classes=("jump", "jump")), "tiny: the class 'jump' occurs more than once"),
        (lambda d: replace(d, features={}), "tiny: has no stream of features"),
        (lambda d: replace(d, fps=0.0), "tiny: fps 0.0 and frames a snippet 16 must be above zero"),
        (lambda d: replace(d, videos=d.videos[1:]), "tiny: flow features of an unknown video 'v0'"),
        (
            lambda d: _change_video(d, subset="val"),
            "tiny: v0: the subset is 'val'; it should be 'train' or 'test'",
        ),
        (lambda d: _change_video(d, labels=()), "tiny: v0: a training video without a label teaches nothing"),
        (lambda d: _change_video(d, labels=("swim",)), "tiny: v0: unknown label 'swim'"),
        (lambda d: _change_video(d, num_snippets=0), "tiny: v0: has 0 snippets"),
        (lambda d: _change_video(d, segments=(Segment("jump", 3.0, 2.0),)), "from 3.0 s to 2.0 s"),
        (lambda d: _change_video(d, segments=(Segment("jump", -1.0, 2.0),)), "from -1.0 s to 2.0 s"),
        (lambda d: _change_video(d, segments=(Segment("jump", 0.0, float("nan")),)), "to nan s"),
        (
            lambda d: _change_video(d, segments=(Segment("jump", 2.0, 7.5),)),
            "ends at 7.5 s, beyond the video's end at 6 s",
        ),
        (lambda d: replace(d, features={"rgb": {}}), "tiny: v0: has no rgb features"),
    ],
)
def test_an_unsound_data_set_is_refused_with_a_sentence(tiny, change, sentence):
    check(tiny)
    with pytest.raises(InputError) as error:
        check(change(tiny))
    assert sentence in str(error.value)


def test_a_segment_may_end_in_the_snippet_that_cutting_dropped(tiny):
    check(_change_video(tiny, segments=(Segment("jump", 2.0, 6.9),)))  # the video has 6 s and snippets of 1 s


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
