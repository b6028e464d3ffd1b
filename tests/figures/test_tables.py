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
        (row, seed, choice, tiou, value + more - tiou + 0.5, value + more, False, "simulated")
        for (row, seed), value in values.items()
        for choice, more in zip(CHOICES, (0.0, 0.05, 0.1), strict=True)
        for tiou in (0.3, 0.5)
    ]
    columns = ["row", "seed", "choice", "tiou", "map", "main", "collapsed", "provenance"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def both(scores):
    """The same by presets: `paper` has only its last epoch, `released` scores 0.3 more and has the oracle."""
    paper = scores[scores["choice"] == "last"].assign(preset="paper")
    released = scores[scores["choice"] != "label_only"].assign(preset="released")
    released[["map", "main"]] += 0.3
    return pd.concat([paper, released], ignore_index=True)


def records(values, collapsed=()):
    """Records of a row, one value per seed, of which some have collapsed."""
    rows = [("a", seed, "last", value, seed in collapsed) for seed, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["row", "seed", "choice", "main", "collapsed"])


def test_a_mean_says_how_many_of_its_seeds_have_collapsed():
    # mean of 10, 30 and 20, sd 10; the collapsed ones are among them
    values = [0.1, 0.3, 0.2]
    (cell,) = tables.mean_and_sd(records(values, collapsed=[0, 2]), "choice", "main").to_numpy().flat
    assert cell == "20.0 ± 10.0 (2 of 3 collapsed)"
    (cell,) = tables.mean_and_sd(records(values), "choice", "main").to_numpy().flat
    assert cell == "20.0 ± 10.0"
    unknown = records(values).drop(columns="collapsed")  # such as statistics of the attention
    (cell,) = tables.mean_and_sd(unknown, "choice", "main", scale=1, digits=2).to_numpy().flat
    assert cell == "0.20 ± 0.10"


def test_collapsed_seeds_are_counted_by_preset_row_and_choice(both):
    bad = (both["preset"] == "paper") & (both["row"] == "b") & (both["seed"] == 1)
    bad |= (both["preset"] == "released") & (both["row"] == "a") & (both["choice"] == "last")
    table = tables.choices(both.assign(collapsed=bad))
    assert table["last"].to_dict() == {
        ("paper", "a"): "20.0 ± 14.1",
        ("paper", "b"): "20.0 ± 0.0 (1 of 2 collapsed)",
        ("released", "a"): "50.0 ± 14.1 (2 of 2 collapsed)",
        ("released", "b"): "50.0 ± 0.0",
    }
    assert table["test_oracle"].tolist() == ["–", "–", "60.0 ± 14.1", "60.0 ± 0.0"]


def test_the_table_of_map_has_the_choices_side_by_side_and_the_published_beside(both):
    printed = Published("THUMOS14", pd.DataFrame({0.5: {"b": 28.8, "a": 26.7}}))
    table = tables.map_table(both, printed, "mAP@0.5")
    assert table.index.tolist() == [("paper", "a"), ("paper", "b"), ("released", "a"), ("released", "b")]
    chosen, published, ours = table.columns.levels[0][table.columns.codes[0]].unique()
    assert chosen == "mAP@0.5 (%) by model choice, simulated"
    assert ours == "mAP at tIoU (%), last epoch, simulated"
    # mean of 10 and 30, sample standard deviation √200; 20 more at tIoU 0.3, 30 more in `released`
    assert table.loc[("paper", "a"), ours].tolist() == ["40.0 ± 14.1", "20.0 ± 14.1"]
    assert table.loc[("released", "a"), ours].tolist() == ["70.0 ± 14.1", "50.0 ± 14.1"]
    some = both.assign(collapsed=both["preset"] == "paper")  # said once, beside the main mAP
    told = tables.map_table(some, printed, "mAP@0.5").loc[("paper", "a")]
    assert told[chosen, "last"] == "20.0 ± 14.1 (2 of 2 collapsed)"
    assert told[ours].tolist() == ["40.0 ± 14.1", "20.0 ± 14.1"]
    assert table[chosen].columns.tolist() == ["last", "test_oracle"]  # nothing was held out
    assert table.loc[("paper", "b"), chosen].tolist() == ["20.0 ± 0.0", "–"]
    assert table.loc[("released", "b"), chosen].tolist() == ["50.0 ± 0.0", "60.0 ± 0.0"]
    # beside the preset that they were made with, row by row
    assert table[published][0.5].tolist() == ["–", "–", "26.7", "28.8"]


def test_nothing_published_stands_beside_the_paper_alone(both):
    printed = Published("THUMOS14", pd.DataFrame({0.5: {"b": 28.8, "a": 26.7}}))
    table = tables.map_table(both[both["preset"] == "paper"], printed, "mAP@0.5")
    assert table.index.tolist() == [("paper", "a"), ("paper", "b")]
    assert table["published mAP (%), THUMOS14"].to_numpy().flatten().tolist() == ["–", "–"]


def test_all_choices_stand_in_their_order(scores):
    assert tables.choices(scores).loc["a"].tolist() == ["20.0 ± 14.1", "25.0 ± 14.1", "30.0 ± 14.1"]
    assert tables.choices(scores.iloc[::-1]).columns.tolist() == list(CHOICES)


def test_one_seed_has_no_spread(scores):
    one = scores[scores["seed"] == 0]
    assert tables.choices(one).loc["a", "last"] == "10.0 ± 0.0"


@pytest.mark.parametrize(
    ("after", "better", "words"),
    [
        ([3, 4, 5], 1, "x helps: +2.0 points"),
        ([3, 4, 5], -1, "x harms: +2.0 points"),
        ([0, 1, 2], 1, "x harms: −1.0 points"),
        # 0, 0 and 6: 2 ± 4.303 · √12 / √3
        ([1, 2, 9], 1, "x is undecided: +2.0 points, 95 % interval −6.6 to +10.6"),
        ([1, 2, 9], -1, "x is undecided: +2.0 points, 95 % interval −6.6 to +10.6"),
        # −0.1, 0 and 0.1: 0 ± 4.303 · 0.1 / √3, far within half a point
        ([0.9, 2, 3.1], -1, "x is practically equal: +0.0 points, 95 % interval −0.2 to +0.2"),
        # 0.2 each: not zero, and practically nothing
        ([1.2, 2.2, 3.2], 1, "x is practically equal: +0.2 points"),
        ([1, 2, 3], 1, "x changes nothing"),
    ],
)
def test_a_comparison_says_what_the_interval_says(after, better, words):
    assert tables.compare("x", after, [1, 2, 3], "points", better).startswith(f"- {words}")


def test_what_is_practically_nothing_depends_on_the_unit():
    assert "practically equal" in tables.compare("x", [1.2, 2.2], [1, 2], "points")
    assert "helps" in tables.compare("x", [1.2, 2.2], [1, 2], "in λ", margin=0.005)


def test_seeds_without_a_value_are_left_out_of_a_comparison_and_told():
    nan = float("nan")
    line = tables.compare("x", [3, nan, 5, 7], [1, 2, 3, nan], "points")
    assert line.endswith("interval +2.0 to +2.0; 2 of 4 seeds have none")
    assert line.startswith("- x helps: +2.0 points")
    nothing = tables.compare("x", [nan, 1], [1, nan], "points")
    assert nothing == "- x has none: in no seed is there a value with and without it"


def test_comparisons_say_their_preset_their_seeds_and_what_they_rest_on():
    text = tables.seed_by_seed(
        {"paper": ["- x", "- y"], "released": ["- z"]}, "simulated", {"paper": 120, "released": 30}
    )
    assert text.startswith(
        "With `paper`, 120 seeds, simulated:\n\n- x\n- y\n\nWith `released`, 30 seeds, simulated:\n\n- z\n\n"
    )
    assert "Student's t" in text
    assert "less than 0.5 points of mAP is practically nothing" in text


def test_departures_are_listed_with_their_settings():
    changes = {
        "released": pd.DataFrame({"5 scale of L_re": [1.0, 3.0], "2 background's place": [0.0, 2.0]}),
        "paper": pd.DataFrame({"2 background's place": [1.0, 1.0], "5 scale of L_re": [1.0, 1.0]}),
    }
    table = tables.departures(DEPARTURES, "thumos14", changes, "2 background's place", set())
    assert table.index.tolist() == [d.number for d in DEPARTURES]
    *_, settings, released, paper = (table[name] for name in table)
    assert released.name == "points, in released, against the text's way"
    assert paper.name == "points, in paper, switched on"
    link = '<a href="../settings.html#setting-gamma-re-per"><code>gamma_re_per</code></a>: element'
    assert settings[5] == link
    assert settings[3] == "as the paper's"
    # 2 ± 12.706 · √2 / √2; one more than chance in both seeds
    assert released[5] == "+2.0, 95 % interval −10.7 to +14.7: helps"
    assert released[2] == "+1.0, 95 % interval −11.7 to +13.7: this is chance"
    assert paper[5] == "+1.0, 95 % interval +1.0 to +1.0: like chance"
    assert released[3] == "–"  # nothing to switch
    of_activitynet12 = tables.departures(DEPARTURES, "activitynet12", changes, "2 background's place", set())
    assert "alpha</code></a>: 1.0" in of_activitynet12["settings"][7]


NOISE = [0.0, 1.0, -1.0, 2.0, -2.0]  # mean 0, sd √2.5


def test_a_shift_common_to_all_changes_is_no_effect():
    """The base had a bad day: every change, and chance too, is 5 points better than it."""
    changes = pd.DataFrame({"2 chance": NOISE, "a": NOISE[::-1], "b": [1.0, -1.0, 2.0, -2.0, 0.0]})
    found = tables.against_chance(changes + 5, "2 chance")
    assert {name: words for name, (_, words) in found.items()} == {
        "2 chance": "this is chance",
        "a": "like chance",
        "b": "like chance",
    }
    # the effect itself is the difference from the base: 5 ± 2.776 · √2.5 / √5
    for step, _ in found.values():
        assert (step.mean, step.low, step.high) == approx((5, 5 - 1.963, 5 + 1.963), abs=1e-3)


def test_what_differs_from_chance_in_every_seed_is_an_effect_though_it_looks_like_none():
    """Seed by seed 3 points below chance, which happens to be 3 points above the base."""
    chance = pd.Series(NOISE) + 3
    wobble = pd.Series([0.1, -0.1, 0.0, 0.1, -0.1])
    changes = pd.DataFrame({"2 chance": chance, "down": chance - 3 + wobble, "up": chance + 3 + wobble})
    found = tables.against_chance(changes, "2 chance")
    assert found["down"][0].mean == approx(0)
    assert found["down"][1] == "harms"
    assert found["up"][1] == "helps"


def test_effects_are_corrected_for_their_number_by_holms_method():
    """Against no noise of chance: −1, 0, 1 … plus a shift; t = shift / (√2.5 / √5) of 4 degrees of freedom.

    A shift of 2.3 gives t = 3.253 and p = 0.031; one of 30 gives t = 42.4 and p = 2e-6.
    """
    step = pd.Series(NOISE)
    alone = pd.DataFrame({"2 chance": [0.0] * 5, "a": step + 2.3})
    assert tables.against_chance(alone, "2 chance")["a"][1] == "helps"
    two = alone.assign(b=step)  # twice 0.031 is more than 5 %
    assert tables.against_chance(two, "2 chance")["a"][1] == "like chance"
    # The clear one is decided first, and then 0.031 is the only one left: Holm, where Bonferroni would not.
    clear = alone.assign(b=step - 30)
    words = {name: text for name, (_, text) in tables.against_chance(clear, "2 chance").items()}
    assert words == {"2 chance": "this is chance", "a": "helps", "b": "harms"}


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
    # 2 ± 12.706 · √2 / √2, of 1 and 3
    assert text.loc[(0.5, 1.0)].tolist() == ["10.0", "12.0", "+2.0, 95 % interval −10.7 to +14.7"]


def test_lines_of_a_phase_table_name_the_points_of_each_effect():
    # t of 2 seeds, 1 degree of freedom: 2 ± 12.7 · 0.1 and −3 ± 12.7 · 0.1; 0 ± 12.7 · 0.01; 2 ± 12.7
    scores = grid({(0.5, 1.0): [1.9, 2.1], (0.5, 2.0): [-3.1, -2.9], (1.0, 1.0): [-0.01, 0.01],
                   (1.0, 2.0): [1, 3]})  # fmt: skip
    points = tables.phase(scores, ["a", "b"], ("without", "with"))
    assert tables.phase_lines(points, "x") == [
        "- x helps at 1 of 4 points: at a 0.5, b 1",
        "- x harms at 1 of 4 points: at a 0.5, b 2",
        "- x is practically equal at 1 of 4 points: at a 1, b 1",
        "- x is undecided at 1 of 4 points: at a 1, b 2",
    ]
    assert tables.phase_lines(points.iloc[:1], "x")[1] == "- x harms at 0 of 1 points"


def test_a_table_of_methods_has_the_published_above_and_this_run_below(both):
    of_row = both[both["row"] == "a"]
    values = pd.DataFrame({"X": {0.3: 9.0, 0.5: float("nan"), "average": 7.0}}).T
    table = tables.methods(of_row, Published("THUMOS14", values, {"X": "weak"}))
    assert table.loc[("published, THUMOS14", "X, weak")].tolist() == ["9.0", "–", "7.0"]
    # The average of 30 and 10, and of 50 and 30: of 20 and 40, one per seed, the standard deviation is √200.
    ours = table.loc["this run, simulated"]
    assert ours.loc["paper, last"].tolist() == ["40.0 ± 14.1", "20.0 ± 14.1", "30.0 ± 14.1"]
    assert ours.loc["released, last"].tolist() == ["70.0 ± 14.1", "50.0 ± 14.1", "60.0 ± 14.1"]
    as_published = (
        "released, test_oracle; nearest to the published DGAM, which has the bug of class 0 as well"
    )
    assert ours.index.tolist() == ["paper, last", "released, last", as_published]
    without = Published("THUMOS14", values.drop(columns="average"), {"X": "weak"})
    assert tables.methods(of_row, without).columns.tolist() == [0.3, 0.5]


def test_a_table_of_methods_counts_collapsed_seeds_once_a_row(both):
    of_row = both[both["row"] == "a"]
    of_row = of_row.assign(collapsed=(of_row["preset"] == "paper") & (of_row["seed"] == 0))
    values = pd.DataFrame({"X": {0.3: 9.0, 0.5: 8.0, "average": 7.0}}).T
    ours = tables.methods(of_row, Published("THUMOS14", values, {"X": "weak"})).loc["this run, simulated"]
    assert ours.index.tolist()[:2] == ["paper, last (1 of 2 collapsed)", "released, last"]
    assert ours.iloc[0].tolist() == ["40.0 ± 14.1", "20.0 ± 14.1", "30.0 ± 14.1"]


def test_a_sweep_has_its_values_and_the_published_ones_in_order(scores):
    # `main` is an average on ActivityNet1.2; the paper prints mAP@0.5
    at_half = scores[scores["tiou"] == 0.5].assign(row=scores["row"].map({"a": 8, "b": 2}), main=0.0)
    printed = Published("THUMOS14", pd.DataFrame({4: [26.5], 8: [27.5]}, index=["DGAM"]))
    table = tables.sweep(at_half, "z", printed)
    assert table.index.tolist() == [2, 4, 8]
    assert table["published, THUMOS14", "DGAM"].tolist() == ["–", "26.5", "27.5"]
    assert table.iloc[:, 0].tolist() == ["20.0 ± 0.0", "–", "20.0 ± 14.1"]
    assert tables.sweep(at_half, "z", None).shape == (2, 3)


def test_without_another_training_the_difference_from_zero_counts():
    """Chance moves by 3 or −3; a change of the same weights is sure at −2.5, and chance does not hide it."""
    changes = pd.DataFrame({"2 chance": [3.0, -3.0] * 6, "23 bug": [-2.4, -2.6] * 6})
    assert tables.against_chance(changes, "2 chance")["23 bug"][1] == "harms"  # −2.5 ± 3.1, of 12 seeds
    few = changes.iloc[:4]
    assert tables.against_chance(few, "2 chance")["23 bug"][1] == "like chance"
    assert tables.against_chance(few, "2 chance", {"23 bug"})["23 bug"][1] == "harms"


def test_the_choices_are_said_in_a_line():
    values = pd.DataFrame({"last": [10.0, 12.0], "test_oracle": [11.0, 15.0]})  # gains 1 and 3
    line = tables.choice_by_choice(values)
    assert line.startswith("last epoch: 11.0 % (95 %: ")
    assert "; the choice on the test set adds +2.0 points (95 %: " in line
    assert "video labels" not in line


def test_a_comparison_has_the_presets_the_paper_and_the_claim():
    rows = [
        (preset, "DGAM", seed, "last", tiou, value, "simulated")
        for preset, values in {"paper": (0.1, 0.12), "released": (0.3, 0.34)}.items()
        for seed, value in enumerate(values)
        for tiou in (0.3, 0.5)
    ]
    columns = ["preset", "row", "seed", "choice", "tiou", "map", "provenance"]
    scores = pd.DataFrame(rows, columns=columns)
    scores.loc[scores["tiou"] == 0.3, "map"] += 0.1
    values = {
        0.3: {"DGAM": 46.8, "R": 45.0},
        0.5: {"DGAM": 28.8, "R": 26.8},
        "average": {"DGAM": 38, "R": 36},
    }
    published = Published("THUMOS14", pd.DataFrame(values))
    text, checked = tables.comparison(scores, published, "mAP@0.5", 0.5, "R", comparable=True)
    assert "- `paper`, last epoch: 11.0 % (95 %: " in text  # of 10 and 12
    assert "- `released`, last epoch: 32.0 % (95 %: " in text
    assert text.endswith("28.8 for DGAM and 26.8 for R, the best of the other weakly supervised methods.")
    assert [claim.published for claim in checked["released"]] == ["28.8 against 26.8"]
    average, _ = tables.comparison(scores, published, "Average mAP", "average", "R", comparable=False)
    assert "- `paper`, last epoch: 16.0 % (95 %: " in average  # 5 points more: the mean of both thresholds
