"""Segments at random."""

import numpy as np

from dgam_core.rivals.random_segments import RandomSegments, Settings


def answer(count, p):
    return {"rgb": {"p": np.array(p), "count": np.array(count)}}


def test_likely_classes_alone_are_detected_anywhere():
    found = RandomSegments.localize(answer(100.0, [0.7, 0.3, 0.0]), Settings(nms_tiou=1.0))
    assert [int((found.classes == c).sum()) for c in (1, 2, 3)] == [20, 20, 0]
    # The mean of 40 middles, each with the deviation 1/√24: within three standard errors of one half
    assert abs(found.segments.mean() - 0.5) < 3 / np.sqrt(24 * 40)
    assert (found.scores <= 0.7).all()


def test_the_same_video_gets_the_same_segments_and_another_class_others():
    one, again = (RandomSegments.localize(answer(50.0, [0.9, 0.1]), Settings()) for _ in range(2))
    assert np.array_equal(one.segments, again.segments)
    other = RandomSegments.localize(answer(50.0, [0.1, 0.9]), Settings(class_threshold=0.5))
    assert not np.array_equal(one.segments[one.classes == 1], other.segments)
