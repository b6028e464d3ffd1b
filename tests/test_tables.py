import pandas as pd
import pytest

from dgam_core import tables
from dgam_core.choose import CHOICES
from dgam_core.departures import DEPARTURES


@pytest.fixture
def scores():
    """Two rows, two seeds; mAP 0.1, 0.3 and 0.2, 0.2 at tIoU 0.5 at the end, 0.1 more by the oracle."""
    values = {("a", 0): 0.1, ("a", 1): 0.3, ("b", 0): 0.2, ("b", 1): 0.2}
    rows = [
        (row, seed, choice, tiou, value + more - tiou + 0.5, value + more, "simulated")
        for (row, seed), value in values.items()
        for choice, more in zip(CHOICES, (0.0, 0.05, 0.1), strict=True)
        for tiou in (0.3, 0.5)
    ]
    return pd.DataFrame(rows, columns=["row", "seed", "choice", "tiou", "map", "main", "provenance"])


def test_the_table_of_map_has_the_choices_side_by_side_and_the_published_beside(scores):
    table = tables.map_table(scores, {"b": [28.8], "a": [26.7]}, ["mAP@0.5"], "mAP@0.5")
    assert table.index.tolist() == ["b", "a"]
    chosen, published, ours = table.columns.levels[0][table.columns.codes[0]].unique()
    assert ours == "mAP at tIoU (%), last epoch, simulated"
    # mean of 10 and 30, sample standard deviation √200; 20 more at tIoU 0.3
    assert table.loc["a", ours].tolist() == ["40.0 ± 14.1", "20.0 ± 14.1"]
    assert table.loc["b", chosen].tolist() == ["20.0 ± 0.0", "25.0 ± 0.0", "30.0 ± 0.0"]
    assert table[chosen].columns.tolist() == list(CHOICES)
    assert table[published].iloc[:, 0].tolist() == ["28.8", "26.7"]


def test_one_seed_has_no_spread(scores):
    one = scores[scores["seed"] == 0]
    assert tables.choices(one, ["a"]).loc["a", "last"] == "10.0 ± 0.0"


@pytest.mark.parametrize(
    ("after", "better", "words"),
    [
        ([3, 4, 5], 1, "x helps: +2.0 points"),
        ([3, 4, 5], -1, "x harms: +2.0 points"),
        ([0, 1, 2], 1, "x harms: -1.0 points"),
        ([1, 2, 9], 1, "x is undecided: +2.0 points, 95 % interval +0.0 to"),
        ([1, 2, 3], 1, "x changes nothing"),
    ],
)
def test_a_comparison_says_what_the_interval_says(after, better, words):
    assert tables.compare("x", after, [1, 2, 3], "points", better).startswith(f"- {words}")


def test_few_seeds_are_called_few():
    few = tables.seed_by_seed(["- x"], "simulated", 5)
    assert "bootstrapped over 5 seeds; with so few they are too narrow" in few
    assert tables.seed_by_seed(["- x"], "simulated", 50).endswith("bootstrapped over 50 seeds.")


def test_departures_are_listed_with_their_settings():
    table = tables.departures(DEPARTURES, "thumos14")
    assert table.index.tolist() == [d.number for d in DEPARTURES]
    settings = table.iloc[:, -1]
    assert settings[5] == "gamma_re_per: element"
    assert settings[3] == "as the paper's"
    assert "alpha: 1.0" in tables.departures(DEPARTURES, "activitynet12").iloc[:, -1][7]
