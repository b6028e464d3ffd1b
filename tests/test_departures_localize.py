"""Each departure, switched on alone, changes what it should and nothing else: those of localization."""

from dataclasses import replace

import numpy as np
import pytest
from pytest import approx

from dgam_core.errors import InputError
from dgam_core.evaluation.module_analysis import localize_and_evaluate
from dgam_core.localize import Outputs, detect, propose
from dgam_core.settings import Settings
from tests.conftest import outputs_of
from tests.test_departures import on

BASE = Settings(class_threshold=0.0)


@pytest.fixture
def found():
    """One video of 8 snippets: two runs of attention, and scores of two classes."""
    lam = np.array([0.1, 0.9, 0.7, 0.2, 0.1, 0.6, 0.8, 0.05])
    tcam = np.zeros((8, 3))
    tcam[:, 1] = [-9, 2, 3, 1, -9, -9, -9, -9]
    tcam[:, 2] = [-9, -9, -9, -9, -9, 2, 1, -9]
    return outputs_of(lam, tcam)


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(float)))


def by_segment(proposals):
    """(class, first cell, last cell) → score."""
    return {
        (int(c), *np.round(8 * s, 9).tolist()): score
        for c, s, score in zip(proposals.classes, proposals.segments, proposals.scores, strict=True)
    }


def test_15_the_test_set_loses_a_video(tiny, found):
    names = ("a", "b", "video_test_0001496", "video_test_0000007")
    renamed = replace(
        tiny, videos=tuple(replace(v, name=name) for v, name in zip(tiny.videos, names, strict=True))
    )
    outputs = {"rgb": {video.name: found for video in renamed.subset("test")}}
    sizes = [localize_and_evaluate(renamed, outputs, s, [0.5]).num_videos for s in (BASE, on(BASE, 15))]
    assert sizes == [2, 1]
    assert on(BASE, 15, "activitynet12") == BASE


def test_16_proposals_are_aware_of_the_class(found):
    before, after = propose(found, found, BASE), propose(found, found, on(BASE, 16).for_stream("rgb"))
    assert (8 * before.segments).tolist() == [[1, 3], [5, 7]] * 2  # for both classes alike
    signal = 0.8 * found.attention[:, None] * sigmoid(found.tcam) + 0.2 * found.attention[:, None] ** 2
    for c in (1, 2):
        above = {t for a, b in 8 * after.segments[after.classes == c] for t in range(int(a), int(b))}
        assert above == set(np.flatnonzero(signal[:, c] > 0.03))
        assert (3 in above) == (c == 1)  # little attention there, but much of class 1
    plain, aware = by_segment(before), by_segment(after)
    assert (2, 5, 7) in plain.keys() & aware.keys()
    for key in plain.keys() & aware.keys():  # scored as before
        assert plain[key] == aware[key]
    smooth = on(BASE, 16, "activitynet12")
    assert (smooth.attention_threshold, smooth.proposal_sigma) == (0.01, 25.0)


def test_16_activitynet_smooths_what_is_thresholded():
    lam = np.zeros(400)
    lam[200] = (
        1.0  # a Gaussian of σ = 25 has its peak at 0.016 and is at 0.01 after σ·√(2·log 1.6) = 24 cells
    )
    outputs = outputs_of(lam, np.tile([0.0, 50.0, -50.0], (400, 1)))
    segments = propose(outputs, outputs, on(BASE, 16, "activitynet12")).segments * 400
    assert segments.tolist() == [[176, 225]]


def test_17_the_score_mixes_both_streams(found):
    other = Outputs(found.attention[::-1], found.tcam + 1, found.bias)
    before = propose(found, other, BASE)
    settings = on(BASE, 17).model_copy(update={"eta": 0.0})
    for stream, a in (("rgb", 0.35), ("flow", 0.65)):
        after = propose(found, other, settings.for_stream(stream))
        assert np.array_equal(after.segments, before.segments)
        lam = found.attention  # its own, on both
        for c, (start, end), score in zip(after.classes, 8 * after.segments, after.scores, strict=True):
            mixed = a * lam * sigmoid(found.tcam[:, c]) + (1 - a) * lam * sigmoid(other.tcam[:, c])
            assert score == approx((lam * mixed)[int(start) : int(end)].mean(), rel=1e-6)
    assert on(BASE, 17, "activitynet12").score_mix == 0.5


def test_18_surroundings_are_whole_cells():
    lam = np.array([0.1, 0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1])
    scores = np.arange(1.0, 10)
    outputs = outputs_of(lam, np.stack([0 * scores, scores, -9 + 0 * scores], 1))
    before, after = (propose(outputs, outputs, s).scores[0] for s in (BASE, on(BASE, 18)))
    inner = (0.9 * 2 + 0.8 * 3 + 0.7 * 4 + 0.6 * 5) / 3.0  # cells 1 to 4
    # a quarter is one cell, 0 and 5; ⌊4 / 4⌋ + 1 are two, of which the video has only 0, and 5 and 6
    assert before == approx(inner - 0.3 * 1 - 0.3 * 6, rel=1e-6)
    assert after == approx(inner - 0.3 * 1 - 0.3 * (0.4 * 6 + 0.3 * 7) / 0.7, rel=1e-6)


def test_19_the_grid_is_finer(found):
    before, after = propose(found, found, BASE), propose(found, found, on(BASE, 19))
    # λ from 0.1 to 0.9 in 20 steps exceeds 0.5 from the 11th on; from 0.7 to 0.2 it does up to the 7th
    assert np.round(160 * after.segments[0], 9).tolist() == [11, 2 * 20 + 8]
    assert (8 * before.segments[0]).tolist() == [1, 3]


def test_19_what_is_interpolated_is_the_score_of_each_snippet(found):
    change = {
        "upsampling": 2,
        "score": "cross_stream",
        "score_mix": 1.0,
        "attention_threshold": 0.6,
        "eta": 0.0,
    }
    scores = by_segment(propose(found, found, BASE.model_copy(update=change)))
    lam = found.attention.astype(float)  # above 0.6 at snippets 1 and 2 and halfway between
    first, second = (lam * lam * sigmoid(found.tcam[:, 1]))[1:3]  # λ·λσ(TCAM_c)
    assert scores[1, 1.0, 2.5] == approx((first + (first + second) / 2 + second) / 3, rel=1e-6)


def test_31_an_assumed_rate_is_that_of_the_data_or_refused(found, tiny):
    videos = {"rgb": {video.name: found for video in tiny.subset("test")}}  # snippets of 1 s
    s = on(BASE, 31)
    with pytest.raises(InputError, match=r"assumed_snippet_s: 0.64 s, but a snippet of tiny lasts 1 s"):
        detect(tiny, videos, s)
    thumos14 = replace(tiny, fps=25.0, snippet_frames=16)
    assert list(detect(thumos14, videos, s).rows()) == list(detect(thumos14, videos, BASE).rows())


def test_22_a_class_of_one_stream_is_not_thinned(tiny, found):
    settings = BASE.model_copy(update={"attention_threshold": (0.5, 0.55), "class_threshold": 0.1})
    both_classes = found.tcam.clip(min=-1)
    jumps = np.array(both_classes)
    jumps[:, 2] = -9
    names = [video.name for video in tiny.subset("test")]
    first, both = ({name: outputs_of(found.attention, x) for name in names} for x in (jumps, both_classes))
    for s, throws in ((settings, 4), (on(settings, 22), 8)):
        # 2 runs of 2 videos, each found at both thresholds; jumps are in both streams, throws in one
        table = detect(tiny, {"rgb": first, "flow": both}, s)
        assert (table.label == "jump").sum() == 4
        assert (table.label == "throw").sum() == throws


def test_23_the_class_of_index_0_is_lost_where_it_is_alone(found):
    s = BASE.model_copy(update={"class_threshold": 0.5})
    bug = on(s, 23)
    tcam = np.array(found.tcam)
    tcam[:, 1] = 9
    alone, second = (outputs_of(found.attention, tcam[:, order]) for order in ([0, 1, 2], [0, 2, 1]))
    assert propose(alone, alone, s).classes.tolist() == [1, 1]
    assert propose(alone, alone, bug).classes.tolist() == []
    assert propose(second, second, bug).classes.tolist() == [2, 2]  # the class of index 1 is not lost
    start = outputs_of([0.9] + [0.1] * 7, second.tcam)
    assert propose(start, start, s).classes.tolist() == [2]
    assert propose(start, start, bug).classes.tolist() == []  # a list of the cell of index 0 only
