import numpy as np
from pytest import approx

from dgam_core.segments import SegmentTable, runs, tiou


def test_tiou_of_overlapping_segments():
    assert tiou((0, 4), (2, 6)) == approx(2 / 6)  # overlap 2, union 6
    assert tiou((0, 4), (1, 2)) == approx(1 / 4)  # one inside the other: overlap 1, union 4


def test_tiou_of_segments_that_only_touch_or_are_apart_is_zero():
    assert tiou((0, 1), (1, 2)) == 0
    assert tiou((0, 1), (5, 6)) == 0


def test_tiou_without_length_is_zero_not_undefined():
    assert tiou((3, 3), (3, 3)) == 0  # 0 / 0
    assert tiou((3, 3), (2, 4)) == 0  # overlap 0, union 2


def test_tiou_broadcasts():
    found = tiou(np.array([[0, 2], [1, 3]])[:, None], np.array([[0, 1], [0, 2], [2, 4]])[None])
    assert found == approx(np.array([[1 / 2, 1, 0], [0, 1 / 3, 1 / 3]]))


def test_table_keeps_rows_in_order_and_may_be_empty():
    table = SegmentTable.from_rows([("b", "x", 0, 1, 0.5), ("a", "y", 2, 3, 0.7)])
    assert table.video.tolist() == ["b", "a"]
    assert table.score.tolist() == [0.5, 0.7]
    assert len(SegmentTable.from_rows([])) == 0


def test_rows_of_a_table_can_be_taken():
    table = SegmentTable.from_rows([("v", "x", 0, 1, 0.1), ("w", "y", 2, 3, 0.2), ("v", "z", 4, 5, 0.3)])
    assert table.of_video("v").label.tolist() == ["x", "z"]
    assert table.take(np.array([2, 0])).start_s.tolist() == [4, 0]
    assert len(table.of_video("u")) == 0


def test_bounds_are_what_tiou_takes():
    table = SegmentTable.from_rows([("v", "x", 0, 4, 0.1), ("w", "y", 2, 6, 0.2)])
    assert table.bounds_s.tolist() == [[0, 4], [2, 6]]
    assert tiou(*table.bounds_s) == approx(2 / 6)  # overlap 2, union 6


def test_runs_are_maximal():
    assert runs(np.array(["a", "a", "b", "a"])).tolist() == [[0, 2], [2, 3], [3, 4]]
    assert runs(np.array([1, 1])).tolist() == [[0, 2]]  # one run
