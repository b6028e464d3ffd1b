"""Methods rerun, beside what is published of them."""

import numpy as np
import pandas as pd
import pytest

from dgam_core.experiments.published import read_published
from dgam_core.figures import rerun

METHODS = {"STPN": 0.10, "W-TALC": 0.12, "Nguyen et al.": 0.14, "uniform attention": 0.01}


@pytest.fixture
def scores():
    """Three seeds, two choices; mAP at each threshold is a method's level over the threshold."""
    levels = {("paper", row): level for row, level in METHODS.items()}
    levels |= {("paper", "DGAM"): 0.11, ("released", "DGAM"): 0.15}
    records = [
        (preset, row, seed, choice, tiou, (level + 0.01 * seed) / (2 * tiou))
        for (preset, row), level in levels.items()
        for seed in range(3)
        for choice in ("last", "label_only")
        for tiou in (0.1, 0.5)
    ]
    return pd.DataFrame(records, columns=["preset", "row", "seed", "choice", "tiou", "map"])


def test_methods_stand_in_the_published_order(scores):
    table = rerun.table(scores, read_published("table3"), "simulated")
    order = ["uniform attention", "STPN", "W-TALC", "Nguyen et al.", "DGAM, paper", "DGAM, released"]
    assert list(table.index) == order
    assert list(table[("published", "mAP@0.5")]) == ["–", "16.9", "22.8", "26.8", "28.8", "28.8"]
    # STPN: 10, 11 and 12 %; Student's t at two degrees of freedom: 4.303 · 1 / √3 = 2.48
    assert table.loc["STPN", ("rerun, simulated: mAP@0.5, 95 % interval", "last")] == "11.0 (8.5 to 13.5)"
    assert table.loc["STPN", ("rerun, simulated: mAP at tIoU, last epoch", "0.1")] == "55.0"


def test_a_table_with_averages_is_compared_by_these(scores):
    published = read_published("table5")
    table = rerun.table(scores, published, "simulated")
    # W-TALC: (13/2)·(1/0.1 + 1/0.5)/2 % in the mean over seeds
    found = table.loc["W-TALC", ("rerun, simulated: average mAP, 95 % interval", "last")]
    assert found.startswith(f"{13 / 2 * (10 + 2) / 2:.1f} (")
    assert table.loc["W-TALC", ("published", "average mAP")] == "18.0"


def test_a_star_in_the_published_name_is_no_other_method(scores):
    starred = scores.replace({"row": {"STPN": "AutoLoc"}})
    table = rerun.table(starred, read_published("table5"), "simulated")
    assert table.loc["AutoLoc", ("published", "average mAP")] == "16.0"


def test_the_figure_shows_what_has_a_published_number(scores):
    found = rerun.pairs(scores, read_published("table3"))
    assert list(found.index) == ["STPN", "W-TALC", "Nguyen et al.", "DGAM"]
    assert found.loc["DGAM", "mean"] == pytest.approx(16)  # by `released`: 15, 16 and 17 %
    assert rerun.correlation(found).rho == pytest.approx(1)
    figure = rerun.published_against_rerun(scores, read_published("table3"), "simulated")
    (axes,) = figure.axes
    assert {text.get_text() for text in axes.texts} == set(found.index)
    drawn = np.concatenate([line.get_xydata() for line in axes.lines if line.get_marker() == "o"])
    assert drawn == pytest.approx(found[["published", "mean"]].to_numpy())
    assert "simulated" in axes.get_ylabel()
    assert "published" in axes.get_xlabel()
    words = rerun.in_words(scores, read_published("table3"), "simulated")
    assert "W-TALC 22.8 published, 13.0 rerun" in words
    assert "Spearman's ρ 1.00" in words


def test_intervals_end_where_map_can(scores):
    is_first, is_high = scores["seed"] == 0, scores["row"] == "STPN"
    values = np.select([is_first & is_high, is_high, is_first], [0.7, 1.0, 0.0], scores["map"])
    spread = scores.assign(map=values)
    assert rerun.pairs(spread, read_published("table3"))[["low", "high"]].max().max() > 100
    (axes,) = rerun.published_against_rerun(spread, read_published("table3"), "simulated").axes
    ends = np.concatenate([bars.get_segments() for bars in axes.collections])[..., 1]
    assert (ends.min(), ends.max()) == (0, 100)


def test_few_methods_have_no_rank_correlation():
    assert rerun.rank_in_words(None) == "too few methods for a rank correlation"


def test_methods_that_do_not_surpass_a_baseline_are_named(scores):
    # Uniform attention has 1, 2 and 3 %, the others ten points more in each seed
    said = rerun.beside_baselines(scores, read_published("table3"))
    assert said == "The baseline uniform attention has 2.0; all methods are above it."
    worse = scores.assign(map=scores["map"].where(scores["row"] != "STPN", scores["map"] / 10))
    # STPN has 1, 1.1 and 1.2 %: 0, 0.9 and 1.8 points less
    said = rerun.beside_baselines(worse, read_published("table3"))
    assert said == "The baseline uniform attention has 2.0; not above it: STPN."
