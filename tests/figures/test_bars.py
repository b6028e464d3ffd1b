import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest

from dgam_core.experiments.places import Results
from dgam_core.experiments.published import Published
from dgam_core.figures import bars, curves

PUBLISHED = {"L_fg": 21.5, "+ L_bg": 24.8}


@pytest.fixture(autouse=True)
def no_screen():
    mpl.use("agg")
    yield
    plt.close("all")


def scores(seeds):
    rows = [(row, seed, 0.1 * (i + 1) + 0.01 * seed) for i, row in enumerate(PUBLISHED) for seed in seeds]
    return pd.DataFrame(rows, columns=["row", "seed", "map"])


def beside(scores):
    return bars.bars_beside_published(scores, "simulated", PUBLISHED, "THUMOS14", "losses")


def test_bars_show_ours_and_the_published_apart():
    figure = beside(scores([0, 1, 2]))
    ours, theirs = figure.axes
    assert [bar.get_height() for bar in ours.patches] == pytest.approx(
        [11, 21]
    )  # means of 10, 11, 12 and 20, 21, 22 %
    assert [bar.get_height() for bar in theirs.patches] == [21.5, 24.8]
    assert "simulated" in ours.get_title()
    assert "Published" in theirs.get_title()
    assert ours.get_ylim() == theirs.get_ylim()
    for axes in figure.axes:
        assert axes.get_ylabel() == "mAP at tIoU 0.5 (%)"
        assert axes.get_xlabel()
    points = [value for line in ours.lines if line.get_marker() == "o" for value in line.get_ydata()]
    assert sorted(points) == pytest.approx([10, 11, 12, 20, 21, 22])


def test_bars_of_one_seed_has_no_spread():
    figure = beside(scores([0]))
    assert "1 seed" in figure.axes[0].get_title()


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
    assert [bar.get_width() for bar in left.patches if bar.get_width()] == pytest.approx([1.5, 1.5, 2.5, 2.5])
    assert [bar.get_width() for bar in right.patches if bar.get_width()] == pytest.approx([1, 1, 2, 2])
    assert "simulated" in left.get_title()
    assert "Published" in right.get_title()
    assert left.get_xlabel() == right.get_xlabel() == "share of the action snippets"


def test_map_over_tiou_shows_the_published_as_published():
    scores = pd.DataFrame(
        [(seed, tiou, 0.5 - tiou / 2 + seed / 10) for seed in (0, 1) for tiou in (0.1, 0.3, 0.5)],
        columns=["seed", "tiou", "map"],
    )
    methods = {"DGAM": [60.0, 46.8, 28.8], "Best": [60.4, float("nan"), 26.8]}
    printed = Published("THUMOS14", pd.DataFrame(methods, index=[0.1, 0.3, 0.5]).T.assign(average=9.0))
    figure = curves.over_tiou(scores, "simulated", printed, "Best")
    (axes,) = figure.axes
    ours, dgam, best = axes.lines
    assert ours.get_ydata().tolist() == pytest.approx([50, 40, 30])  # the mean of both seeds
    assert dgam.get_ydata().tolist() == [60, 46.8, 28.8]
    assert best.get_xydata().tolist() == [[0.1, 60.4], [0.5, 26.8]]  # a line across what is not printed
    assert best.get_marker() != dgam.get_marker()
    labels = [line.get_label() for line in axes.lines]
    assert labels == ["this run, simulated", "DGAM, published", "Best, published"]
    assert "THUMOS14" in axes.get_title()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("tIoU threshold", "mAP (%)")


def test_a_sweep_has_the_published_values_beside_it_where_there_are_any():
    scores = pd.DataFrame(
        [(row, seed, row / 10) for row in (1, 2) for seed in (0, 1)], columns=["row", "seed", "map"]
    )
    alone = curves.sweep(scores, "simulated", None, "r", log=False)
    assert len(alone.axes) == 1
    printed = Published("THUMOS14", pd.DataFrame({16: [26.5], 32: [27.5]}, index=["DGAM"]))
    ours, theirs = curves.sweep(scores, "simulated", printed, "z", log=True).axes
    assert ours.lines[0].get_ydata().tolist() == [10, 20]
    assert theirs.lines[0].get_ydata().tolist() == [26.5, 27.5]
    assert [label.get_text() for label in theirs.get_xticklabels()] == ["16", "32"]
    assert "simulated" in ours.get_title()
    assert "Published" in theirs.get_title()
    assert ours.get_ylim() == theirs.get_ylim()
