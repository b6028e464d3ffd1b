import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from dgam_core.data import detection_files, store
from dgam_core.data.activitynet_json import (
    read_ambiguous,
    read_annotations,
    read_class_ids,
    read_detections,
    read_ground_truth,
)
from dgam_core.data.faults import MAX_LENGTH, refuse
from dgam_core.data.layouts.acmnet import read_acmnet
from dgam_core.data.layouts.actionformer import read_actionformer
from dgam_core.data.layouts.basnet import read_basnet
from dgam_core.data.layouts.released import read_dgam
from dgam_core.data.layouts.wtalc import read_wtalc
from dgam_core.data.soundness import check
from dgam_core.errors import InputError
from dgam_core.snippets import Segment
from tests.data.layouts.exports import (
    export_acmnet,
    export_actionformer,
    export_basnet,
    export_dgam,
    export_wtalc,
    save_objects,
)


def sentence_of(call, *arguments):
    with pytest.raises(InputError) as error:
        call(*arguments)
    return str(error.value)


def test_a_video_with_two_faults_counts_once_and_keeps_its_first():
    assert sentence_of(refuse, [("a", "a: x"), ("b", "b: x"), ("a", "a: y")]) == "a: x (2 such videos: a, b)"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"labels": ()},
            "v0: a training video without a label teaches nothing; label it or leave it out "
            "(2 such videos: v0, v1)",
        ),
        (
            {"labels": ("swim",)},
            "v0: unknown label 'swim'; it is not among the 2 classes (4 such videos: v0, v1, v2 and 1 more)",
        ),
        (
            {"subset": "val"},
            "v0: the subset is 'val'; it should be 'train' or 'test' (4 such videos: v0, v1, v2 and 1 more)",
        ),
        (
            {"segments": (Segment("jump", 3.0, 2.0),)},
            "v0: a segment of 'jump' goes from 3.0 s to 2.0 s; it should start at 0 s or later and end after "
            "its start (4 such videos: v0, v1, v2 and 1 more)",
        ),
        (
            {"segments": (Segment("jump", 2.0, 30.0),)},
            "v0: a segment of 'jump' ends at 30.0 s, beyond the video's end at 6 s; check fps and frames per "
            "snippet (4 such videos: v0, v1, v2 and 1 more)",
        ),
    ],
)
def test_all_videos_with_the_fault_of_the_first_are_named(tiny, changes, sentence):
    videos = tuple(replace(video, **changes) for video in tiny.videos)
    assert sentence_of(check, replace(tiny, videos=videos)) == f"tiny: {sentence}"


def test_a_fault_of_another_kind_is_not_counted(tiny):
    without, unknown = ({"labels": ()}, {"labels": ("swim",)})
    changes = [without, unknown, {}, {}]
    videos = tuple(replace(v, **change) for v, change in zip(tiny.videos, changes, strict=True))
    assert sentence_of(check, replace(tiny, videos=videos)).endswith("label it or leave it out")


def test_all_videos_without_features_are_named(tiny):
    features = {"rgb": {"v1": 0}, "flow": {"v0": 0, "v1": 0, "v3": 0}}
    said = sentence_of(check, replace(tiny, features=features))
    assert said == "tiny: v0: has no rgb features (3 such videos: v0, v2, v3)"


def test_features_of_all_unknown_videos_are_named(tiny):
    said = sentence_of(check, replace(tiny, videos=tiny.videos[2:]))
    assert said == "tiny: flow features of an unknown video 'v0' (2 such videos: v0, v1)"


def test_all_videos_whose_features_are_not_finite_are_named(tiny, tmp_path):
    rgb = {name: values.copy() for name, values in tiny.features["rgb"].items()}
    rgb["v1"][0, 0] = rgb["v3"][2, 1] = np.nan
    data = replace(tiny, features={**tiny.features, "rgb": rgb})
    said = sentence_of(store.write, tmp_path / "x.h5", data)
    assert said == "v1: rgb features hold nan at snippet 0, dimension 0 (2 such videos: v1, v3)"
    rgb["v3"] = np.zeros((9, 6), np.float32)  # in place of 5 dimensions
    assert sentence_of(store.write, tmp_path / "x.h5", data).endswith("(2 such videos: v1, v3)")


def drop(*paths):
    def spoil(root):
        for path in paths:
            (root / path).unlink()

    return spoil


def empty(*paths):
    def spoil(root):
        for path in paths:
            np.save(root / path, np.zeros((0, 2048), np.float32))

    return spoil


def cut(*paths):
    def spoil(root):
        for path in paths:
            (root / path).write_bytes(b"x")

    return spoil


def listed(root):
    (root / "split_test.txt").write_text("v2\nv9\nv3\nv8\n")


def listed_twice(root):
    (root / "split_test.txt").write_text("v1\nv0\n")


def strange_subsets(root):
    path = root / "annotations/tiny.json"
    content = json.loads(path.read_text())
    for i, entry in enumerate(content["database"].values()):
        entry["subset"] = ["", "other", "test", ""][i]
    path.write_text(json.dumps(content))


def no_arrays(root):
    save_objects(root / "Tiny-I3D-JOINTFeatures.npy", ["a", "b", "c", "d"])


def fewer_labels(root):
    save_objects(root / "Tiny-Annotations/labels.npy", [[]] * 4)


B, C, E = (export_basnet, read_basnet), (export_acmnet, read_acmnet), (export_actionformer, read_actionformer)
A, D = (export_dgam, read_dgam), (export_wtalc, read_wtalc)
ALL = "(4 such videos: v0, v1, v2 and 1 more)"


@pytest.mark.parametrize(
    ("layout", "spoil", "sentence"),
    [
        (
            B,
            drop("features/train/rgb/v0.npy", "features/test/flow/v3.npy", "features/test/rgb/v3.npy"),
            "/features/test/flow/v3.npy: no such file; the video 'v3' has no flow features "
            "(2 such videos: v3, v0)",
        ),
        (
            B,
            cut("features/train/rgb/v0.npy", "features/test/rgb/v3.npy"),
            "/features/train/rgb/v0.npy: is not a whole .npy file of numbers; extract or copy it again "
            "(2 such videos: v0, v3)",
        ),
        (B, listed, ": the annotations lack the video 'v9' (2 such videos: v9, v8)"),
        (
            B,
            listed_twice,
            ": the video 'v0' is listed twice; keep it once, in one subset (2 such videos: v0, v1)",
        ),
        (C, drop("train/v0.npy", "test/v2.npy"), "/train/v0.npy: no such file (2 such videos: v0, v2)"),
        (
            C,
            empty("train/v1.npy", "test/v2.npy"),
            "/train/v1.npy: has no snippet; extract it again, or leave the video out (2 such videos: v1, v2)",
        ),
        (
            E,
            drop("i3d_features/v0.npy", "i3d_features/v2.npy"),
            "/i3d_features: has 0 files for the video 'v0'; it should have one; list videos without features "
            "in missing_files.txt (2 such videos: v0, v2)",
        ),
        (
            E,
            strange_subsets,
            "/annotations/tiny.json: video 'v0' has no subset; it should be one of train, training, val, "
            "validation, test, testing (3 such videos: v0, v1, v3)",
        ),
        (
            A,
            drop("train_data/flow_features/2.npy", "test_data/rgb_features/1.npy"),
            "/train_data/flow_features/2.npy: no such file; the labels count 4 videos "
            "(2 such videos: train_0002, v2)",
        ),
        (D, no_arrays, f"/Tiny-I3D-JOINTFeatures.npy: video 'v0' has no array of features {ALL}"),
        (D, fewer_labels, f"/Tiny-Annotations: v0: has 0 labels for 1 segments {ALL}"),
    ],
)
def test_a_reader_names_all_videos(tmp_path, wide, layout, spoil, sentence):
    export, read = layout
    root = export(wide, tmp_path)
    spoil(root)
    assert sentence_of(read, root) == f"{root}{sentence}"


def test_all_videos_without_a_subset_are_named(tmp_path):
    path = tmp_path / "gt.json"
    path.write_text(json.dumps({"database": {f"v{i}": {"annotations": []} for i in range(5)}}))
    said = sentence_of(read_ground_truth, path)
    assert said == f"{path}: video 'v0' has no subset (5 such videos: v0, v1, v2 and 2 more)"


def json_file(folder, **content):
    path = folder / "a.json"
    path.write_text(json.dumps(content))
    return path


def test_all_annotations_with_the_fault_of_the_first_are_named(tmp_path):
    good, unnamed, swim = (
        {"label": "run", "segment": [0, 1]},
        {"label": 7, "segment": [0, 1]},
        {"label": "swim"},
    )
    database = {
        "a": {"subset": "test", "annotations": [good, unnamed, good, {"label": None}]},
        "b": {"subset": "test", "fps": 0, "annotations": [unnamed, swim | {"segment": [3]}, swim]},
        "c": {
            "subset": "test",
            "duration": -1,
            "annotations": [good, swim | {"segment": [0, "end"]}, unnamed],
        },
    }
    path = json_file(tmp_path, database=database)
    said = (
        f"{path}: video 'a', annotation 2: the label should be a string, not 7 "
        "(4 such annotations: 2 of a, 4 of a, 1 of b and 1 more)"
    )
    assert sentence_of(read_annotations, path) == sentence_of(read_ground_truth, path) == said


def test_all_videos_with_the_fault_of_the_first_entry_are_named(tmp_path):
    entries = [{"fps": 0}, {"fps": -25.0}, {"duration": 0}, {"fps": "x"}, {"fps": 25}, [], {"fps": 0}]
    path = json_file(tmp_path, database={f"v{i}": entry for i, entry in enumerate(entries)})
    said = sentence_of(read_annotations, path)
    assert said == f"{path}: video 'v0': the fps should be above zero, not 0 (3 such videos: v0, v1, v6)"
    path = json_file(tmp_path, database={"a": [], "b": {"annotations": 3}, "c": [], "d": {"annotations": {}}})
    said = sentence_of(read_annotations, path)
    assert said == f"{path}: video 'a' should be an object {{…}}, not [] (2 such videos: a, c)"
    path = json_file(tmp_path, database={"b": {"annotations": 3}, "c": [], "d": {"annotations": {}}})
    said = sentence_of(read_annotations, path)
    assert said == f"{path}: video 'b' should have a list of annotations, not 3 (2 such videos: b, d)"


def test_all_detections_with_the_fault_of_the_first_are_named(tmp_path):
    good = {"label": "run", "segment": [0, 1], "score": 1}
    results = {
        "a": [good, good | {"segment": [2, 1]}],
        "b": [good | {"score": "?"}, good | {"segment": [9, 3]}],
    }
    path = json_file(tmp_path, results=results)
    said = sentence_of(read_detections, path)
    assert said == (
        f"{path}: video 'a', detection 2: the segment ends before it starts: 1 s < 2 s "
        "(2 such detections: 2 of a, 2 of b)"
    )


def test_all_numbers_of_classes_that_are_none_are_named(tmp_path):
    rows = [
        {"label": "run", "label_id": 0},
        {"label": "run", "label_id": "?"},
        {"label": "hop", "label_id": "?"},
    ]
    path = json_file(tmp_path, database={"a": {"annotations": rows}})
    said = sentence_of(read_class_ids, path)
    assert said == (
        f"{path}: video 'a', annotation 2: the label_id should be a finite number, not '?' "
        "(2 such annotations: 2 of a, 3 of a)"
    )


def test_long_names_are_cut(tmp_path):
    names = ["x" * 300, "y" * 201]
    said = sentence_of(read_detections, json_file(tmp_path, results={name: [] for name in names}))
    assert said.endswith(f" (2 such videos: {'x' * MAX_LENGTH}…, {'y' * MAX_LENGTH}…)")


def test_a_layout_names_all_broken_annotations(tmp_path, tiny):
    root = export_dgam(tiny, tmp_path)
    content = json.loads((root / "test_data/gt.json").read_text())
    for entry in content["database"].values():
        entry["annotations"] = [{"label": "jump", "segment": ["a", 2]}] * 5
    (root / "test_data/gt.json").write_text(json.dumps(content))
    assert sentence_of(read_dgam, root) == (
        f"{root}/test_data/gt.json: video 'v2', annotation 1: the start should be a finite number, not 'a' "
        "(10 such annotations: 1 of v2, 2 of v2, 3 of v2 and 7 more)"
    )


@pytest.mark.parametrize(
    ("name", "read", "lines", "sentence"),
    [
        (
            "a.csv",
            detection_files.read_ground_truth,
            ["video,start,end,label", "a,0,1,x", "a,3,2,x", "", "b,?,2,x", "b,5,4,x"],
            "line 3: the segment ends before it starts: 2 s < 3 s (2 such lines: 3, 6)",
        ),
        (
            "a.txt",
            lambda path: detection_files.read_detections(path, path.parent),
            ["a 0 1 7 0.5", "b 0 1", "c 0", "d 0 1 7 0.5", "e", "f", "g 0 1 7 ?"],
            "line 2: should be video, start, end, class number and score, not 'b 0 1' "
            "(4 such lines: 2, 3, 5 and 1 more)",
        ),
        (
            "a.txt",
            read_ambiguous,
            ["a 0 1", "a 0 x", "a 0 y"],
            "line 2: the end should be a finite number, not 'x' (2 such lines: 2, 3)",
        ),
    ],
)
def test_all_lines_with_the_fault_of_the_first_are_named(tmp_path, name, read, lines, sentence):
    path = tmp_path / name
    path.write_text("\n".join(lines))
    assert sentence_of(read, path) == f"{path}: {sentence}"


def test_all_lines_of_a_class_of_the_kit_are_named(tmp_path):
    path = tmp_path / "jump_test.txt"
    path.write_text("a 0 1\nb 2 1\n\nc 2 1")
    said = sentence_of(detection_files.read_ground_truth, tmp_path)
    assert said == f"{path}: line 2: the segment ends before it starts: 1 s < 2 s (2 such lines: 2, 4)"


def test_all_detections_of_actionformer_with_a_fault_are_named(tmp_path):
    truth = json_file(tmp_path, database={"a": {"annotations": [{"label": "x", "label_id": 0}]}})
    columns = {
        "video-id": ["a", "a", "b"],
        "t-start": np.array([0.0, 5.0, 9.0]),
        "t-end": np.array([1.0, 4.0, 8.0]),
        "label": np.zeros(3, int),
        "score": np.ones(3),
    }
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(columns))
    said = sentence_of(detection_files.read_detections, path, truth)
    assert said == (
        f"{path}: detection 2: the segment ends before it starts: 4 s < 5 s (2 such detections: 2, 3)"
    )
