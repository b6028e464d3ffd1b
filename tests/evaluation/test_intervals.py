import numpy as np
import pytest
from pytest import approx

from dgam_core.evaluation.intervals import CONFIDENCE, holm, paired_difference, summarize

# Student's t at 97.5 % for two degrees of freedom, from tables.
T_2 = 4.302653


def test_mean_and_sample_standard_deviation():
    s = summarize([1.0, 2.0, 6.0])
    assert s.mean == approx(3)
    assert s.sd == approx(np.sqrt((4 + 1 + 9) / 2))
    assert s.count == 3


def test_the_interval_is_students_t():
    s = summarize([1.0, 2.0, 6.0])
    half = T_2 * np.sqrt(7 / 3)  # the standard error is √(7 / 3)
    assert (s.low, s.high) == approx((3 - half, 3 + half), rel=1e-6)


@pytest.mark.parametrize("count", [4, 5, 10, 20])
def test_the_interval_covers_the_mean_as_often_as_it_says(count):
    # ± 2.3 standard errors of the share, √(0.05 · 0.95 / 4000) = 0.35 %; a percentile bootstrap has 80 to 92
    samples = np.random.default_rng(count).normal(3.0, 2.0, size=(4000, count))
    covered = np.mean([s.low <= 3 <= s.high for s in map(summarize, samples)])
    assert 0.942 <= covered <= 0.958


@pytest.mark.parametrize("count", [5, 10, 20])
def test_the_interval_of_a_paired_difference_covers_it(count):
    random = np.random.default_rng(count)
    covered = []
    for _ in range(2000):
        shared = random.normal(30, 10, count)
        after, before = (shared + random.normal(mean, 1, count) for mean in (1.0, 0.0))
        step = paired_difference(after, before)
        covered.append(step.low <= 1 <= step.high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_one_seed_decides_nothing():
    s = summarize([0.4])
    assert (s.mean, s.sd, s.low, s.high, s.count) == (0.4, 0, 0.4, 0.4, 1)
    assert s.p_zero == s.p_beyond(1.0) == 1
    assert s.effect(0.5) is None


def test_p_values_agree_with_the_interval():
    s = summarize([1.0, 2.0, 6.0])
    assert s.p_at_most(s.low) == approx((1 - CONFIDENCE) / 2)  # 5 % lie outside, half of them on each side
    assert s.p_at_least(s.high) == approx((1 - CONFIDENCE) / 2)
    assert s.p_at_most(3) == approx(0.5)
    # t = 3 / √(7 / 3) = 1.964; with two degrees of freedom P(T > t) = ½ − t / (2·√(2 + t²))
    t = 3 / np.sqrt(7 / 3)
    assert s.p_zero == approx(2 * (0.5 - t / (2 * np.sqrt(2 + t**2))))


@pytest.mark.parametrize(
    ("values", "effect"),
    [
        ([1.0, 1.2, 1.1, 0.9], 1),
        ([-1.0, -1.2, -1.1, -0.9], -1),
        ([-1.0, 2.0, 0.5, -0.4], None),
        (
            [0.1, 0.12, 0.11, 0.09],
            0,
        ),  # above zero without a doubt, and within ±0.5 as well: nothing of interest
        ([0.0, 0.0], 0),
        ([0.6, 0.6], 1),
    ],
)
def test_what_is_practically_nothing_is_no_effect(values, effect):
    assert summarize(values).effect(0.5) == effect


def test_equivalence_is_falsely_found_in_one_of_twenty_at_its_margin():
    samples = np.random.default_rng(0).normal(0.5, 0.2, size=(4000, 10))
    found = np.mean([summarize(values).p_beyond(0.5) <= 0.05 for values in samples])
    assert found == approx(0.05, abs=0.01)


def test_pairing_removes_what_seeds_share():
    shared = np.array([10.0, 20.0, 30.0, 40.0])
    s = paired_difference(shared + np.array([1.0, 1.2, 0.9, 1.1]), shared)
    assert s.mean == approx(1.05)
    assert 0.8 <= s.low < s.high <= 1.3


def test_what_cannot_be_summarized():
    for values in ([], [1.0, np.nan], [[1.0]]):
        with pytest.raises(ValueError, match="finite values, one per seed"):
            summarize(values)
    with pytest.raises(ValueError, match="same seeds on both sides"):
        paired_difference([1.0, 2.0], [1.0])


def test_holm_multiplies_by_what_is_left_and_never_falls():
    # sorted 0.01, 0.02, 0.04, 0.5, times 4, 3, 2, 1: 0.04, 0.06, 0.08, 0.5
    assert holm([0.04, 0.5, 0.01, 0.02]) == approx([0.08, 0.5, 0.04, 0.06])
    assert holm([0.03, 0.02]) == approx([0.04, 0.04])  # 0.02 · 2, and 0.03 · 1 is less
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []
    # of four, two exclude the two others: never more than two are true
    assert holm([0.04, 0.5, 0.01, 0.02], 2) == approx([0.08, 0.5, 0.02, 0.04])


def test_holm_rejects_a_true_hypothesis_in_one_of_twenty_families():
    p = np.random.default_rng(0).random((4000, 20))
    p[:, 10:] *= 1e-6  # half of the hypotheses are false
    wrong = np.mean([min(holm(row)[:10]) <= 0.05 for row in p])
    assert wrong == approx(0.05, abs=0.012)
