import pandas as pd
from pytest import approx

from dgam_core.experiments.places import Results
from dgam_core.figures import bars

PUBLISHED = {"L_fg": 21.5, "+ L_bg": 24.8}


def scores(seeds):
    rows = [(row, seed, 0.1 * (i + 1) + 0.01 * seed) for i, row in enumerate(PUBLISHED) for seed in seeds]
    return pd.DataFrame(rows, columns=["row", "seed", "map"])


def beside(scores):
    return bars.bars_beside_published(scores, "simulated", PUBLISHED, "THUMOS14", "losses")


def test_bars_show_this_run_and_the_published_values_apart():
    figure = beside(scores([0, 1, 2]))
    left, right = figure.axes
    # means of 10, 11, 12 and 20, 21, 22 %
    assert [bar.get_height() for bar in left.patches] == approx([11, 21])
    assert [bar.get_height() for bar in right.patches] == [21.5, 24.8]
    assert "simulated" in left.get_title()
    assert "Published" in right.get_title()
    assert left.get_ylim() == right.get_ylim()
    for axes in figure.axes:
        assert axes.get_ylabel() == "mAP at tIoU 0.5 (%)"
        assert axes.get_xlabel()
    points = [value for line in left.lines if line.get_marker() == "o" for value in line.get_ydata()]
    assert sorted(points) == approx([10, 11, 12, 20, 21, 22])


def test_bars_of_one_seed_have_no_spread():
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
    assert [bar.get_width() for bar in left.patches if bar.get_width()] == approx([1.5, 1.5, 2.5, 2.5])
    assert [bar.get_width() for bar in right.patches if bar.get_width()] == approx([1, 1, 2, 2])
    assert "simulated" in left.get_title()
    assert "Published" in right.get_title()
    assert left.get_xlabel() == right.get_xlabel() == "share of the action snippets"
