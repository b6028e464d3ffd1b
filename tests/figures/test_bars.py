import numpy as np
import pandas as pd
from pytest import approx

from dgam_core.figures import bars


def test_set_statistics_show_both_models_of_ours_and_the_papers():
    values = {"without": 1, "with": 2}
    rows = [
        (name, model, seed, value + seed)
        for name in "ab"
        for model, value in values.items()
        for seed in (0, 1)
    ]
    ours = pd.DataFrame(rows, columns=["row", "model", "seed", "value"])
    theirs = ours[ours["seed"] == 0].drop(columns="seed")
    figure = bars.set_statistics(ours, "simulated", theirs, "THUMOS14")
    left, right = figure.axes
    # the mean of v and v + 1, for both statistics without and then with
    assert [bar.get_width() for bar in left.patches if bar.get_width()] == approx([1.5, 1.5, 2.5, 2.5])
    assert [bar.get_width() for bar in right.patches if bar.get_width()] == approx([1, 1, 2, 2])
    assert "simulated" in left.get_title()
    assert "Published" in right.get_title()
    (legend,) = figure.legends  # below the panels, whose bars it would hide
    words = [text.get_text() for text in legend.get_texts()]
    assert words == ["without generative modeling", "with generative modeling"]
    assert left.get_legend() is right.get_legend() is None
    assert left.get_xlabel() == right.get_xlabel() == "share of the action snippets"


def test_the_spread_of_a_share_ends_where_the_share_can():
    # Seeds of 0 and 0.8 have the sd 0.8 / √2 = 0.566, seeds of 0.6 and 1 have 0.283.
    names = [
        "|att − gt| / |gt|",
        "|gt − att| / |gt|",
        "|(cls − gt) ∩ not att| / |gt|",
        "|(att ∩ gt) − cls| / |gt|",
    ]
    rows = [
        (name, model, seed, value)
        for name in names
        for model, values in (("without", (0.0, 0.8)), ("with", (0.6, 1.0)))
        for seed, value in enumerate(values)
    ]
    ours = pd.DataFrame(rows, columns=["row", "model", "seed", "value"])
    theirs = ours[ours["seed"] == 0].drop(columns="seed")
    left, _ = bars.set_statistics(ours, "simulated", theirs, "THUMOS14").axes
    drawn = {}
    for line in left.lines:
        row = float(np.nanmean(line.get_ydata()))
        model = "without" if row < round(row) else "with"
        drawn[names[round(row)], model] = (np.nanmin(line.get_xdata()), np.nanmax(line.get_xdata()))
    # Of snippets that are no action there can be more than of action.
    for name, high in zip(names, [1.083, 1, 1.083, 1], strict=True):
        assert drawn[name, "without"] == approx((0, 0.966), abs=1e-3)
        assert drawn[name, "with"] == approx((0.517, high), abs=1e-3)
    assert left.get_xlim()[0] == 0


def test_one_seed_has_no_spread():
    rows = [(name, model, 0, 0.5) for name in "ab" for model in ("without", "with")]
    ours = pd.DataFrame(rows, columns=["row", "model", "seed", "value"])
    left, _ = bars.set_statistics(ours, "simulated", ours.drop(columns="seed"), "THUMOS14").axes
    assert all(np.isnan(line.get_xdata()).all() for line in left.lines)
