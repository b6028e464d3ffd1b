import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest

from dgam_core import figures
from dgam_core.runs import Results

PUBLISHED = {"L_fg": 21.5, "+ L_bg": 24.8}


@pytest.fixture(autouse=True)
def no_screen():
    mpl.use("agg")
    yield
    plt.close("all")


def scores(seeds):
    rows = [(row, seed, 0.1 * (i + 1) + 0.01 * seed) for i, row in enumerate(PUBLISHED) for seed in seeds]
    return pd.DataFrame(rows, columns=["row", "seed", "map"])


def test_ablation_shows_ours_and_the_published_apart():
    figure = figures.ablation(scores([0, 1, 2]), "simulated", PUBLISHED, "THUMOS14")
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


def test_ablation_of_one_seed_has_no_spread():
    figure = figures.ablation(scores([0]), "simulated", PUBLISHED, "THUMOS14")
    assert "1 seed" in figure.axes[0].get_title()


def test_figures_are_saved_whole_as_vectors_and_pixels(tmp_path):
    Results(tmp_path, tmp_path).save_figure(
        "x", figures.ablation(scores([0, 1]), "simulated", PUBLISHED, "THUMOS14")
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.png", "x.svg"]
    assert (tmp_path / "x.svg").read_text().startswith("<?xml")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
