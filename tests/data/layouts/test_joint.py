"""Layouts with RGB and flow side by side: exports by this file, and their way back."""

import json

import numpy as np
import pytest
import torch

from dgam_core.data import store
from dgam_core.data.layouts.acmnet import read_acmnet
from dgam_core.data.layouts.actionformer import read_actionformer
from dgam_core.data.layouts.wtalc import read_wtalc, read_wtalc_annotations
from dgam_core.errors import InputError
from dgam_core.snippets import Segment


def joint(data, video):
    return np.concatenate([data.load(stream, video.name) for stream in ("rgb", "flow")], axis=1)


def database(data, subsets, **more):
    return {
        video.name: {
            "subset": subsets[video.subset],
            "duration": video.duration_s,
            "annotations": [
                {"label": s.label, "label_id": 0, "segment": [s.start_s, s.end_s]} for s in video.segments
            ],
            **more,
        }
        for video in data.videos
    }


def export_acmnet(data, root):
    for video in data.videos:
        (root / video.subset).mkdir(exist_ok=True)
        np.save(root / video.subset / f"{video.name}.npy", joint(data, video))
    for subset in ("train", "test"):
        (root / f"split_{subset}.txt").write_text("\n".join(v.name for v in data.subset(subset)))
    content = {"database": database(data, {"train": "validation", "test": "test"}, frames=99)}
    (root / "gt.json").write_text(json.dumps(content))
    return root


def export_wtalc(data, root, dtype=np.float32):
    folder = root / "Tiny-Annotations"
    folder.mkdir()
    videos = data.videos
    columns = {
        "videoname": np.array([v.name.encode() for v in videos]),
        "subset": np.array([{"train": b"validation", "test": b"test"}[v.subset] for v in videos]),
        "duration": np.array([[v.duration_s] for v in videos]),
        "labels": [[s.label.encode() for s in v.segments] for v in videos],
        "labels_all": [[label.encode() for label in v.labels] for v in videos],
        "segments": [[[s.start_s, s.end_s] for s in v.segments] for v in videos],
        "features": [joint(data, v).astype(dtype) for v in videos],
    }
    for name, values in columns.items():
        array = values
        if isinstance(values, list):
            array = np.empty(len(values), dtype=object)
            for i, value in enumerate(values):
                array[i] = value
        path = root / "Tiny-I3D-JOINTFeatures.npy" if name == "features" else folder / f"{name}.npy"
        np.save(path, array, allow_pickle=True)
    return root


def export_actionformer(data, root, kind="npy", prefix="", missing=()):
    (root / "i3d_features").mkdir()
    (root / "annotations").mkdir()
    for video in data.videos:
        path = root / "i3d_features" / f"{prefix}{video.name}.{kind}"
        if video.name in missing:
            continue
        if kind == "npy":
            np.save(path, joint(data, video))
        elif kind == "npz":
            np.savez(path, feats=joint(data, video))
        else:
            torch.save(torch.from_numpy(joint(data, video)), path)
    if missing:
        (root / "missing_files.txt").write_text("\n".join(missing))
    content = {"database": database(data, {"train": "Validation", "test": "test"}, fps=data.fps)}
    (root / "annotations" / "tiny.json").write_text(json.dumps(content))
    return root


def assert_same(data, tiny):
    assert sorted(data.videos, key=lambda v: v.name) == list(tiny.videos)
    assert data.classes == tiny.classes
    assert data.streams == ("flow", "rgb")
    for video in tiny.videos:
        for stream in data.streams:
            assert np.array_equal(data.load(stream, video.name), tiny.load(stream, video.name))


EXPORTS = {
    "acmnet": (export_acmnet, read_acmnet),
    "wtalc": (export_wtalc, read_wtalc),
    "actionformer": (export_actionformer, read_actionformer),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_round_trip(name, tmp_path, wide):
    export, read = EXPORTS[name]
    (tmp_path / "source").mkdir()
    store.write(tmp_path / "x.h5", read(export(wide, tmp_path / "source"), fps=16, snippet_frames=16))
    data = store.read(tmp_path / "x.h5")
    store.verify(data)
    assert (data.fps, data.snippet_frames, data.simulated) == (16, 16, False)
    assert_same(data, wide)


@pytest.mark.parametrize(("kind", "prefix"), [("npy", "thumos_"), ("npz", ""), ("pt", "v_")])
def test_actionformers_files_have_prefixes_and_kinds(tmp_path, wide, kind, prefix):
    root = export_actionformer(wide, tmp_path, kind, prefix)
    assert_same(read_actionformer(root, snippet_frames=16), wide)


def test_actionformer_takes_fps_from_the_annotations_and_the_usual_stride(tmp_path, wide):
    data = read_actionformer(export_actionformer(wide, tmp_path))
    assert (data.fps, data.snippet_frames) == (16, 4)


def test_videos_that_are_known_to_be_missing_are_left_out(tmp_path, wide):
    data = read_actionformer(export_actionformer(wide, tmp_path, missing=("v1", "v3")), snippet_frames=16)
    assert [video.name for video in data.videos] == ["v0", "v2"]


def test_features_of_another_width_are_one_stream(tmp_path, tiny):
    data = read_acmnet(export_acmnet(tiny, tmp_path))
    assert data.streams == ("joint",)
    assert data.dim("joint") == 5 + 4


def test_half_precision_stays_half(tmp_path, wide):
    data = read_wtalc(export_wtalc(wide, tmp_path, np.float16))
    assert data.load("rgb", "v0").dtype == np.float16


def npy(path, value):
    array = np.empty(len(value), dtype=object)
    for i, one in enumerate(value):
        array[i] = one
    np.save(path, array, allow_pickle=True)


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("acmnet", lambda r: (r / "test/v3.npy").unlink(), "test/v3.npy: no such file"),
        ("acmnet", lambda r: (r / "split_test.txt").write_text("v2 ../v1"), "lack the video '../v1'"),
        ("acmnet", lambda r: np.save(r / "test/v9.npy", np.zeros((3, 2048))) or
            (r / "split_test.txt").write_text("v2 v9"), "the annotations lack the video 'v9'"),
        ("acmnet", lambda r: np.save(r / "test/v3.npy", np.zeros(2048)),
            "it should be (snippets, dimensions)"),
        ("acmnet", lambda r: (r / "test/v3.npy").write_bytes(b"x"), "is not a whole .npy file of numbers"),
        ("wtalc", lambda r: (r / "Tiny-I3D-JOINTFeatures.npy").unlink(),
            "has 0 files called *-I3D-JOINTFeatures.npy; it should have one"),
        ("wtalc", lambda r: npy(r / "Tiny-I3D-JOINTFeatures.npy", [np.zeros((3, 2048))]),
            "has 1 videos; the annotations have 4"),
        ("wtalc", lambda r: npy(r / "Tiny-I3D-JOINTFeatures.npy", ["a", "b", "c", "d"]),
            "video 'v0' has no array of features"),
        ("wtalc", lambda r: npy(r / "Tiny-I3D-JOINTFeatures.npy", [Touch(r / "proof")] * 4),
            "names io.open, which has no place in an array; it is not read"),
        ("wtalc", lambda r: npy(r / "Tiny-Annotations/labels.npy", [[b"jump"]] * 3),
            "the files disagree on the number of videos: videoname 4"),
        ("wtalc", lambda r: npy(r / "Tiny-Annotations/labels.npy", [[]] * 4),
            "v0: has 0 labels for 1 segments"),
        ("actionformer", lambda r: (r / "i3d_features/v3.npy").unlink(), "has 0 files for the video 'v3'"),
        ("actionformer", lambda r: (r / "i3d_features/v3.npy").unlink() or
            (r / "i3d_features/xv3.pt").write_bytes(b"x"), "holds no array of features that can be read"),
        ("actionformer", lambda r: (r / "annotations/other.json").write_text("{}"),
            "has 2 files called *.json; it should have one"),
        ("actionformer", lambda r: (r / "i3d_features/v3.npy").unlink() or
            (r / "i3d_features/v3.npy").symlink_to("/etc/passwd"), "leads out of"),
    ],
)  # fmt: skip
def test_what_is_wrong_gets_a_sentence(name, change, sentence, tmp_path, wide):
    export, read = EXPORTS[name]
    root = export(wide, tmp_path)
    change(root)
    with pytest.raises(InputError) as error:
        read(root)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert not (root / "proof").exists()


def test_a_tensor_file_with_code_is_refused(tmp_path, wide):
    root = export_actionformer(wide, tmp_path, "pt")
    torch.save(Touch(tmp_path / "proof"), root / "i3d_features/v3.pt")
    with pytest.raises(InputError, match="holds no array of features that can be read"):
        read_actionformer(root)
    assert not (tmp_path / "proof").exists()


def test_real_annotations_of_thumos14(shared_data):
    videos = read_wtalc_annotations(shared_data / "thumos14" / "Thumos14reduced-Annotations")
    by_name = {
        name: (subset, duration_s, labels, segments) for name, subset, duration_s, labels, segments in videos
    }
    assert len(videos) == 412
    assert sum(subset == "test" for subset, *_ in by_name.values()) == 212
    gt = json.loads((shared_data / "thumos14" / "gt.json").read_text())["database"]
    for name, entry in gt.items():
        own = [Segment(a["label"], *map(float, a["segment"])) for a in entry["annotations"]]
        assert sorted(by_name[name][3], key=str) == sorted(own, key=str)
    different = [
        name for name, (_, _, labels, own) in by_name.items() if set(labels) != {s.label for s in own}
    ]
    assert len(different) == 28  # the labels to train with are not always those of the segments
