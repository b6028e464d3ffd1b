import pandas as pd
import pytest
from pytest import approx

from dgam_core.departures import DEPARTURES
from dgam_core.experiments.model_choice import CHOICES
from dgam_core.experiments.published import Published
from dgam_core.figures import tables


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
    printed = Published("THUMOS14", pd.DataFrame({0.5: {"b": 28.8, "a": 26.7}}))
    table = tables.map_table(scores, printed, "mAP@0.5")
    assert table.index.tolist() == ["b", "a"]
    chosen, published, ours = table.columns.levels[0][table.columns.codes[0]].unique()
    assert ours == "mAP at tIoU (%), last epoch, simulated"
    # mean of 10 and 30, sample standard deviation √200; 20 more at tIoU 0.3
    assert table.loc["a", ours].tolist() == ["40.0 ± 14.1", "20.0 ± 14.1"]
    assert table.loc["b", chosen].tolist() == ["20.0 ± 0.0", "25.0 ± 0.0", "30.0 ± 0.0"]
    assert table[chosen].columns.tolist() == list(CHOICES)
    assert table[published]["mAP@0.5"].tolist() == ["28.8", "26.7"]


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
    changes = pd.DataFrame({"5 scale of L_re": [1.0, 3.0], "all but 23": [9.0, 9.0]})
    table = tables.departures(DEPARTURES, "thumos14", changes)
    assert table.index.tolist() == [d.number for d in DEPARTURES]
    settings, effects = table.iloc[:, -2], table.iloc[:, -1]
    assert settings[5] == "gamma_re_per: element"
    assert settings[3] == "as the paper's"
    assert effects[5] == "+2.0, 95 % interval +1.0 to +3.0"
    assert effects[3] == "none: nothing to switch"
    assert "alpha: 1.0" in tables.departures(DEPARTURES, "activitynet12", changes).iloc[:, -2][7]


def grid(points):
    """Scores of two settings at points of a grid, given the gain in percent of each seed at each point."""
    rows = [
        (a, b, row, seed, 0.1 + (gain / 100 if row == "with" else 0))
        for (a, b), gains in points.items()
        for seed, gain in enumerate(gains)
        for row in ("without", "with")
    ]
    return pd.DataFrame(rows, columns=["a", "b", "row", "seed", "map"])


def test_a_phase_table_has_the_paired_difference_at_each_point():
    scores = grid({(0.5, 1.0): [1, 3], (0.5, 2.0): [-2, -4], (1.0, 1.0): [-1, 1], (1.0, 2.0): [2, 4]})
    points = tables.phase(scores, ["a", "b"], ("without", "with"))
    assert points.loc[(0.5, 2.0), "with"] == approx(7)  # 10 − (2 + 4) / 2
    assert points.loc[(0.5, 2.0), "step"].mean == approx(-3)
    text = tables.phase_text(points, "simulated", "mAP@0.5 (%)")
    (title,) = set(text.columns.get_level_values(0))
    assert title == "mAP@0.5 (%), simulated"
    # of two numbers, 95 % of the bootstrap means lie between the lower and the higher one
    assert text.loc[(0.5, 1.0)].tolist() == ["10.0", "12.0", "+2.0, 95 % interval +1.0 to +3.0"]
    assert tables.phase_lines(points, "x") == [
        "- x helps at 2 of 4 points: at a 0.5, b 1; at a 1, b 2",
        "- x harms at 1 of 4 points: at a 0.5, b 2",
        "- x is undecided at 1 of 4 points: at a 1, b 1",
    ]


def test_a_table_of_methods_has_the_published_above_and_this_run_below(scores):
    of_row = scores[scores["row"] == "a"]
    values = pd.DataFrame({"X": {0.3: 9.0, 0.5: float("nan"), "average": 7.0}}).T
    table = tables.methods(of_row, Published("THUMOS14", values, {"X": "weak"}))
    assert table.loc[("published", "X, weak")].tolist() == ["9.0", "–", "7.0"]
    # The average of 30 and 10, and of 50 and 30: of 20 and 40, one per seed, the standard deviation is √200.
    last = table.loc[("this run, simulated", "last")].tolist()
    assert last == ["40.0 ± 14.1", "20.0 ± 14.1", "30.0 ± 14.1"]
    assert table.index.get_level_values(1).tolist() == ["X, weak", *CHOICES]
    without = Published("THUMOS14", values.drop(columns="average"), {"X": "weak"})
    assert tables.methods(of_row, without).columns.tolist() == [0.3, 0.5]


def test_a_sweep_has_its_values_and_the_published_ones_in_order(scores):
    # `main` is an average on ActivityNet1.2; the paper prints mAP@0.5
    at_half = scores[scores["tiou"] == 0.5].assign(row=scores["row"].map({"a": 8, "b": 2}), main=0.0)
    printed = Published("THUMOS14", pd.DataFrame({4: [26.5], 8: [27.5]}, index=["DGAM"]))
    table = tables.sweep(at_half, "z", printed)
    assert table.index.tolist() == [2, 4, 8]
    assert table["published, THUMOS14", "DGAM"].tolist() == ["–", "26.5", "27.5"]
    assert table.iloc[:, 0].tolist() == ["20.0 ± 0.0", "–", "20.0 ± 14.1"]
    assert tables.sweep(at_half, "z", None).shape == (2, 3)
