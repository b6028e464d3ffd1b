from itertools import pairwise

import numpy as np
import pytest

from dgam_core.extraction.flow import LIMIT, flows, tvl1


def moving(count, dx, dy):
    """A pattern that moves by (dx, dy) pixels a picture."""
    y, x = np.mgrid[:226, :240]
    return [
        (
            127
            + 60 * np.sin((x - dx * i) / 6) * np.cos((y - dy * i) / 8)
            + 30 * np.sin((x + y - (dx + dy) * i) / 11)
        ).astype(np.uint8)
        for i in range(count)
    ]


@pytest.mark.parametrize(("dx", "dy"), [(2, 0), (-1, 3)])
def test_flow_is_the_movement_right_and_down_over_twenty(dx, dy):
    flow = tvl1(tuple(moving(2, dx, dy)))
    assert flow.shape == (224, 224, 2)
    assert flow.dtype == np.float32
    assert np.median(flow.reshape(-1, 2), axis=0) * LIMIT == pytest.approx([dx, dy], abs=0.15)


def test_large_movements_are_clipped(monkeypatch):
    class Far:
        def calc(self, before, after, flow):
            return np.tile(np.array([30.0, -25.0], np.float32), (256, 256, 1))

    monkeypatch.setattr("cv2.optflow.DualTVL1OpticalFlow_create", Far)
    flow = tvl1((np.zeros((256, 256), np.uint8),) * 2)
    assert (flow == [1, -1]).all()


def test_each_frame_has_a_flow_and_the_last_moves_as_the_one_before():
    grey = moving(4, 2, 1)
    expected = [tvl1(pair) for pair in pairwise(grey)]
    for workers in (1, 2):
        found = list(flows([np.repeat(picture[..., None], 3, axis=-1) for picture in grey], workers))
        assert np.array_equal(found, [*expected, expected[-1]])


def test_one_frame_has_none():
    assert list(flows([np.zeros((256, 256, 3), np.uint8)], 1)) == []
