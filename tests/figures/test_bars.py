from itertools import pairwise

import numpy as np
import pandas as pd
from pytest import approx

from dgam_core.experiments.places import Results
from dgam_core.figures import bars

PUBLISHED = {"L_fg": 21.5, "+ L_bg": 24.8}


def scores(seeds, presets=("paper",), collapsed=()):
    """10 % for L_fg, 20 % for + L_bg, a percent more for each seed, and 5 % more in the second preset."""
    rows = [
        (preset, row, seed, 0.1 * (i + 1) + 0.01 * seed + 0.05 * k, (preset, row, seed) in collapsed)
        for k, preset in enumerate(presets)
        for i, row in enumerate(PUBLISHED)
        for seed in seeds
    ]
    return pd.DataFrame(rows, columns=["preset", "row", "seed", "map", "collapsed"])


def beside(scores):
    return bars.bars_beside_published(scores, "simulated", PUBLISHED, "THUMOS14", "losses")


def points(axes, marker):
    """Values of the points with a marker, in their order."""
    return [value for line in axes.lines if line.get_marker() == marker for value in line.get_ydata()]


def legend(figure):
    (found,) = figure.legends
    return [text.get_text() for text in found.get_texts()]


def test_bars_show_this_run_and_the_published_values_apart():
    figure = beside(scores([0, 1, 2]))
    left, right = figure.axes
    # means of 10, 11, 12 and 20, 21, 22 %
    assert [bar.get_height() for bar in left.patches] == approx([11, 21])
    assert [bar.get_height() for bar in right.patches] == [21.5, 24.8]
    assert left.get_title() == "This run, paper\nsimulated\n3 seeds"
    assert "Published" in right.get_title()
    assert left.get_ylim() == right.get_ylim()
    assert left.get_ylabel() == "mAP at tIoU 0.5 (%)"
    assert [axes.get_xlabel() for axes in figure.axes] == ["losses", ""]
    assert sorted(points(left, "o")) == approx([10, 11, 12, 20, 21, 22])
    assert legend(figure) == ["±1 sd", "a seed"]  # none has collapsed


def test_each_preset_has_a_panel_in_the_order_of_the_scores():
    figure = beside(pd.concat([scores([0, 1, 2]), scores([0, 1], ["x", "released"]).iloc[4:]]))
    paper, released, published = figure.axes
    assert [bar.get_height() for bar in paper.patches] == approx([11, 21])
    assert [bar.get_height() for bar in released.patches] == approx([15.5, 25.5])
    assert [bar.get_height() for bar in published.patches] == [21.5, 24.8]
    titles = [axes.get_title().splitlines() for axes in figure.axes]
    assert [title[0] for title in titles] == ["This run, paper", "This run, released", "Published"]
    assert [title[-1] for title in titles] == ["3 seeds", "2 seeds", "THUMOS14"]
    assert paper.get_ylim() == released.get_ylim() == published.get_ylim()


def test_seeds_that_collapsed_are_marked_and_still_count():
    figure = beside(scores([0, 1, 2], collapsed=[("paper", "+ L_bg", 0)]))
    left = figure.axes[0]
    assert points(left, "x") == approx([20])
    assert sorted(points(left, "o")) == approx([10, 11, 12, 21, 22])
    assert [bar.get_height() for bar in left.patches] == approx([11, 21])
    assert legend(figure) == ["±1 sd", "a seed", "a collapsed seed"]


def test_no_seed_hides_an_interval_and_no_value_hides_a_seed():
    figure = beside(scores(range(30)))
    left = figure.axes[0]
    seeds = max(line.get_zorder() for line in left.lines if line.get_marker() in "ox")
    (whiskers,) = left.collections
    assert whiskers.get_zorder() > seeds
    figure.canvas.draw()
    assert [text.xy[1] for text in left.texts] == approx([39, 49])  # the highest seed, above mean and sd


def test_titles_and_legend_do_not_overlap_and_are_whole():
    real = "measured on real features"
    both = scores(range(30), ("paper", "released"), [("paper", "L_fg", 0)])
    figure = bars.bars_beside_published(both, real, PUBLISHED, "THUMOS14, I3D features", "losses")
    figure.canvas.draw()
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    for box in (*boxes, figure.legends[0].get_window_extent()):
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1


def test_bars_of_one_seed_have_no_spread():
    figure = beside(scores([0]))
    assert figure.axes[0].get_title().endswith("\n1 seed")
    (whiskers,) = figure.axes[0].collections
    assert [np.ptp(path.vertices[:, 1]) for path in whiskers.get_paths()] == [0, 0]


CHANGES = {
    "released": pd.DataFrame({"5 scale": [8.0, 10.0, 12.0], "2 place": [-1.0, 0.0, 1.0], "18 x": [0.0] * 3}),
    "paper": pd.DataFrame({"5 scale": [1.0, 3.0], "2 place": [2.0, 2.0], "18 x": [0.0, 0.0]}),
}
NONE = {preset: frame.astype(bool) & False for preset, frame in CHANGES.items()}


def spans(axes):
    """Row → ends of its interval."""
    lines = [line for line in axes.lines if line.get_linewidth() == 4]
    return {line.get_ydata()[0]: line.get_xdata() for line in lines}


def test_effects_have_a_panel_per_preset_with_the_same_rows():
    figure = bars.effects(CHANGES, NONE, "simulated", "2 place")
    released, paper = figure.axes
    assert [label.get_text() for label in released.get_yticklabels()] == ["5 scale", "2 place", "18 x"]
    assert released.get_ylim() == paper.get_ylim()
    assert released.yaxis_inverted()
    assert released.get_title() == "in released, against the text's way\nsimulated, 3 seeds"
    assert paper.get_title() == "in paper, switched on\nsimulated, 2 seeds"
    means = [[line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"] for axes in figure.axes]
    assert means == [[10, 0, 0], [2, 2, 0]]
    # t of 2 degrees of freedom is 4.303, of 1 it is 12.706; the sd is 2 of three seeds, √2 of two
    assert spans(released)[0] == approx([10 - 4.303 * 2 / 3**0.5, 10 + 4.303 * 2 / 3**0.5], abs=1e-3)
    assert spans(paper)[0] == approx([2 - 12.706, 2 + 12.706], abs=1e-3)
    assert "a collapsed seed" not in legend(figure)


def test_the_band_is_the_interval_of_chance_in_each_preset():
    figure = bars.effects(CHANGES, NONE, "simulated", "2 place")
    bands = [axes.patches[0].get_extents().transformed(axes.transData.inverted()) for axes in figure.axes]
    # the sd of −1, 0, 1 is 1; that of 2, 2 is 0
    assert [bands[0].x0, bands[0].x1] == approx([-4.303 / 3**0.5, 4.303 / 3**0.5], abs=1e-3)
    assert [bands[1].x0, bands[1].x1] == approx([2, 2])
    assert "95 % interval of chance (2)" in legend(figure)


def test_seeds_stand_above_the_interval_that_they_would_hide():
    figure = bars.effects(CHANGES, NONE, "simulated", "2 place")
    for axes in figure.axes:
        seeds = [line for line in axes.lines if line.get_marker() == "."]
        for row, line in enumerate(seeds):
            assert (line.get_ydata() < row - 0.1).all()  # the axis is inverted
            assert (line.get_ydata() > row - 0.5).all()  # and nearer than the row above


def test_collapsed_seeds_are_marked_in_the_effects():
    collapsed = {preset: frame.copy() for preset, frame in NONE.items()}
    collapsed["paper"].loc[1, "5 scale"] = True
    figure = bars.effects(CHANGES, collapsed, "simulated", "2 place")
    released, paper = figure.axes
    crosses = [[*line.get_xdata()] for line in paper.lines if line.get_marker() == "x"]
    assert crosses == [[3], [], []]
    dots = [[*line.get_xdata()] for line in paper.lines if line.get_marker() == "."]
    assert dots == [[1], [2, 2], [0, 0]]
    assert all(not len(line.get_xdata()) for line in released.lines if line.get_marker() == "x")
    assert "a collapsed seed" in legend(figure)


def test_a_seed_far_out_stands_at_the_edge_and_moves_no_mean():
    """Of 100 seeds at 0, one at −100: 2 % of all seeds lie beyond the axis at most."""
    far = {"paper": pd.DataFrame({"2 place": [-100.0] + [0.0] * 99, "5 scale": [1.0] * 100})}
    none = {"paper": far["paper"].astype(bool) & False}
    (axes,) = bars.effects(far, none, "simulated", "2 place").axes
    low, high = axes.get_xlim()
    # the mean of chance is −1; its interval, −1 ± 1.984 · 10 / √100, is whole
    assert low < -2.984
    assert low > -10
    assert high > 1
    leftmost = min(line.get_xdata().min() for line in axes.lines if line.get_marker() == ".")
    assert low < leftmost < -2.984
    assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"] == approx([-1, 1])


def test_figures_are_saved_whole_as_vectors_and_pixels(tmp_path):
    Results(*[tmp_path] * 4).save_figure("x", beside(scores([0, 1])))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.png", "x.svg"]
    assert (tmp_path / "x.svg").read_text().startswith("<?xml")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


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
