import json

import pytest

from dgam_core.data.annotations import Annotation, read_annotations, subset_to_test
from dgam_core.errors import InputError
from dgam_core.snippets import Segment


def write(tmp_path, **videos):
    path = tmp_path / "gt.json"
    path.write_text(json.dumps({"version": "1.3", "taxonomy": [], "database": videos}))
    return path


def test_an_entry_with_all_and_one_with_nothing(tmp_path):
    full = {
        "subset": "training", "duration": "12.5", "fps": 30, "url": "x",
        "annotations": [
            {"label": "run", "segment": ["1", 2.5], "label_id": 3},
            {"label": "jump", "segment": [3, 4]},
            {"label": "run", "segment": [5, 6]},
        ],
    }  # fmt: skip
    known = read_annotations(write(tmp_path, a=full, b={}))
    segments = (Segment("run", 1.0, 2.5), Segment("jump", 3.0, 4.0), Segment("run", 5.0, 6.0))
    assert known == {
        "a": Annotation("training", ("jump", "run"), segments, 12.5, 30.0),
        "b": Annotation("", (), (), None, None),
    }


def test_a_label_alone_is_one_of_the_whole_video(tmp_path):
    rows = [{"label": "run"}, {"label": "jump", "label_id": 1}, {"label": "run", "segment": [0, 1]}]
    (own,) = read_annotations(write(tmp_path, a={"annotations": rows})).values()
    assert own.labels == ("jump", "run")
    assert own.segments == (Segment("run", 0.0, 1.0),)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ([], r"video 'a' should be an object \{…\}, not \[\]"),
        ({"annotations": 3}, "video 'a' should have a list of annotations, not 3"),
        ({"annotations": [{"segment": [0, 1]}]}, "annotation 1: the label should be a string, not missing"),
        (
            {"annotations": [{"label": "x", "segmnt": [0, 1]}]},
            r"should be \[start, end\] in seconds",
        ),
        (
            {"annotations": [{"label": "x", "segment": [0, True]}]},
            "the end should be a finite .*, not True",
        ),
        ({"fps": 0}, "the fps should be above zero, not 0"),
        ({"duration": "NaN"}, "the duration should be a finite number, not 'NaN'"),
    ],
)
def test_a_wrong_entry_gets_a_sentence(tmp_path, entry, sentence):
    with pytest.raises(InputError, match=sentence):
        read_annotations(write(tmp_path, a=entry))


def test_the_test_subset_is_called_test_or_else_validation():
    assert subset_to_test(["validation", "test"]) == "test"
    assert subset_to_test(["training", "validation"]) == "validation"


def test_real_annotations(shared_data):
    """Numbers of videos from the data's own description; classes are those of the benchmarks."""
    thumos = read_annotations(shared_data / "thumos14" / "gt.json")
    segments = {
        subset: sum(len(v.segments) for v in thumos.values() if v.subset == subset)
        for subset in ("train", "test")
    }
    assert segments == {"train": 3007, "test": 3311}
    assert len({label for own in thumos.values() for label in own.labels}) == 20
    found = {}
    for path in sorted((shared_data / "activitynet12").glob("*.json")):
        found |= read_annotations(path)
    counts = [sum(own.subset == subset for own in found.values()) for subset in ("training", "validation")]
    assert counts == [4441, 2198]
    assert len({label for own in found.values() for label in own.labels}) == 100
    assert all(own.duration_s for own in found.values())
    # ActivityNet's annotators could not go beyond a video's end by more than rounding.
    late = [own for own in found.values() if any(s.end_s > own.duration_s + 1 for s in own.segments)]
    assert len(late) <= 0.05 * len(found)
