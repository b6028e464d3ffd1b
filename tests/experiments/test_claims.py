import pandas as pd
import pytest

from dgam_core.experiments import claims

SEEDS = [20.0, 21.0, 22.0]


@pytest.mark.parametrize(
    ("after", "better", "verdict"),
    [
        ([22.0, 23.5, 24.0], 1, "holds"),  # differences 2, 2.5 and 2
        ([22.0, 23.5, 24.0], -1, "does not hold"),
        ([18.0, 19.0, 21.0], 1, "does not hold"),  # −2, −2 and −1
        ([18.0, 19.0, 21.0], -1, "holds"),
        ([21.0, 20.0, 22.0], 1, "is undecided"),  # 1, −1 and 0
    ],
)
def test_a_difference_has_the_claimed_sign_or_not(after, better, verdict):
    claim = claims.differs("it helps", after, SEEDS, "points", "+2.1", better)
    assert claim.verdict == verdict
    mean = sum(a - b for a, b in zip(after, SEEDS, strict=True)) / 3
    assert claim.measured.startswith(f"{mean:+.1f} points (95 %: ")
    assert (claim.claim, claim.published) == ("it helps", "+2.1")


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        ([21.0, 22.0, 23.0], "holds"),  # always +1, within ±2
        ([17.0, 18.0, 19.0], "does not hold"),  # always −3
        ([21.0, 24.5, 23.0], "is undecided"),  # +1, +3.5, +1: the interval reaches beyond 2
    ],
)
def test_little_is_what_stays_within_the_margin(other, verdict):
    by_seed = pd.DataFrame({0.1: SEEDS, 0.3: other, 0.7: SEEDS})
    claim = claims.stable("little", by_seed, 0.1, 2.0, "0.8")
    assert claim.verdict == verdict
    assert "at 0.3; little is ±2.0" in claim.measured


@pytest.mark.parametrize(
    ("rival", "comparable", "verdict"),
    [
        (19.0, True, "holds"),
        (23.0, True, "does not hold"),
        (21.0, True, "is undecided"),
        (19.0, False, "is not comparable"),
        (23.0, False, "is not comparable"),
    ],
)
def test_another_methods_number_is_compared_on_the_same_data_only(rival, comparable, verdict):
    claim = claims.exceeds("best", SEEDS, rival, "28.8", comparable)
    assert claim.verdict == verdict
    assert claim.measured == "21.0 % (95 %: 20.0 to 22.0)"


def test_claims_become_json():
    text = claims.as_json([claims.Claim("β", "holds", "b", "c")], "simulated")
    assert text == '[{"claim": "β", "verdict": "holds", "measured": "b, simulated", "published": "c"}]'
