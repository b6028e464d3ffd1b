import json

import numpy as np
import pytest

from dgam_core.cli import report
from dgam_core.errors import InputError
from dgam_core.evaluation.diagnosis import diagnose
from dgam_core.evaluation.mean_ap import mean_average_precision
from dgam_core.segments import SegmentTable

TRUTH = SegmentTable.from_rows(
    [("v", "x", 0, 10, 0), ("v", "Ambiguous", 20, 30, 0), ("v", "\x1b[31my", 5, 5, 0)]
)
DETECTIONS = SegmentTable.from_rows([("v", "x", 0, 10, 1), ("v", "x", 21, 30, 2), ("u", "x", 0, 1, 0.5)])


def results(protocol):
    evaluation = mean_average_precision(DETECTIONS, TRUTH, ["v"], [0.1, 0.5], protocol)
    return evaluation, "a-set", diagnose(DETECTIONS, TRUTH, 0.5, protocol)


def test_the_text_says_what_was_evaluated_and_moves_no_cursor():
    text = report.as_text(*results("thumos"))
    assert text.splitlines()[:3] == [
        "3 detections; 2 segments; 2 classes; 1 videos (a-set); protocol thumos; 1 ambiguous segments",
        "tIoU      0.10   0.50    mean",
        "mAP %    50.00  50.00   50.00",
    ]
    assert "\x1b" not in text
    assert "�[31my" in text
    assert "  right              100.0   50.0" in text.splitlines()
    assert "Recall at tIoU 0.50 by segment length (s)" in text
    assert len(report.as_text(*results("thumos")[:2], None).splitlines()) == 3


def test_the_object_is_json_and_holds_the_same():
    content = json.loads(json.dumps(report.as_dict(*results("thumos"))))
    assert content["map"] == [0.5, 0.5]
    assert (content["protocol"], content["test_set"], content["num_ambiguous"]) == ("thumos", "a-set", 1)
    # the ambiguous one does not count: the hit is the first of class x, the one elsewhere the second
    assert content["diagnosis"]["causes"]["right"][:2] == [1, 0]
    assert content["diagnosis"]["causes"]["background"][:2] == [0, 1]
    assert sum(content["diagnosis"]["recall"]["segment length (s)"]["segments"]) == 2
    assert content["diagnosis"]["curves"]["x"] == {"precision": [1.0], "recall": [1.0]}
    assert "diagnosis" not in report.as_dict(*results("anet")[:2], None)


def test_shares_of_nothing_are_none():
    nothing = SegmentTable.from_rows([])
    result = mean_average_precision(nothing, TRUTH, ["v"], [0.5])
    text = report.as_text(result, None, diagnose(nothing, TRUTH, 0.5)).splitlines()
    assert "mAP %     0.00    0.00" in text
    assert "  right               none   none" in text
    assert "  background          none   none" in text


def test_exact_arithmetic_stands_beside_with_the_difference():
    # on a grid of 0.64 s: 4 of 5, of which floats make 0.7999999999999998, beside a threshold of 0.8
    truth = SegmentTable.from_rows([("v", "x", 0.64, 3.84, 0), ("w", "x", 0, 1, 0)])
    detections = SegmentTable.from_rows([("v", "x", 1.28, 3.84, 1)])
    result, exact = (
        mean_average_precision(detections, truth, ["v", "w"], [0.7, 0.8], exact=exact)
        for exact in (False, True)
    )
    assert report.as_text(result, None, None, exact).splitlines()[2:] == [
        "mAP %    50.00   0.00   25.00",
        "exact    50.00  50.00   50.00",
        "differ   +0.00 -50.00  -25.00",
    ]
    assert report.as_dict(result, None, None, exact)["exact"] == {
        "map": [0.5, 0.5],
        "average_map": 0.5,
        "difference": [0.0, -0.5],
    }


def test_oddities_are_reported():
    assert report.oddities(results("thumos")[0]) == [
        "1 detections lie in videos outside the ground truth and count as false positives",
        "1 segments or detections have no length and match nothing",
    ]
    assert report.oddities(results("anet")[0])[-1] == (
        "1 segments are called Ambiguous and are a class like any other; --protocol thumos ignores them"
    )


@pytest.mark.parametrize("text", ["3", "0:1:0.1", "0.5:0.1:0.1", "0.1:0.9:0", "a:b:c", "0.1:1.5:0.1"])
def test_invalid_thresholds_are_refused(text):
    with pytest.raises(InputError, match="should be FIRST:LAST:STEP"):
        report.read_thresholds(text)


def test_thresholds_include_both_ends():
    assert report.read_thresholds("0.5:0.95:0.05")[::9] == [0.5, 0.95]
    assert report.read_thresholds("0.3:0.3:0.1") == [0.3]


def test_thresholds_are_those_of_linspace_to_the_last_bit():
    assert report.read_thresholds("0.1:0.9:0.1") == np.linspace(0.1, 0.9, 9).tolist()
    assert report.read_thresholds("0.1:0.9:0.1")[2] == 0.1 + 2 * 0.1 != 0.3
    assert report.read_thresholds("0.1:0.7:0.1")[2] == 0.3
    assert report.read_thresholds("0.5:0.95:0.05") == np.linspace(0.5, 0.95, 10).tolist()
