"""Readers of the layouts that have RGB and flow features of a video side by side in one array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dgam_core.annotations import Annotation, read_annotations, subset_to_test
from dgam_core.errors import InputError
from dgam_core.layouts import (
    USUAL_FPS,
    USUAL_SNIPPET_FRAMES,
    check_names,
    inside,
    open_npy,
    read_split,
    the_fps,
    the_one,
    together,
    warn_left_over,
)
from dgam_core.object_arrays import Stored, read_object_array, read_torch
from dgam_core.snippets import DataSet, Segment, Video

JOINT = 2048  # dimensions of two I3D streams side by side


class Part(Mapping[str, NDArray[Any]]):
    """Video → the columns of one stream, read when asked for."""

    def __init__(self, arrays: Mapping[str, Path | Stored | NDArray[Any]], columns: slice) -> None:
        self._arrays, self._columns = dict(arrays), columns

    def __getitem__(self, video: str) -> NDArray[Any]:
        return np.asarray(_load(self._arrays[video]))[:, self._columns]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def _load(source: Path | Stored | NDArray[Any]) -> NDArray[Any]:
    """Read features from a .npy file, from .npz under the name feats, from .pt, or from within a file."""
    if isinstance(source, Stored):
        return source.load()
    if not isinstance(source, Path):
        return source
    refusal = "holds no array of features that can be read safely"
    if source.suffix == ".pt":
        values = read_torch(source, refusal)
        if not isinstance(values, torch.Tensor):
            raise InputError(f"{source}: {refusal}")
        return values.numpy()
    if source.suffix == ".npy":
        return open_npy(source)
    try:
        with np.load(source, allow_pickle=False) as archive:
            features: NDArray[Any] = archive["feats"]
    except Exception:  # a broken zip file raises errors of many kinds
        raise InputError(f"{source}: {refusal}") from None
    return features


def _shape(source: Path | Stored | NDArray[Any], what: str) -> tuple[int, int]:
    shape = source.shape if isinstance(source, Stored | np.ndarray) else _load(source).shape
    if len(shape) != 2:
        raise InputError(f"{what}: has the shape {shape}; it should be (snippets, dimensions)")
    return shape[0], shape[1]


def _parts(arrays: Mapping[str, Path | Stored | NDArray[Any]], dim: int) -> dict[str, Part]:
    """RGB and flow side by side, or else a single stream."""
    if dim == JOINT:
        return {"flow": Part(arrays, slice(dim // 2, None)), "rgb": Part(arrays, slice(dim // 2))}
    return {"joint": Part(arrays, slice(None))}


def read_acmnet(root: Path, fps: float | None = None, snippet_frames: int | None = None) -> DataSet:
    """Read layout C (ACM-Net, ASM-Loc).

    `<root>/{train,test}/<video>.npy`, (T, 2048), RGB before flow; `<root>/split_{train,test}.txt` and
    `<root>/gt.json`.

    Args:
        root: the folder.
        fps: frames a second; without it 25.
        snippet_frames: frames a snippet; without it 16.
    Raises:
        InputError: a file is missing or cannot be read, or a video lacks annotations or features.
    """
    root = Path(root)
    known = read_annotations(root / "gt.json")
    names = {subset: read_split(root / f"split_{subset}.txt") for subset in ("train", "test")}
    present = {path.stem for subset in names for path in (root / subset).glob("*.npy")}
    check_names(root, names, known, present)
    arrays = {
        name: inside(root / subset, f"{name}.npy") for subset, listed in names.items() for name in listed
    }
    fps, snippet_frames = fps or USUAL_FPS, snippet_frames or USUAL_SNIPPET_FRAMES
    return _annotated(root, "the ACM-Net layout", known, names, arrays, fps, snippet_frames)


def read_actionformer(root: Path, fps: float | None = None, snippet_frames: int | None = None) -> DataSet:
    """Read layout E (ActionFormer, OpenTAD).

    `<root>/annotations/*.json` and `<root>/*features*/<prefix><video>{.npy,.npz,.pt}`. A snippet lasts as
    long as the stride from one to the next; the files do not tell it. Videos that OpenTAD's
    `missing_files.txt` names are left out.

    Args:
        root: the folder.
        fps: frames a second; without it, what the annotations say.
        snippet_frames: the stride in frames; without it 4, as of the THUMOS14 features in circulation.
    Raises:
        InputError: a file is missing or cannot be read, or a video lacks annotations or features.
    """
    root = Path(root)
    path = the_one(root / "annotations", "*.json")
    folder = the_one(root, "*features*")
    files = {file.stem: file for file in folder.iterdir() if file.suffix in (".npy", ".npz", ".pt")}
    absent = root / "missing_files.txt"
    left_out = set(read_split(absent)) if absent.is_file() else set()
    known = {name: own for name, own in read_annotations(path).items() if name not in left_out}
    test = subset_to_test(own.subset for own in known.values())
    names: dict[str, list[str]] = {"train": [], "test": []}
    for name, own in known.items():
        names["test" if own.subset == test else "train"].append(name)
    arrays = {name: inside(folder, _file_of(files, name, folder)) for name in known}
    check_names(root, names, known)
    warn_left_over(folder, "features", set(files) - {array.stem for array in arrays.values()})
    rate = fps or the_fps(path, known.values()) or USUAL_FPS
    return _annotated(root, "the ActionFormer layout", known, names, arrays, rate, snippet_frames or 4)


def _file_of(files: Mapping[str, Path], name: str, folder: Path) -> str:
    """The file whose name ends in the video's; a prefix is the same for all."""
    found = [file for stem, file in files.items() if stem == name] or [
        file for stem, file in files.items() if stem.endswith(name)
    ]
    if len(found) != 1:
        raise InputError(
            f"{folder}: has {len(found)} files for the video {name!r}; it should have one; list videos "
            "without features in missing_files.txt"
        )
    return found[0].name


def read_wtalc(root: Path, fps: float | None = None, snippet_frames: int | None = None) -> DataSet:
    """Read layout D (W-TALC, 3C-Net, HAM-Net, CO2-Net, DELU, P-MIL).

    `<root>/*-I3D-JOINTFeatures.npy`, an object array of N arrays (T, 2048), and `<root>/*-Annotations/`.

    Args:
        root: the folder.
        fps: frames a second; without it 25, whatever `extracted_fps` says, as in these projects.
        snippet_frames: frames a snippet; without it 16.
    Raises:
        InputError: a file is missing or cannot be read, holds anything but plain objects, or numbers of
            videos disagree.
    """
    root = Path(root)
    features = the_one(root, "*-I3D-JOINTFeatures.npy")
    videos = read_wtalc_annotations(the_one(root, "*-Annotations"))
    values = read_object_array(features)
    if len(values) != len(videos):
        raise InputError(f"{features}: has {len(values)} videos; the annotations have {len(videos)}")
    arrays: dict[str, Stored | NDArray[Any]] = {}
    for (name, *_), value in zip(videos, values, strict=True):
        if not isinstance(value, Stored | np.ndarray):
            raise InputError(f"{features}: video {name!r} has no array of features")
        arrays[name] = value
    fps, snippet_frames = fps or USUAL_FPS, snippet_frames or USUAL_SNIPPET_FRAMES
    shapes = {name: _shape(value, f"{features}: video {name!r}") for name, value in arrays.items()}
    found = tuple(
        Video(
            name,
            subset,
            duration_s or shapes[name][0] * snippet_frames / fps,
            shapes[name][0],
            labels,
            segments,
        )
        for name, subset, duration_s, labels, segments in videos
    )
    classes = tuple(
        sorted(set().union(*(v.labels for v in found), *({s.label for s in v.segments} for v in found)))
    )
    dim = next(iter(shapes.values()))[1]
    return together(root, "the W-TALC layout", fps, snippet_frames, classes, found, _parts(arrays, dim))


WtalcVideo = tuple[str, str, float, tuple[str, ...], tuple[Segment, ...]]


def read_wtalc_annotations(folder: Path) -> list[WtalcVideo]:
    """Read W-TALC's annotations: name, subset, duration (s), labels and segments of each video.

    The labels are those of `labels_all`, with which these projects train. They are not always those of the
    segments: in THUMOS14's they differ for 28 of 412 videos.
    """
    columns = ("videoname", "subset", "duration", "labels_all", "labels", "segments")
    values = {column: read_object_array(folder / f"{column}.npy") for column in columns}
    if len({len(column) for column in values.values()}) > 1:
        counts = ", ".join(f"{column} {len(own)}" for column, own in values.items())
        raise InputError(f"{folder}: the files disagree on the number of videos: {counts}")
    subsets = [_text(subset) for subset in values["subset"]]
    test = subset_to_test(subsets)
    videos: list[WtalcVideo] = []
    for i, subset in enumerate(subsets):
        name = _text(values["videoname"][i])
        labels, ends = values["labels"][i], values["segments"][i]
        if len(labels) != len(ends):
            raise InputError(f"{folder}: {name}: has {len(labels)} labels for {len(ends)} segments")
        segments = tuple(
            Segment(_text(label), float(a), float(b)) for label, (a, b) in zip(labels, ends, strict=True)
        )
        whole = tuple(sorted({_text(label) for label in values["labels_all"][i]}))
        duration_s = float(np.asarray(values["duration"][i]).reshape(-1)[0])
        videos.append((name, "test" if subset == test else "train", duration_s, whole, segments))
    return videos


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _annotated(
    root: Path,
    layout: str,
    known: Mapping[str, Annotation],
    names: Mapping[str, Sequence[str]],
    arrays: Mapping[str, Path],
    fps: float,
    snippet_frames: int,
) -> DataSet:
    """Put a data set together from ActivityNet's annotations and a file a video."""
    videos, dim = [], 0
    for subset, listed in names.items():
        for name in listed:
            count, dim = _shape(arrays[name], str(arrays[name]))
            own = known[name]
            duration_s = own.duration_s or count * snippet_frames / fps
            videos.append(Video(name, subset, duration_s, count, own.labels, own.segments))
    classes = tuple(sorted({label for video in videos for label in video.labels}))
    return together(root, layout, fps, snippet_frames, classes, videos, _parts(arrays, dim))
