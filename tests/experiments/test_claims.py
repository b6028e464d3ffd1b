import json

import numpy as np
import pandas as pd
import pytest
from pytest import approx

from dgam_core.evaluation.intervals import paired_difference
from dgam_core.experiments import claims
from dgam_core.experiments.claims import (
    EQUAL,
    NOT_COMPARABLE,
    OPPOSITE,
    SEEN,
    UNDECIDED,
    corrected,
    verdict,
    verdicts,
)

SEEDS = [20.0, 21.0, 22.0]


@pytest.mark.parametrize(
    ("after", "better", "said"),
    [
        ([22.0, 23.5, 24.0], 1, SEEN),  # differences 2, 2.5 and 2
        ([22.0, 23.5, 24.0], -1, OPPOSITE),
        ([18.0, 19.0, 20.5], 1, OPPOSITE),  # −2, −2 and −1.5
        ([18.0, 19.0, 20.5], -1, SEEN),
        ([21.0, 20.0, 22.0], 1, UNDECIDED),  # 1, −1 and 0
        ([20.1, 21.12, 22.11], 1, EQUAL),  # 0.1: sure, and less than half a point
    ],
)
def test_a_difference_is_seen_or_its_opposite_or_nothing(after, better, said):
    claim = claims.differs("it helps", after, SEEDS, "points", "+2.1", better)
    assert verdict(claim.evidence) == said
    mean = sum(a - b for a, b in zip(after, SEEDS, strict=True)) / 3
    assert claim.measured.startswith(f"{mean:+.1f} points (95 %: ")
    assert claim.effect[0] == approx(mean)
    # Student's t with 2 degrees of freedom: 4.303 standard errors either side.
    error = np.std([a - b for a, b in zip(after, SEEDS, strict=True)], ddof=1) / np.sqrt(3)
    assert claim.effect[1:] == approx((mean - 4.303 * error, mean + 4.303 * error), abs=2e-3)
    assert claim.unit == "points"
    assert claim.measured.endswith(", 3 seeds)")
    assert (claim.claim, claim.published) == ("it helps", "+2.1")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ([21.0, 22.0, 23.0], SEEN),  # always +1, within ±2
        ([17.0, 18.0, 19.0], OPPOSITE),  # always −3
        ([21.0, 24.5, 23.0], UNDECIDED),  # +1, +3.5, +1: the interval reaches beyond 2
    ],
)
def test_little_is_what_stays_within_the_margin(other, said):
    by_seed = pd.DataFrame({0.1: SEEDS, 0.3: other, 0.7: SEEDS})
    claim = claims.stable("little", by_seed, 0.1, 2.0, "0.8")
    assert verdict(claim.evidence) == said
    assert "at 0.3; little is ±2.0" in claim.measured


@pytest.mark.parametrize(
    ("rival", "comparable", "said"),
    [
        (15.0, True, SEEN),
        (27.0, True, OPPOSITE),
        (21.0, True, UNDECIDED),
        (15.0, False, NOT_COMPARABLE),
        (27.0, False, NOT_COMPARABLE),
    ],
)
def test_another_methods_number_is_compared_on_the_same_data_only(rival, comparable, said):
    claim = claims.exceeds("best", SEEDS, rival, "28.8", comparable)
    assert verdict(claim.evidence) == said
    assert claim.measured.startswith("21.0 % (95 %: 18.5 to 23.5")  # 4.303 · 1 / √3 = 2.48


def test_one_seed_decides_no_claim():
    assert verdict(claims.differs("it helps", [22.0], [20.0], "points", "+2.1").evidence) == UNDECIDED


def test_claims_are_corrected_for_their_number():
    evidence = [{EQUAL: 0.9, SEEN: 0.01}, {}, {EQUAL: 0.02, OPPOSITE: 0.3}, {SEEN: 0.04, OPPOSITE: 1.0}]
    # three claims, of each of which at most one hypothesis is true; sorted 0.01, 0.02, 0.04, 0.3, 0.9, 1
    after = corrected(evidence)
    assert after[0] == approx({EQUAL: 1.0, SEEN: 0.03})
    assert after[1] == {}
    assert after[2] == approx({EQUAL: 0.06, OPPOSITE: 0.9})
    assert after[3] == approx({SEEN: 0.12, OPPOSITE: 1.0})
    assert verdicts(evidence) == [
        (SEEN, SEEN),
        (NOT_COMPARABLE, NOT_COMPARABLE),
        (UNDECIDED, EQUAL),
        (UNDECIDED, SEEN),
    ]
    # alone it is practically nothing: that this is no longer sure makes it undecided, not an effect
    assert verdicts([{EQUAL: 0.04, SEEN: 0.001}, {SEEN: 0.5}]) == [(UNDECIDED, EQUAL), (UNDECIDED, UNDECIDED)]


def test_where_nothing_is_true_one_page_in_twenty_decides_something():
    """Thirty claims on noise, as a page has them: after the correction, hardly a page has a wrong verdict."""
    random, pages = np.random.default_rng(0), 600
    wrong = 0
    for _ in range(pages):
        noise = random.normal(0, 3, size=(30, 2, 20))
        page = [claims.differs("", after, before, "points", "").evidence for after, before in noise]
        wrong += any(said in (SEEN, OPPOSITE) for said, _ in verdicts(page))
    assert wrong / pages <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / pages)


def test_claims_become_json_with_their_data():
    claim = claims.differs("β", [1.0, 2.0, 3.5], SEEDS, "points", "c")
    (row,) = json.loads(claims.as_json({"released": [claim]}, "thumos14, simulated"))
    assert (row["claim"], row["preset"], row["data"]) == ("β", "released", "thumos14, simulated")
    step = paired_difference([1.0, 2.0, 3.5], SEEDS)
    assert row["evidence"] == approx({EQUAL: step.p_beyond(0.5), OPPOSITE: step.p_zero})
