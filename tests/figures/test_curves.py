from itertools import product

import pandas as pd
import pytest

from dgam_core.figures.curves import grid


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
    figure = grid(*scores_of(latent_dim=[2, 4, 8]), "mAP@0.5")
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("latent_dim", "mAP@0.5 (%)")
    assert axes.get_xscale() == "linear"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "4", "8"]
    (line,) = axes.get_lines()
    assert line.get_ydata().tolist() == pytest.approx([21, 21, 21])  # the mean of 20, 21 and 22 %
    assert figure.get_suptitle() == "mean and 95 % interval over 3 seeds, simulated"


def test_values_of_several_magnitudes_have_a_logarithmic_axis():
    (axes,) = grid(*scores_of(learning_rate=[1e-4, 1e-3, 1e-2]), "mAP@0.5").axes
    assert axes.get_xscale() == "log"
    (axes,) = grid(*scores_of(beta=[0.0, 0.001, 1.0]), "mAP@0.5").axes
    assert axes.get_xscale() == "linear"  # zero has no logarithm


def test_a_second_setting_has_colours_and_the_one_with_most_values_the_axis():
    (axes,) = (figure := grid(*scores_of(beta=[0.1, 0.2], latent_dim=[2, 4, 8]), "mAP@0.5")).axes
    assert axes.get_xlabel() == "latent_dim"
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "beta"
    assert [text.get_text() for text in legend.get_texts()] == ["0.1", "0.2"]


def test_further_settings_have_panels():
    settings = {"latent_dim": [2, 4, 8], "beta": [0.1, 0.2], "score": ["sum", "product"]}
    panels = grid(*scores_of(**settings), "mAP@0.5").axes
    assert [axes.get_title() for axes in panels] == ["score = sum", "score = product"]
    more = settings | {"classifier_bias": [True, False], "guide_detach": ["cas"]}
    titles = [axes.get_title() for axes in grid(*scores_of(**more), "mAP@0.5").axes]
    assert len(titles) == 2 * 2
    assert titles[0] == "classifier_bias = True, guide_detach = cas, score = sum"


def test_what_is_no_number_has_points_without_a_line():
    (axes,) = grid(*scores_of(score=["sum", "product"], classifier_bias=[True, False]), "mAP@0.5").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["sum", "product"]
    assert {line.get_linestyle() for line in axes.get_lines() if len(line.get_xdata()) > 2} <= {"None"}
