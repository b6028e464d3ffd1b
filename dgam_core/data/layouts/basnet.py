"""Layout B (BaS-Net, UM, CoLA): one .npy file per video and stream."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dgam_core.data.activitynet_json import Annotation
from dgam_core.data.layouts.common import (
    SIMULATED,
    USUAL_SNIPPET_FRAMES,
    VideoFile,
    at_one_rate,
    check_files,
    durations_of,
    make_data_set,
    rates_of,
    read_splits,
    read_streams,
)
from dgam_core.data.soundness import explains, fitting_pair
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet
from dgam_core.system.files import whole_folder


def read_basnet(root: Path, fps: float | None = None, snippet_frames: int | None = None) -> DataSet:
    """Read layout B (BaS-Net, UM, CoLA).

    `<root>/gt.json`, `<root>/split_{train,test}.txt`, `<root>/features/{train,test}/<stream>/<video>.npy`.

    Args:
        fps: frames per second; without it, what gt.json says, video by video where durations agree, else 25.
        snippet_frames: frames per snippet; without it, what durations, fps and the features' lengths
            agree on, else 16.
    Raises:
        InputError: a file is missing or cannot be read, a video lacks annotations or features, …
    """
    annotations = read_splits(root, (root / "features").glob("*/*/*.npy"))
    paths = _find_features(root / "features", annotations)
    features: Mapping[str, Mapping[str, Any]]
    features, counts, longest = read_streams(root, paths)
    rates = rates_of(annotations)
    if fps is None and len({round(rate) for rate in rates.values()}) > 1:
        snippet_frames = snippet_frames or USUAL_SNIPPET_FRAMES
        if not explains(rates, snippet_frames, durations_of(annotations), longest):
            told = sorted(set(rates.values()))
            raise InputError(f"{root / 'gt.json'}: has videos of different fps {told}; say which with --fps")
        fps, counts, features = at_one_rate(root, rates, counts, features)
    fps = fps or min(rates.values())
    snippet_frames = snippet_frames or _snippet_frames(root, annotations, longest, fps)
    return make_data_set(root, "the BaS-Net layout", fps, snippet_frames, annotations, counts, features)


def _snippet_frames(
    root: Path, annotations: Mapping[str, Annotation], counts: Mapping[str, int], fps: float
) -> int:
    """Return the frames per snippet on which nearly all durations agree, the usual 16 where they allow it."""
    durations_s = durations_of(annotations)
    if not durations_s:
        return USUAL_SNIPPET_FRAMES
    rates = dict.fromkeys(counts, fps)
    ratios = {name: duration_s * fps / counts[name] for name, duration_s in durations_s.items()}
    median = float(np.median(list(ratios.values())))
    frames = max(1, round(median))
    is_exact = abs(median - frames) < 0.01
    if not is_exact and explains(rates, USUAL_SNIPPET_FRAMES, durations_s, counts):
        return USUAL_SNIPPET_FRAMES
    pair = fitting_pair(durations_s, counts, fps, USUAL_SNIPPET_FRAMES)
    is_plain = is_exact or frames % 4 == 0 or frames % 5 == 0
    if (pair is None or is_plain) and explains(rates, frames, durations_s, counts):
        return frames
    # A number such as 17 is rather that of another rate.
    name = max(ratios, key=lambda video: abs(ratios[video] - USUAL_SNIPPET_FRAMES))
    at = (
        f"{root}: {name} lasts {durations_s[name]:g} s but has {counts[name]} snippets, {ratios[name]:.2f} "
        f"frames each at {fps:g} fps"
    )
    if pair is None:
        raise InputError(f"{at}, other videos have {frames}; check fps and stride")
    raise InputError(
        f"{at}; {pair[0]:g} fps and {pair[1]} frames per snippet fit all videos: give --fps {pair[0]:g} "
        f"--snippet-frames {pair[1]}, or what the features were made with"
    )


def _find_features(folder: Path, annotations: Mapping[str, Annotation]) -> dict[str, dict[str, Path]]:
    """Return stream → video → path."""
    parts = [*folder.glob("train/*"), *folder.glob("test/*")]
    streams = {path.name for path in parts if path.is_dir()}
    if not streams:
        raise InputError(f"{folder}: has no features; they should lie in {folder}/train/<stream>/<video>.npy")
    files = {
        stream: [
            VideoFile(name, folder, f"{annotation.subset}/{stream}/{name}.npy", f"{stream} features")
            for name, annotation in annotations.items()
        ]
        for stream in sorted(streams)
    }
    check_files([file for of_stream in files.values() for file in of_stream])
    return {stream: {file.video: file.path for file in of_stream} for stream, of_stream in files.items()}


def write_basnet(folder: Path, data: DataSet, progress: Callable[[str], object] = lambda _: None) -> None:
    """Write a data set in layout B (BaS-Net, UM, CoLA); a video that is labelled as a whole keeps its label.

    Args:
        folder: must not exist yet.
        data: the data set; its features are read one video at a time.
        progress: called with "<stream>/<video>" after each.
    Raises:
        InputError: the folder exists.
    """
    if folder.exists():
        raise InputError(f"{folder}: exists; give the name of a new folder")
    with whole_folder(folder) as temporary:
        database = {}
        for video in data.videos:
            rows = [
                {"label": segment.label, "segment": [segment.start_s, segment.end_s]}
                for segment in video.segments
            ]
            whole = set(video.labels) - {segment.label for segment in video.segments}
            database[video.name] = {
                "subset": video.subset,
                "duration": video.duration_s,
                "fps": data.fps,
                "annotations": [*rows, *({"label": label} for label in sorted(whole))],
            }
            for stream in data.streams:
                stream_folder = temporary / "features" / video.subset / stream
                stream_folder.mkdir(parents=True, exist_ok=True)
                np.save(stream_folder / f"{video.name}.npy", data.load(stream, video.name))
                progress(f"{stream}/{video.name}")
        (temporary / "gt.json").write_text(json.dumps({"database": database}, indent=1), encoding="utf-8")
        for subset in ("train", "test"):
            names = [f"{video.name}\n" for video in data.videos if video.subset == subset]
            (temporary / f"split_{subset}.txt").write_text("".join(names), encoding="utf-8")
        if data.simulated:
            (temporary / SIMULATED).write_text(f"These features are {data.source}.\n", encoding="utf-8")
