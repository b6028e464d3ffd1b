import json
from pathlib import Path

import pytest

from dgam_core.data.activitynet_json import (
    Annotation,
    read_annotations,
    read_detections,
    read_ground_truth,
    train_and_test,
    write_detections,
)
from dgam_core.errors import InputError
from dgam_core.segments import SegmentTable
from dgam_core.snippets import Segment


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def video(*annotations, subset="test"):
    return {"subset": subset, "annotations": list(annotations)}


def test_ground_truth_with_segments_as_strings_or_numbers(tmp_path):
    jump = {"label": "jump", "segment": ["1.5", "2.5"]}
    throw = {"label": "throw", "segment": [3, 4.0]}
    path = write(
        tmp_path / "gt.json",
        {"database": {"a": video(jump, throw), "b": video(), "c": video(jump, subset="train")}},
    )
    truth = read_ground_truth(path)
    assert truth.videos == ("a", "b")
    assert truth.segments.label.tolist() == ["jump", "throw"]
    assert truth.segments.start_s.tolist() == [1.5, 3]
    assert read_ground_truth(path, "train").videos == ("c",)


@pytest.mark.parametrize(
    ("subsets", "chosen"),
    [(["train", "test"], "test"), (["training", "validation"], "validation"), (["all"], "all")],
)
def test_subset_is_test_or_validation_or_the_only_one(tmp_path, subsets, chosen):
    row = {"label": "jump", "segment": [0, 1]}
    path = write(
        tmp_path / "gt.json", {"database": {f"in_{name}": video(row, subset=name) for name in subsets}}
    )
    assert read_ground_truth(path).videos == (f"in_{chosen}",)


def test_a_subset_is_not_guessed_among_several(tmp_path):
    row = {"label": "jump", "segment": [0, 1]}
    path = write(
        tmp_path / "gt.json", {"database": {"a": video(row, subset="train"), "b": video(row, subset="dev")}}
    )
    with pytest.raises(InputError) as error:
        read_ground_truth(path)
    assert (
        str(error.value) == f"{path}: has several subsets, 'train', 'dev'; say which one to evaluate against"
    )
    assert read_ground_truth(path, "dev").videos == ("b",)
    with pytest.raises(InputError, match="has no subset ''; it has 'train', 'dev'"):
        read_ground_truth(path, "")


def test_detections_survive_writing_and_reading(tmp_path):
    detections = SegmentTable.from_rows(
        [("a", "jump", 0.1, 2.25, 0.5), ("b", "throw", 1, 2, -3.0), ("a", "throw", 5, 6, 1e-9)]
    )
    write_detections(tmp_path / "d.json", detections)
    again = read_detections(tmp_path / "d.json")
    assert set(again.rows()) == set(detections.rows())
    assert set(json.loads((tmp_path / "d.json").read_text())) == {"version", "external_data", "results"}


def one(**changes):
    return {"results": {"v1": [{"label": "jump", "score": 0.5, "segment": [0, 1]} | changes]}}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "d.json: is not valid JSON: parse error: premature EOF"),
        ([], "d.json: the file should be an object {…}, not []"),
        ({}, 'd.json: "results" should be an object {…}, not missing'),
        ({"results": {"v1": {}}}, "d.json: video 'v1' should have a list of detections, not {}"),
        ({"results": {"v1": ["x"]}}, "d.json: video 'v1', detection 1 should be an object {…}, not 'x'"),
        (one(label=3), "d.json: video 'v1', detection 1: the label should be a string, not 3"),
        (
            one(segment=[1]),
            "d.json: video 'v1', detection 1: the segment should be [start, end] in seconds, not [1]",
        ),
        (
            one(segment=["a", 1]),
            "d.json: video 'v1', detection 1: the start should be a finite number, not 'a'",
        ),
        (
            one(segment=[0, True]),
            "d.json: video 'v1', detection 1: the end should be a finite number, not True",
        ),
        (
            one(segment=[2, 1]),
            "d.json: video 'v1', detection 1: the segment ends before it starts: 1 s < 2 s",
        ),
        (
            one(score=None),
            "d.json: video 'v1', detection 1: the score should be a finite number, not missing",
        ),
        (
            one(score=float("nan")),
            "d.json: is not valid JSON in results, 'v1', entry 1: it holds NaN or Infinity, which are",
        ),
        (
            one(score=10**400),
            "d.json: is not valid JSON in results, 'v1', entry 1: parse error: integer overflow",
        ),
        (
            one(score="1e400"),
            "d.json: video 'v1', detection 1: the score should be a finite number, not '1e400'",
        ),
        (
            one(label="x" * 201),
            f"d.json: video 'v1', detection 1: the label '{'x' * 39}… has more than 200 characters",
        ),
        (
            {"results": {"x" * 201: []}},
            f"d.json: the video '{'x' * 39}… has more than 200 characters",
        ),
        (
            one(score="x" * 99),
            f"d.json: video 'v1', detection 1: the score should be a finite number, not '{'x' * 39}…",
        ),
    ],
)
def test_detections_that_cannot_be_trusted(tmp_path, content, sentence):
    path = write(tmp_path / "d.json", content)
    with pytest.raises(InputError) as error:
        read_detections(path)
    assert str(error.value).startswith(str(tmp_path / sentence))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"database": {"a": {"annotations": []}}}, "gt.json: video 'a' has no subset"),
        ({"database": {}}, "gt.json: has no subset 'test'; it has no video"),
        (
            {"database": {"a": video(subset="val")}},
            "gt.json: the subset 'val' has no annotated segment to evaluate",
        ),
        (
            {"database": {"a": {"subset": "test"}}},
            "gt.json: video 'a' should have a list of annotations, not missing",
        ),
    ],
)
def test_ground_truth_that_cannot_be_trusted(tmp_path, content, sentence):
    path = write(tmp_path / "gt.json", content)
    with pytest.raises(InputError) as error:
        read_ground_truth(path)
    assert str(error.value).startswith(str(tmp_path / sentence))


def test_videos_that_have_labels_alone_are_left_out_of_the_ground_truth(tmp_path):
    jump, when = {"label": "jump"}, {"label": "jump", "segment": [0, 1]}
    path = write(
        tmp_path / "gt.json",
        {
            "database": {
                "a": video(when, {"label": "throw", "label_id": 3}),
                "b": video(jump),
                "c": video(),
                "d": video(jump, jump),
            }
        },
    )
    truth = read_ground_truth(path)
    # c is known to show nothing; the throw in a, which nobody has located, is no segment
    assert (truth.videos, truth.without_segments) == (("a", "c"), ("b", "d"))
    assert list(truth.segments.rows()) == [("a", "jump", 0, 1, 0)]
    write(path, {"database": {"b": video(jump)}})
    with pytest.raises(InputError, match="has no annotated segment to evaluate"):
        read_ground_truth(path)
    write(path, {"database": {"b": video({"label": "jump", "start": 3})}})
    with pytest.raises(InputError, match=r"the segment should be \[start, end\] in seconds, not missing"):
        read_ground_truth(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"none.json: cannot be read: No such file"):
        read_detections(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is text in UTF-16; save it as UTF-8"):
        read_detections(tmp_path / "bytes.json")
    path = write(tmp_path / "gt.json", {"database": {"a": video({"label": "x", "segment": [0, 1]})}})
    with pytest.raises(InputError, match="has no subset 'val'; it has 'test'"):
        read_ground_truth(path, "val")


def gt(tmp_path, **videos):
    return write(tmp_path / "gt.json", {"version": "1.3", "taxonomy": [], "database": videos})


def test_an_entry_with_all_and_one_with_nothing(tmp_path):
    full = {
        "subset": "training", "duration": "12.5", "fps": 30, "url": "x",
        "annotations": [
            {"label": "run", "segment": ["1", 2.5], "label_id": 3},
            {"label": "jump", "segment": [3, 4]},
            {"label": "run", "segment": [5, 6]},
        ],
    }  # fmt: skip
    annotations = read_annotations(gt(tmp_path, a=full, b={}))
    segments = (Segment("run", 1.0, 2.5), Segment("jump", 3.0, 4.0), Segment("run", 5.0, 6.0))
    assert annotations == {
        "a": Annotation("training", ("jump", "run"), segments, 12.5, 30.0),
        "b": Annotation("", (), (), None, None),
    }


def test_a_label_alone_is_one_of_the_whole_video(tmp_path):
    rows = [{"label": "run"}, {"label": "jump", "label_id": 1}, {"label": "run", "segment": [0, 1]}]
    (annotation,) = read_annotations(gt(tmp_path, a={"annotations": rows})).values()
    assert annotation.labels == ("jump", "run")
    assert annotation.segments == (Segment("run", 0.0, 1.0),)


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
def test_annotations_that_cannot_be_read_get_a_sentence(tmp_path, entry, sentence):
    with pytest.raises(InputError, match=sentence):
        read_annotations(gt(tmp_path, a=entry))


def test_the_test_subset_is_called_test_or_else_validation():
    assert renamed("validation", "test") == ["train", "test"]
    assert renamed("training", "validation", "training") == ["train", "test", "train"]
    assert renamed("Train", "Test") == ["train", "test"]
    assert renamed("TRAINING", "Val", "Testing ") == ["train", "train", "test"]
    with pytest.warns(UserWarning, match="gt.json: no video is in a test or validation subset; all train"):
        assert renamed("train") == ["train"]


def test_testing_videos_without_annotations_are_left_out_and_counted():
    with pytest.warns(UserWarning, match="gt.json: 2 testing videos without annotations are left out"):
        assert renamed("training", "testing", "testing", "validation", labels=(("a",), (), (), ("a",))) == [
            *("train", "test")
        ]
    # One that is annotated among them makes them test videos.
    assert renamed("training", "testing", "testing", "validation", labels=(("a",), (), ("a",), ("a",))) == [
        *("train", "test", "test", "train")
    ]


def renamed(*subsets, labels=None):
    labels = labels or (("a",),) * len(subsets)
    annotations = {
        str(i): Annotation(subset, names, (), None, None)
        for i, (subset, names) in enumerate(zip(subsets, labels, strict=True))
    }
    return [annotation.subset for annotation in train_and_test(annotations, Path("gt.json")).values()]


@pytest.mark.parametrize(
    ("subset", "sentence"),
    [
        ("", "gt.json: video '1' has no subset; it should be one of train, "),
        ("dev", "has the subset 'dev'; it"),
    ],
)
def test_other_subsets_are_refused(subset, sentence):
    with pytest.raises(InputError, match=sentence):
        renamed("train", subset)


def test_the_subset_of_the_ground_truth_is_found_in_any_case(tmp_path):
    segment = [{"label": "x", "segment": [0, 1]}]
    path = gt(
        tmp_path,
        a={"subset": "Testing", "annotations": []},
        b={"subset": "VALIDATION", "annotations": segment},
        c={"subset": "Training", "annotations": segment},
    )
    assert read_ground_truth(path).videos == ("b",)  # nobody has annotated the testing video
    assert read_ground_truth(path, "training").videos == ("c",)
    assert read_ground_truth(path, "Training").videos == ("c",)


def test_real_annotations(shared_data):
    """Numbers of videos from the data's own description; classes are those of the benchmarks."""
    thumos = read_annotations(shared_data / "thumos14" / "gt.json").values()
    counts = {
        subset: sum(len(video.segments) for video in thumos if video.subset == subset)
        for subset in ("train", "test")
    }
    assert counts == {"train": 3007, "test": 3311}
    assert len({label for video in thumos for label in video.labels}) == 20
    files = sorted((shared_data / "activitynet12").glob("*.json"))
    activitynet = [video for path in files for video in read_annotations(path).values()]
    subsets = [video.subset for video in activitynet]
    assert (subsets.count("training"), subsets.count("validation")) == (4441, 2198)
    assert len({label for video in activitynet for label in video.labels}) == 100
    assert all(video.duration_s for video in activitynet)
    # ActivityNet's annotators could not go beyond a video's end by more than rounding.
    late = [video for video in activitynet if any(s.end_s > video.duration_s + 1 for s in video.segments)]
    assert len(late) <= 0.05 * len(activitynet)
