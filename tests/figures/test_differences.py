from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from pytest import approx

from dgam_core.experiments.places import Results
from dgam_core.experiments.published import Published
from dgam_core.experiments.study import Differences
from dgam_core.figures import differences

COLLAPSED = "one of the two runs collapsed"
POINTS = {
    "released": pd.DataFrame({"5 scale": [8.0, 10.0, 12.0], "2 place": [-1.0, 0.0, 1.0], "18 x": [0.0] * 3}),
    "paper": pd.DataFrame({"5 scale": [1.0, 3.0], "2 place": [2.0, 2.0], "18 x": [0.0, 0.0]}),
}


def healthy(points):
    """Differences of runs of which none has collapsed."""
    return Differences(points, points.astype(bool) & False)


FOUND = {preset: healthy(points) for preset, points in POINTS.items()}


def spans(axes):
    """Row → ends of its interval."""
    lines = [line for line in axes.lines if line.get_linewidth() == 4]
    return {line.get_ydata()[0]: line.get_xdata() for line in lines}


def test_effects_have_a_panel_per_preset_with_the_same_rows():
    figure = differences.by_change(FOUND, "simulated", chance="2 place")
    released, paper = figure.axes
    assert [label.get_text() for label in released.get_yticklabels()] == ["5 scale", "2 place", "18 x"]
    assert released.get_ylim() == paper.get_ylim()
    assert released.yaxis_inverted()
    assert released.get_title() == "released\nsimulated\n3 seeds"
    assert paper.get_title() == "paper\nsimulated\n2 seeds"
    means = [[line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"] for axes in figure.axes]
    assert means == [[10, 0, 0], [2, 2, 0]]
    # t of 2 degrees of freedom is 4.303, of 1 it is 12.706; the sd is 2 of three seeds, √2 of two
    assert spans(released)[0] == approx([10 - 4.303 * 2 / 3**0.5, 10 + 4.303 * 2 / 3**0.5], abs=1e-3)
    assert spans(paper)[0] == approx([2 - 12.706, 2 + 12.706], abs=1e-3)
    assert COLLAPSED not in legend(figure)


def test_an_interval_ends_where_a_difference_of_percentages_can():
    # sd 20 / √2 of two seeds, t 12.706: ± 127.06
    points = pd.DataFrame({"wide": [-10.0, 10.0], "high": [40.0, 60.0], "chance": [-10.0, 10.0]})
    (axes,) = differences.by_change({"paper": healthy(points)}, "simulated", chance="chance").axes
    wide, high, chance = spans(axes).values()
    assert list(wide) == list(chance) == [-100, 100]
    assert list(high) == approx([50 - 127.06, 100], abs=0.01)
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert [band.x0, band.x1] == approx([-100, 100])
    low, high = axes.get_xlim()  # little more than the range
    assert -120 < low < -100
    assert 100 < high < 120
    found = healthy(points[["wide"]].set_axis([2.0], axis=1))
    axes = differences.over_setting(found, 1.0, "simulated", None, None, "β", False).axes[0]
    (interval,) = [line for line in axes.lines if line.get_linewidth() == 4]
    assert list(interval.get_ydata()) == [-100, 100]


def test_the_band_is_the_interval_of_chance_in_each_preset():
    figure = differences.by_change(FOUND, "simulated", chance="2 place")
    bands = [axes.patches[0].get_extents().transformed(axes.transData.inverted()) for axes in figure.axes]
    # the sd of −1, 0, 1 is 1; that of 2, 2 is 0
    assert [bands[0].x0, bands[0].x1] == approx([-4.303 / 3**0.5, 4.303 / 3**0.5], abs=1e-3)
    assert [bands[1].x0, bands[1].x1] == approx([2, 2])
    assert "95 % interval of chance (2)" in legend(figure)


def test_seeds_stand_above_the_interval_that_they_would_hide():
    figure = differences.by_change(FOUND, "simulated", chance="2 place")
    for axes in figure.axes:
        seeds = [line for line in axes.lines if line.get_marker() == "."]
        for row, line in enumerate(seeds):
            assert (line.get_ydata() < row - 0.1).all()  # the axis is inverted
            assert (line.get_ydata() > row - 0.5).all()  # and nearer than the row above


def test_collapsed_seeds_are_marked_in_the_effects():
    bad = FOUND["paper"].collapsed.copy()
    bad.loc[1, "5 scale"] = True
    found = FOUND | {"paper": Differences(POINTS["paper"], bad)}
    figure = differences.by_change(found, "simulated", chance="2 place")
    released, paper = figure.axes
    crosses = [[*line.get_xdata()] for line in paper.lines if line.get_marker() == "x"]
    assert crosses == [[3], [], []]
    dots = [[*line.get_xdata()] for line in paper.lines if line.get_marker() == "."]
    assert dots == [[1], [2, 2], [0, 0]]
    assert all(not len(line.get_xdata()) for line in released.lines if line.get_marker() == "x")
    assert COLLAPSED in legend(figure)


def test_a_seed_far_out_stands_at_the_edge_and_moves_no_mean():
    """Of 100 seeds at 0, one at −100: 2 % of all seeds lie beyond the axis at most."""
    far = healthy(pd.DataFrame({"2 place": [-100.0] + [0.0] * 99, "5 scale": [1.0] * 100}))
    (axes,) = differences.by_change({"paper": far}, "simulated", chance="2 place").axes
    low, high = axes.get_xlim()
    # the mean of chance is −1; its interval, −1 ± 1.984 · 10 / √100, is whole
    assert low < -2.984
    assert low > -10
    assert high > 1
    leftmost = min(line.get_xdata().min() for line in axes.lines if line.get_marker() == ".")
    assert low < leftmost < -2.984
    assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"] == approx([-1, 1])


def legend(figure):
    (found,) = figure.legends
    return [text.get_text() for text in found.get_texts()]


def test_published_differences_have_a_panel_of_their_own_with_the_same_rows():
    printed = {"5 scale": 3.3, "2 place": 1.9, "18 x": -0.5}
    figure = differences.by_change(FOUND, "simulated", printed, "THUMOS14, I3D features")
    *ours, published = figure.axes
    assert [axes.get_title().splitlines()[0] for axes in ours] == ["released", "paper"]
    assert published.get_title() == "published\nTHUMOS14,\nI3D features"
    (squares,) = (line for line in published.lines if line.get_marker() == "s")
    assert [*squares.get_xdata()] == [3.3, 1.9, -0.5]
    assert [*squares.get_ydata()] == [0, 1, 2]
    assert published.get_ylim() == ours[0].get_ylim()
    assert len({axes.get_xlim() for axes in figure.axes}) == 1  # one scale, so that lengths can be compared
    assert {axes.get_xlabel() for axes in figure.axes} == {"points of mAP@0.5"}


def test_titles_and_legend_do_not_overlap_and_are_whole():
    losses = pd.DataFrame({name: np.arange(30.0) for name in ("+ L_bg", "+ L_guide", "+ L_re")})
    bad = losses > 28
    found = {"paper": Differences(losses, bad), "released": Differences(losses, bad)}
    printed = dict.fromkeys(losses, 1.0)
    figure = differences.by_change(
        found, "measured on real features", printed, "THUMOS14 test set, I3D features"
    )
    figure.canvas.draw()
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    for box in (*boxes, figure.legends[0].get_window_extent()):
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[0] == r"+ $\mathcal{L}_{bg}$"


SWEEP = healthy(pd.DataFrame({2: [-3.0, -1.0], 32: [1.0, 1.0]}))


def test_a_setting_has_its_differences_from_the_base_and_the_published_ones_beside():
    printed = Published("THUMOS14", pd.DataFrame({16: [26.5], 128: [28.8], 512: [27.7]}, index=["DGAM"]))
    figure = differences.over_setting(SWEEP, 8, "simulated", printed, 128, "dimension", log=True)
    left, right = figure.axes
    means = [(line.get_xdata()[0], line.get_ydata()[0]) for line in left.lines if line.get_marker() == "D"]
    assert means == [(2, -2), (32, 1)]
    # t of one degree of freedom is 12.706, the sd of −3 and −1 is √2: −2 ± 12.706
    assert spans_of(left)[2] == approx([-14.706, 10.706], abs=1e-3)
    assert [
        (line.get_xdata()[0], line.get_ydata()[0]) for line in left.lines if line.get_marker() == "o"
    ] == [(8, 0)]
    (squares,) = (line for line in right.lines if line.get_marker() == "s")
    assert [*squares.get_ydata()] == approx([26.5 - 28.8, 0, 27.7 - 28.8])
    assert [label.get_text() for label in left.get_xticklabels()] == ["2", "8", "32"]
    assert left.get_title() == "This run, against 8\nsimulated, 2 seeds"
    assert right.get_title() == "Published, against 128\nTHUMOS14"
    assert left.get_ylim() == right.get_ylim()


def spans_of(axes):
    """Value of the setting → ends of its interval."""
    return {line.get_xdata()[0]: [*line.get_ydata()] for line in axes.lines if line.get_linewidth() == 4}


@pytest.mark.parametrize("log", [False, True])
def test_the_seeds_of_one_value_do_not_reach_those_of_the_next(log):
    values = {float(value): np.zeros(10) for value in (1, 2, 4)}
    found = healthy(pd.DataFrame(values))
    (axes,) = differences.over_setting(found, 3.0, "simulated", None, None, "r", log=log).axes
    places = sorted(
        (line.get_xdata().min(), line.get_xdata().max()) for line in axes.lines if line.get_marker() == "."
    )
    assert len(places) == 3
    assert all(one[1] < other[0] for one, other in pairwise(places))


def test_the_figure_in_words():
    words = differences.in_words({"released": healthy(POINTS["released"][["5 scale"]])}, "simulated")
    # 10 ± 4.303 · 2 / √3
    assert words == (
        "Paired differences in points of mAP@0.5, with 95 % intervals. "
        "released, simulated, 3 seeds: 5 scale +10.0 (+5.0 to +15.0)."
    )


def test_figures_are_saved_whole_as_vectors_and_pixels(tmp_path):
    Results(*[tmp_path] * 4).save_figure("x", differences.by_change(FOUND, "simulated"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.png", "x.svg"]
    assert (tmp_path / "x.svg").read_text().startswith("<?xml")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
