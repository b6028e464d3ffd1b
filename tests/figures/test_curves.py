from itertools import product

import numpy as np
import pandas as pd
import pytest
from pytest import approx

from dgam_core.evaluation.intervals import summarize
from dgam_core.experiments.published import Published
from dgam_core.figures import curves


def scores_of(**settings):
    columns = [*settings, "seed", "choice", "tiou", "map", "main", "provenance"]
    rows = [
        (*point, seed, choice, tiou, 0.1, 0.2 + 0.01 * seed, "simulated")
        for point in product(*settings.values())
        for seed in range(3)
        for choice in ("last", "label_only")
        for tiou in (0.1, 0.5)
    ]
    return pd.DataFrame(rows, columns=columns), list(settings)


@pytest.fixture(autouse=True)
def warnings_are_errors(recwarn):
    yield
    assert [str(warning.message) for warning in recwarn if warning.category is UserWarning] == []


def test_one_setting_is_a_line_with_its_values_as_ticks():
    figure = curves.grid(*scores_of(latent_dim=[2, 4, 8]), "mAP@0.5")
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("latent_dim", "mAP@0.5 (%)")
    assert axes.get_xscale() == "linear"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "4", "8"]
    (line,) = axes.get_lines()
    assert line.get_ydata().tolist() == approx([21, 21, 21])  # the mean of 20, 21 and 22 %
    assert figure.get_suptitle() == "mean and 95 % interval over 3 seeds, simulated"


def test_values_of_several_magnitudes_have_a_logarithmic_axis():
    (axes,) = curves.grid(*scores_of(learning_rate=[1e-4, 1e-3, 1e-2]), "mAP@0.5").axes
    assert axes.get_xscale() == "log"
    (axes,) = curves.grid(*scores_of(beta=[0.0, 0.001, 1.0]), "mAP@0.5").axes
    assert axes.get_xscale() == "linear"  # zero has no logarithm


def test_a_second_setting_has_colours_and_the_one_with_most_values_the_axis():
    (axes,) = (figure := curves.grid(*scores_of(beta=[0.1, 0.2], latent_dim=[2, 4, 8]), "mAP@0.5")).axes
    assert axes.get_xlabel() == "latent_dim"
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "beta"
    assert [text.get_text() for text in legend.get_texts()] == ["0.1", "0.2"]


def test_further_settings_have_panels():
    settings = {"latent_dim": [2, 4, 8], "beta": [0.1, 0.2], "score": ["sum", "product"]}
    panels = curves.grid(*scores_of(**settings), "mAP@0.5").axes
    assert [axes.get_title() for axes in panels] == ["score = sum", "score = product"]
    more = settings | {"classifier_bias": [True, False], "guide_detach": ["cas"]}
    titles = [axes.get_title() for axes in curves.grid(*scores_of(**more), "mAP@0.5").axes]
    assert len(titles) == 2 * 2
    assert titles[0] == "classifier_bias = True, guide_detach = cas, score = sum"


def test_values_that_are_not_numbers_have_points_without_a_line():
    (axes,) = curves.grid(*scores_of(score=["sum", "product"], classifier_bias=[True, False]), "mAP@0.5").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["sum", "product"]
    assert {line.get_linestyle() for line in axes.get_lines() if len(line.get_xdata()) > 2} <= {"None"}
    (axes,) = curves.grid(*scores_of(score=["sum", "product"]), "mAP@0.5").axes  # alone, without colours
    assert [label.get_text() for label in axes.get_xticklabels()] == ["sum", "product"]


METHODS = {"DGAM": [60.0, 46.8, 28.8], "Best": [60.4, float("nan"), 26.8]}
PRINTED = Published("THUMOS14", pd.DataFrame(METHODS, index=[0.1, 0.3, 0.5]).T.assign(average=9.0))


def scores_over_tiou(presets):
    """45, 35 and 25 % and ten more for the second seed; ten more in the second preset."""
    rows = [
        (preset, seed, tiou, 0.5 - tiou / 2 + (seed + i) / 10)
        for i, preset in enumerate(presets)
        for seed in (0, 1)
        for tiou in (0.1, 0.3, 0.5)
    ]
    return pd.DataFrame(rows, columns=["preset", "seed", "tiou", "map"]).assign(row="DGAM")


def over_tiou(presets):
    return curves.over_tiou(scores_over_tiou(presets), "simulated", PRINTED, "Best")


def test_map_over_tiou_shows_the_published_as_published():
    figure = over_tiou(["paper"])
    axes, printed = figure.axes
    (ours,) = axes.lines
    dgam, best = printed.lines
    assert ours.get_ydata().tolist() == approx([50, 40, 30])  # the mean of both seeds
    assert dgam.get_ydata().tolist() == [60, 46.8, 28.8]
    assert best.get_xydata().tolist() == [[0.1, 60.4], [0.5, 26.8]]  # a line across what is not printed
    assert best.get_marker() != dgam.get_marker()
    labels = [line.get_label() for line in (ours, dgam, best)]
    assert labels == ["this run, paper", "DGAM, published", "Best, published"]
    assert axes.get_title().startswith("This run, simulated")
    assert "THUMOS14" in printed.get_title()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("tIoU threshold", "mAP (%)")


def test_map_over_tiou_has_a_line_and_an_interval_per_preset():
    figure = over_tiou(["paper", "released"])
    axes, _ = figure.axes
    paper, released = axes.lines
    assert paper.get_ydata().tolist() == approx([50, 40, 30])
    assert released.get_ydata().tolist() == approx([60, 50, 40])
    assert paper.get_color() != released.get_color()
    band, _ = axes.collections
    # of two seeds 10 apart: 50 ± 12.706 · (10 / √2) / √2 is −13.5 to 113.5, and mAP lies in 0 to 100 %
    at_first = band.get_paths()[0].vertices
    ends = at_first[np.isclose(at_first[:, 0], 0.1), 1]
    assert [ends.min(), ends.max()] == [0, 100]
    figure.canvas.draw()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:2] == [
        "this run, paper",
        "this run, released",
    ]
    assert legend.get_window_extent().x0 >= 0
    assert legend.get_window_extent().x1 <= figure.bbox.x1


def test_map_over_tiou_in_words():
    assert curves.in_words(scores_over_tiou(["paper", "released"]), "simulated") == (
        "mAP in percent over the tIoU threshold, simulated, mean over the seeds. "
        "paper, DGAM: 50.0 at 0.1, 40.0 at 0.3, 30.0 at 0.5; "
        "released, DGAM: 60.0 at 0.1, 50.0 at 0.3, 40.0 at 0.5."
    )


def test_a_phase_figure_says_what_is_undecided():
    """By Student's t the mean of 1.9 and 2.1 is 2 ± 12.7 · 0.1, that of 1 and 3 is 2 ± 12.7."""
    index = pd.MultiIndex.from_product([(0.0, 1.0), (1.0, 2.0)], names=["a", "b"])
    steps = [[1.9, 2.1], [1, 3], [0.2, 0.2], [-2.1, -1.9]]
    changes = pd.Series([summarize(step) for step in steps], index)
    figure = curves.phase(changes, "simulated", "A change", "points")
    axes = figure.axes[0]
    # the highest a on top; below it on the right, 2 ± 12.7 is undecided
    assert [label.get_text() for label in axes.texts] == ["≈ 0", "−2.0", "+2.0", "undecided"]
    assert axes.texts[-1].get_position() == (1.5, 1.5)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("b", "a")
    assert figure.axes[1].get_ylabel() == "points"
    assert "simulated" in axes.get_title()
