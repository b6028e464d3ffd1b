import numpy as np
import pytest
from pytest import approx

from dgam_core.evaluation.intervals import paired_difference, summarize


def test_mean_and_sample_standard_deviation():
    s = summarize([1.0, 2.0, 6.0])
    assert s.mean == approx(3)
    assert s.sd == approx(np.sqrt((4 + 1 + 9) / 2))
    assert s.count == 3


def test_the_interval_is_that_of_all_resamples():
    # of two values, a resample's mean is 0, 1 or 2 with probability 1/4, 1/2, 1/4: 95 % reach from 0 to 2
    s = summarize([0.0, 2.0])
    assert (s.low, s.high) == (0, 2)


def test_the_interval_covers_the_mean_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    samples = random.normal(size=(300, 40))
    covered = np.mean([s.low <= 0 <= s.high for s in map(summarize, samples)])
    # 95 %, less a little for the percentile bootstrap, ± 2 · √(0.05 · 0.95 / 300) = 2.5 %
    assert 0.90 <= covered <= 0.975


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(1).normal(size=7)
    assert summarize(values, 3) == summarize(values, 3)
    assert summarize(values, 3) != summarize(values, 4)


def test_one_seed_has_no_spread():
    s = summarize([0.4])
    assert (s.mean, s.sd, s.low, s.high, s.count) == (0.4, 0, 0.4, 0.4, 1)


def test_the_sign_is_that_of_the_whole_interval():
    assert summarize([1.0, 2.0]).sign == 1
    assert summarize([-1.0, -2.0]).sign == -1
    assert summarize([-1.0, 2.0]).sign == 0
    assert summarize([0.0, 0.0]).sign == 0


def test_pairing_removes_what_seeds_share():
    shared = np.array([10.0, 20.0, 30.0, 40.0])
    s = paired_difference(shared + np.array([1.0, 1.2, 0.9, 1.1]), shared)
    assert s.mean == approx(1.05)
    assert 0.9 <= s.low < s.high <= 1.2


def test_what_cannot_be_summarized():
    for values in ([], [1.0, np.nan], [[1.0]]):
        with pytest.raises(ValueError, match="finite values, one per seed"):
            summarize(values)
    with pytest.raises(ValueError, match="same seeds on both sides"):
        paired_difference([1.0, 2.0], [1.0])
