"""The time line's segments, labels by Vega, against those of localization."""

import re

import numpy as np
import pytest
import vl_convert

from dgam_core.figures import explorer
from dgam_core.localize import find_segments
from dgam_core.segments import tiou
from tests.conftest import outputs_of


def drawn(chart, **parameters):
    """Labels of all marks, with the parameters as the reader would set them."""
    spec = chart.properties(width=400).to_dict()
    for parameter in spec["params"]:
        parameter["value"] = parameters.get(parameter["name"], parameter.get("value"))
    return re.findall(r'aria-label="([^"]*)"[^>]*rect mark', vl_convert.vegalite_to_svg(spec))


@pytest.fixture
def outputs(tiny):
    random = np.random.default_rng(1)
    tests = tiny.subset("test")
    return {
        model: {
            stream: {
                v.name: outputs_of(random.random(v.num_snippets), np.zeros((v.num_snippets, 3)))
                for v in tests
            }
            for stream in tiny.streams
        }
        for model in ("without", "with")
    }


@pytest.fixture
def chart(tiny, outputs):
    return explorer.time_line(tiny, outputs, {"with": tiny.ground_truth("test")}, 0.5)


@pytest.mark.parametrize("threshold", [0.0, 0.37, 0.5, 0.81, 1.0])
@pytest.mark.parametrize("stream", ["rgb", "flow"])
def test_segments_and_their_tiou_follow_the_threshold(tiny, outputs, chart, threshold, stream):
    video = tiny.subset("test")[1]  # snippets of 1 s; action from 2 s to 4 s
    labels = drawn(chart, video=video.name, stream=stream, threshold=threshold)
    for model in ("without", "with"):
        attention = outputs[model][stream][video.name].attention.round(4)
        expected = [
            f"{model}, {start:.2f} s to {end:.2f} s, tIoU {tiou((start, end), (2.0, 4.0)):.2f}"
            for start, end in find_segments(attention, threshold)
        ]
        assert [label for label in labels if label.startswith(f"{model},") and "tIoU" in label] == expected


def test_truth_and_detections_are_those_of_the_video(chart):
    labels = drawn(chart, video="v2")
    assert [label for label in labels if "tIoU" not in label] == [
        "not action, 0.00 s to 2.00 s",
        "action, 2.00 s to 4.00 s",
        "not action, 4.00 s to 8.00 s",
        "with, 2.00 s to 4.00 s, score 0.000",
    ]


def test_the_piece_of_html_brings_all_it_needs(chart):
    html = explorer.as_html(chart)
    assert not re.search(r"""(src|href)=["']?http""", html)
    assert html.count("</script") == html.count("<script") == 1
