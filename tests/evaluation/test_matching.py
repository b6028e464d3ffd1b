import numpy as np
import pytest

from dgam_core.evaluation.matching import PROTOCOLS, best_first, match, on_grid, pairs_in_video, touching
from dgam_core.segments import SegmentTable


def table(*rows):
    return SegmentTable.from_rows([(*row, 0.0) if len(row) == 4 else row for row in rows])


TRUTH = table(("v", "x", 0, 10), ("v", "x", 10, 20), ("v", "y", 0, 10))
FOUND = table(("v", "x", 0, 20, 3.0), ("v", "x", 10, 20, 2.0), ("u", "x", 0, 10, 1.0), ("v", "y", 0, 5, 0.5))


@pytest.mark.parametrize(
    ("protocol", "hits", "found"),
    [
        # The first overlaps both by 1/2 and takes the last; the second's best is taken; the last reaches 1/2.
        ("anet", [True, False, False, True], [False, True, True]),
        # A tIoU of 1/2 does not exceed 1/2.
        ("thumos", [False, True, False, False], [False, True, False]),
        # The first takes the first, the second the other; on a grid of 0.64 s 0 to 5 are 8 of 16 snippets.
        ("wtalc", [True, True, False, True], [True, True, True]),
    ],
)
def test_who_finds_what(protocol, hits, found):
    matches = match(FOUND, TRUTH, np.array([0.5]), PROTOCOLS[protocol])
    assert matches.hits.tolist() == [hits]
    assert matches.found.tolist() == [found]
    assert not matches.neutral.any()


def test_equal_scores_stand_in_a_stated_order():
    scores = np.array([1.0, 2.0, 1.0, 2.0])
    assert best_first(scores, PROTOCOLS["anet"]).tolist() == [3, 1, 2, 0]
    assert best_first(scores, PROTOCOLS["thumos"]).tolist() == [1, 3, 0, 2]


def test_a_thresholds_matches_know_nothing_of_the_others():
    thresholds = np.array([0.1, 0.5, 0.9])
    together = match(FOUND, TRUTH, thresholds, PROTOCOLS["anet"])
    for k, threshold in enumerate(thresholds):
        alone = match(FOUND, TRUTH, np.array([threshold]), PROTOCOLS["anet"])
        assert (together.hits[k] == alone.hits[0]).all()
        assert (together.found[k] == alone.found[0]).all()


def test_pairs_in_a_video_are_of_any_class_and_touching_needs_time_in_common():
    det, gt, overlap = pairs_in_video(FOUND, TRUTH, 0.25)
    assert list(zip(det.tolist(), gt.tolist(), overlap.round(4).tolist(), strict=True)) == [
        (0, 0, 0.5), (0, 1, 0.5), (0, 2, 0.5), (1, 1, 1.0), (3, 0, 0.5), (3, 2, 0.5),
    ]  # fmt: skip
    assert touching(FOUND, table(("v", "z", 5, 6), ("v", "z", 20, 30))).tolist() == [
        True,
        False,
        False,
        False,
    ]
    assert touching(FOUND, table()).tolist() == [False] * 4


def test_a_grid_rounds_to_whole_snippets():
    rounded = on_grid(table(("v", "x", 0.3, 1.0)), 25 / 16)  # 0.47 and 1.56 snippets
    assert (rounded.start_s.tolist(), rounded.end_s.tolist()) == ([0.0], [1.28])


def test_nothing_finds_nothing():
    for protocol in PROTOCOLS.values():
        for found in (table(), table(("u", "z", 0, 1, 1.0))):
            assert not match(found, TRUTH, np.array([0.5]), protocol).found.any()
