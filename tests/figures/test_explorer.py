"""What the time line is given, and the piece of HTML that shows it; tests/site looks at it in a browser."""

import re

import numpy as np
import pytest
from pytest import approx

from dgam_core.figures import explorer
from dgam_core.localize import find_segments
from tests.conftest import outputs_of


@pytest.fixture
def outputs(tiny):
    """Attention is 0.5 everywhere without L_re; with it, 0.9 in the action (2 s to 4 s), 0.1 elsewhere."""
    attention = {"without": lambda i: np.full(len(i), 0.5), "with": lambda i: np.where(i // 2 == 1, 0.9, 0.1)}
    return {
        model: {
            stream: {
                v.name: outputs_of(of_snippets(np.arange(v.num_snippets)), np.zeros((v.num_snippets, 3)))
                for v in tiny.subset("test")
            }
            for stream in tiny.streams
        }
        for model, of_snippets in attention.items()
    }


@pytest.fixture
def content(tiny, outputs):
    return explorer.time_line(tiny, outputs, {"with": tiny.ground_truth("test")}, 0.5)


def test_a_video_has_its_truth_detections_and_attention(content):
    video = content["videos"][0]
    assert (video["name"], video["labels"], video["duration_s"]) == ("v2", ["jump"], 8.0)
    assert video["truth"] == [("not action", 0.0, 2.0), ("action", 2.0, 4.0), ("not action", 4.0, 8.0)]
    assert video["actions"] == [(2.0, 4.0)]
    assert video["detections"] == {"with": [(2.0, 4.0, 0.0)]}
    attention = video["attention"]["flow"]["with"]
    assert attention["cell_s"] == 1.0
    assert find_segments(np.array(attention["lam"]), 0.5).tolist() == [[2, 4]]


def test_the_change_between_the_models_is_that_of_the_contrast(content):
    assert [video["change"] for video in content["videos"]] == approx([0.8, 0.8])  # (0.9 − 0.1) − 0


def test_the_piece_of_html_brings_all_it_needs(content):
    html = explorer.as_html(content)
    assert not re.search(r"""(src|href)=["']?http""", html)
    assert html.count("</script") == html.count("<script") == 1
