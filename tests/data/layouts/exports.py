"""Data sets written in the layouts that are read, as other projects write them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dgam_core.data import soundness, store


def write_gt(path: Path, data, subset_names, subsets=("train", "test"), **more):
    """Write ActivityNet JSON; its numbers are text, as in some files in circulation."""
    database = {
        video.name: {
            "subset": subset_names[video.subset],
            "annotations": [
                {"label": s.label, "label_id": 0, "segment": [str(s.start_s), str(s.end_s)]}
                for s in video.segments
            ],
            **{key: value(video) for key, value in more.items()},
        }
        for video in data.videos
        if video.subset in subsets
    }
    path.write_text(json.dumps({"database": database}))


def write_splits(root: Path, data):
    for subset in ("train", "test"):
        (root / f"split_{subset}.txt").write_text("\n".join(v.name for v in data.subset(subset)) + "\n")


def joint(data, video):
    return np.concatenate([data.load(stream, video.name) for stream in ("rgb", "flow")], axis=1)


def object_array(values):
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


def save_objects(path: Path, values):
    np.save(path, object_array(values), allow_pickle=True)


def export_dgam(data, root: Path, order=("throw", "jump")) -> Path:
    """Layout A, the columns of the labels in the given order."""
    for subset in ("train", "test"):
        folder = root / f"{subset}_data"
        for stream in data.streams:
            (folder / f"{stream}_features").mkdir(parents=True)
            for i, video in enumerate(data.subset(subset), 1):
                np.save(folder / f"{stream}_features" / f"{i}.npy", data.load(stream, video.name))
        hot = [[float(label in video.labels) for label in order] for video in data.subset(subset)]
        np.save(folder / f"{subset}_labels.npy", np.array(hot))
    write_gt(root / "test_data" / "gt.json", data, {"test": "test"}, subsets=("test",))
    names = "\n".join(video.name for video in data.subset("test"))
    (root / "test_data" / "THUMOS14_test_vid_list.txt").write_text(names)
    return root


def export_basnet(data, root: Path, durations=True) -> Path:
    """Layout B."""
    for video in data.videos:
        for stream in data.streams:
            folder = root / "features" / video.subset / stream
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{video.name}.npy", data.load(stream, video.name))
    more = {"duration": lambda video: video.duration_s, "fps": lambda video: data.fps} if durations else {}
    write_gt(root / "gt.json", data, {"train": "train", "test": "test"}, **more)
    write_splits(root, data)
    return root


def export_acmnet(data, root: Path) -> Path:
    """Layout C."""
    for video in data.videos:
        (root / video.subset).mkdir(exist_ok=True)
        np.save(root / video.subset / f"{video.name}.npy", joint(data, video))
    more = {"duration": lambda video: video.duration_s, "frames": lambda video: 99}
    write_gt(root / "gt.json", data, {"train": "validation", "test": "test"}, **more)
    write_splits(root, data)
    return root


def export_wtalc(data, root: Path, dtype=np.float32) -> Path:
    """Layout D."""
    folder = root / "Tiny-Annotations"
    folder.mkdir()
    videos = data.videos
    texts = {
        "videoname": [v.name.encode() for v in videos],
        "subset": [{"train": b"validation", "test": b"test"}[v.subset] for v in videos],
        "duration": [[v.duration_s] for v in videos],
    }
    for name, values in texts.items():
        np.save(folder / f"{name}.npy", np.array(values))
    save_objects(folder / "labels.npy", [[s.label.encode() for s in v.segments] for v in videos])
    save_objects(folder / "labels_all.npy", [[label.encode() for label in v.labels] for v in videos])
    save_objects(folder / "segments.npy", [[[s.start_s, s.end_s] for s in v.segments] for v in videos])
    save_objects(root / "Tiny-I3D-JOINTFeatures.npy", [joint(data, v).astype(dtype) for v in videos])
    return root


def export_actionformer(data, root: Path, kind="npy", prefix="", missing=()) -> Path:
    """Layout E."""
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
    more = {"duration": lambda video: video.duration_s, "fps": lambda video: data.fps}
    write_gt(root / "annotations" / "tiny.json", data, {"train": "Validation", "test": "test"}, **more)
    return root


RATES = {"v0": 30.0, "v1": 24.0, "v2": 30.0, "v3": 60.0}  # frames per second, 30 for most


def counting(count: int):
    """Features of the size of two streams that say which snippet they are of."""
    return np.tile(np.arange(count, dtype=np.float32)[:, None], (1, 2048))


def read_at_30_fps(read, root: Path, snippet_frames: int, other: str = "v1"):
    """Read 80 snippets per video of `counting`, at the rates of RATES, and check them at 30 fps.

    A warning names the first video of another rate, `other`.
    """
    with pytest.warns(UserWarning, match="another rate") as warned:
        data = read(root)
    assert [str(w.message) for w in warned] == [
        f"{root}: 2 videos have another rate than 30 fps, such as {other!r} with 24; of their features, "
        "those nearest in time at 30 fps are taken"
    ]
    assert (data.fps, data.snippet_frames) == (30, snippet_frames)
    # 80 snippets at 24 fps last as long as 100 at 30 fps; 80 at 60 fps as long as 40.
    assert [video.num_snippets for video in data.videos] == [80, 100, 80, 40]
    for video, rate in zip(data.videos, RATES.values(), strict=True):
        middle_s = (np.arange(video.num_snippets) + 0.5) * snippet_frames / 30
        for stream in data.streams:
            # the middle of the snippet that is taken
            shown_s = (data.load(stream, video.name)[:, 0].astype(float) + 0.5) * snippet_frames / rate
            assert np.abs(shown_s - middle_s).max() <= snippet_frames / rate / 2 + 1e-6
    assert np.array_equal(data.load("flow", data.videos[0].name)[:, 0], np.arange(80))
    soundness.check(data)
    return data


def through_store(data, path: Path):
    """The data set after `dgam import`."""
    store.write(path, data)
    imported = store.read(path)
    store.verify(imported)
    return imported


def assert_same(data, original):
    assert sorted(data.videos, key=lambda video: video.name) == list(original.videos)
    assert data.classes == original.classes
    assert data.streams == original.streams
    for video in original.videos:
        for stream in data.streams:
            assert np.array_equal(data.load(stream, video.name), original.load(stream, video.name))


def assert_round_trip(export, read, data, folder: Path):
    (folder / "source").mkdir()
    imported = through_store(
        read(export(data, folder / "source"), fps=16, snippet_frames=16), folder / "x.h5"
    )
    assert (imported.fps, imported.snippet_frames, imported.simulated) == (16, 16, False)
    assert_same(imported, data)
