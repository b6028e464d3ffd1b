import numpy as np
from pytest import approx

from dgam_core.evaluation.diagnosis import CAUSES, diagnose
from dgam_core.figures import errors
from dgam_core.segments import SegmentTable


def a_diagnosis(right, wrong=10):
    """Ten actions of 1 to 10 s, the first few of them found, and ten detections in the background."""
    truth = [("v", "x", 100.0 * i, 100.0 * i + i + 1, 0.0) for i in range(10)]
    found = [(*row[:4], 2.0) for row in truth[:right]] + [("u", "x", 0.0, 1.0, 1.0)] * wrong
    return diagnose(SegmentTable.from_rows(found), SegmentTable.from_rows(truth), 0.5)


def widths(axes):
    return {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers}


def test_shares_of_causes_add_up_over_seeds():
    figure = errors.causes_by_row(
        {"without": [a_diagnosis(2), a_diagnosis(4)], "with": [a_diagnosis(10), a_diagnosis(10)]}, "simulated"
    )
    surest, more = figure.axes
    # of the surest ten, 2 and 4 are right, then all; of up to a hundred, 2 of 12 and 4 of 14, then 10 of 20
    assert widths(surest)["right"] == approx([30, 100])
    assert widths(surest)["background"] == approx([70, 0])
    assert widths(more)["right"] == approx([100 * 6 / 26, 50])
    assert set(widths(surest)) == set(CAUSES) == set(errors.COLOURS)
    assert "simulated" in figure.get_suptitle()
    assert all(axes.get_xlabel() == "share (%)" for axes in figure.axes)


def test_seeds_that_find_nothing_are_told():
    """Their part in the shares is nothing: two thirds may be right while two of three seeds find nothing."""
    nothing = a_diagnosis(0, 0)
    rows = {"a": [a_diagnosis(2), nothing, nothing], "b": [a_diagnosis(1)] * 3, "c": [nothing]}
    figure = errors.causes_by_row(rows, "simulated")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["a\n2 of 3 seeds find nothing", "b", "c\n1 of 1 seeds find nothing"]
    assert widths(figure.axes[0])["right"] == approx([20, 10, 0])
    figure = errors.causes_and_recall([a_diagnosis(2), nothing], "simulated")
    assert figure.get_suptitle().endswith("at tIoU 0.5, 1 of 2 seeds find nothing, simulated")


def test_slices_and_recall_by_length():
    figure = errors.causes_and_recall([a_diagnosis(2), a_diagnosis(4)], "measured on real features")
    left, right = figure.axes
    assert widths(left)["right"][:2] == approx([30, 0])
    assert np.isfinite(widths(left)["right"]).all()  # slices without a detection are empty
    # the two shortest are found twice, the next two once; five bins of two actions
    assert [bar.get_height() for bar in right.containers[0]] == approx([100, 50, 0, 0, 0])
    assert (right.get_ylabel(), right.get_xlabel()) == ("found (%)", "length of the action (s)")


def test_the_mean_curve_has_the_map_as_its_area():
    figure = errors.precision_over_recall(a_diagnosis(4), "simulated")
    *classes, mean = figure.axes[0].lines
    assert len(classes) == 1
    # four of ten are found before anything else: precision 1 up to a recall of 0.4
    assert mean.get_ydata()[:80] == approx(np.full(80, 100.0))
    assert mean.get_ydata()[82:] == approx(np.zeros(119))
    assert mean.get_ydata().mean() == approx(40, abs=0.5)
