"""Spearman's rank correlation and its interval."""

import math

import numpy as np
import pytest
from pytest import approx

from dgam_core.experiments.rank_correlation import rank_correlation


def test_rho_by_hand():
    # Ranks 1 2 3 4 5 against 2 1 4 3 5: Σd² = 4, ρ = 1 − 6·4 / (5·24)
    found = rank_correlation([10, 20, 30, 40, 50], [0.2, 0.1, 0.4, 0.3, 0.5])
    assert found.rho == approx(0.8)
    assert found.count == 5
    # artanh 0.8 ± 1.96·√((1 + 0.32) / 2)
    half = 1.959964 * math.sqrt(1.32 / 2)
    assert found.low == approx(math.tanh(math.atanh(0.8) - half))
    assert found.high == approx(math.tanh(math.atanh(0.8) + half))


def test_a_perfect_order_leaves_room_for_doubt():
    same, reverse = rank_correlation(range(6), range(6)), rank_correlation(range(6), range(6, 0, -1))
    assert (same.rho, same.high) == (approx(1), approx(1))
    assert 0.5 < same.low < 1
    assert (reverse.rho, reverse.high) == (approx(-1), approx(-same.low))
    assert reverse.low == approx(-1)


@pytest.mark.parametrize(("a", "b"), [([1, 2, 3], [1, 2, 3]), ([1, 2, 3, 4], [5, 5, 5, 5])])
def test_where_there_is_no_order_there_is_no_correlation(a, b):
    assert rank_correlation(a, b) is None


@pytest.mark.parametrize(("count", "r"), [(8, 0.0), (10, 0.6), (10, 0.9)])
def test_the_interval_covers_what_it_claims(count, r):
    random, times = np.random.default_rng(0), 1000
    truth = 6 / math.pi * math.asin(r / 2)  # Spearman's ρ of normal variables whose Pearson correlation is r
    hits = 0
    for _ in range(times):
        x = random.normal(size=count)
        found = rank_correlation(x, r * x + math.sqrt(1 - r**2) * random.normal(size=count))
        hits += found.low <= truth <= found.high
    # 95 %, less three standard errors of a share of 1,000
    assert hits / times >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / times)
