"""Checks of a data set: names, labels, segments, and what each snippet shows."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from dgam_core.data.faults import refuse
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Kind, Segment, Video

# Share of the videos that may have segments beyond their end, or another length than their features: five of
# THUMOS14's 412 have such segments. The wrong fps or stride shows in far more.
MAX_ODD_SHARE = 0.05
# Frames per second and per snippet of features in circulation, the more frequent first.
USUAL_RATES = (25.0, 30.0, 24.0, 29.97, 23.976, 15.0, 10.0, 20.0, 12.5, 50.0, 60.0)
USUAL_FRAMES = (16, 8, 4, 32, 64)
MAX_PAIR_ERROR = 0.02  # share by which a usual length of snippets may differ from the median of the data
DURATION_SLACK = 0.05  # share of its duration, and one snippet, by which a video may differ from its features


def check(data: DataSet) -> None:
    """Check everything about a data set but the features' values.

    Raises:
        InputError: names that recur, no stream, unknown labels, segments outside their video, …
    """
    at = data.name
    if not data.videos:
        raise InputError(f"{at}: has no video")
    for noun, plural, names in (
        ("video", "videos", [v.name for v in data.videos]),
        ("class", "classes", list(data.classes)),
    ):
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        refuse(((name, f"{at}: the {noun} {name!r} occurs more than once") for name in twice), plural)
    alike = {name.casefold(): name for name in data.classes}
    if other := [name for name in data.classes if alike[name.casefold()] != name]:
        raise InputError(
            f"{at}: the classes {other[0]!r} and {alike[other[0].casefold()]!r} differ only in case; spell "
            "them alike"
        )
    if not data.features:
        raise InputError(f"{at}: has no stream of features")
    if not (data.fps > 0 and data.snippet_frames > 0):
        raise InputError(
            f"{at}: fps {data.fps} and frames per snippet {data.snippet_frames} must be above zero"
        )
    known = {video.name for video in data.videos}
    refuse(
        (name, f"{at}: {stream} features of an unknown video {name!r}")
        for stream in data.streams
        for name in sorted(set(data.features[stream]) - known)
    )
    _check_videos(data)
    if len(late := late_segments(data)) > MAX_ODD_SHARE * len(data.videos):
        refuse(
            (
                video.name,
                f"{at}: {video.name}: a segment of {segment.label!r} ends at {segment.end_s} s, beyond the "
                f"video's end at {video.duration_s:g} s; check fps and frames per snippet",
            )
            for video, segment in late
        )
    if len(odd := odd_durations(data)) > MAX_ODD_SHARE * len(data.videos):
        raise InputError(_mismatch(data, odd))
    _check_truth(data)


def late_segments(data: DataSet) -> list[tuple[Video, Segment]]:
    """Return the videos in which a segment ends beyond the video, each with its last such segment."""
    # Cutting a video into whole snippets can drop up to one snippet at its end.
    last = {
        v.name: (v, s) for v in data.videos for s in v.segments if s.end_s > v.duration_s + data.snippet_s
    }
    return list(last.values())


def oddities(data: DataSet) -> list[str]:
    """Return what is odd about single videos, too few for the data set to be refused."""
    late = [
        f"{video.name}: a segment ends at {segment.end_s:g} s, the video at {video.duration_s:g} s"
        for video, segment in late_segments(data)
    ]
    odd = [
        f"{video.name}: lasts {video.duration_s:g} s, its {video.num_snippets} snippets "
        f"{video.num_snippets * data.snippet_s:g} s"
        for video in odd_durations(data)
    ]
    bare = [video.name for video in data.videos if not video.segments and video.subset == "test"]
    without = [f"{len(bare)} test videos have no segment, such as {bare[0]}"] if bare else []
    return [*late, *odd, *without, *single_class(data)]


def single_class(data: DataSet) -> list[str]:
    """Say what it means that all training videos are of one class, if they are."""
    taught = {label for video in data.videos if video.subset == "train" for label in video.labels}
    if len(taught) != 1:
        return []
    return [
        f"every training video shows {min(taught)!r}: with one class alone, nothing tells action from "
        "background but the loss of the background, L_bg"
    ]


def odd_durations(data: DataSet) -> list[Video]:
    """Return the videos that last longer or shorter than their features, at the data set's fps and stride."""
    return [
        video
        for video in data.videos
        if abs(video.duration_s - video.num_snippets * data.snippet_s)
        > data.snippet_s + DURATION_SLACK * video.duration_s
    ]


def explains(
    rates: Mapping[str, float], frames: int, durations_s: Mapping[str, float], counts: Mapping[str, int]
) -> bool:
    """Return whether durations and numbers of snippets agree in nearly all videos whose duration is known.

    A video's last, incomplete snippet is dropped or padded: they may differ by one.

    Args:
        rates: video → frames per second.
        frames: frames per snippet.
        durations_s: video → duration in seconds.
        counts: video → number of snippets.
    """
    odd = [n for n, length_s in durations_s.items() if abs(length_s * rates[n] / frames - counts[n]) > 1]
    return bool(durations_s) and len(odd) <= MAX_ODD_SHARE * len(durations_s)


def fitting_pair(
    durations_s: Mapping[str, float], counts: Mapping[str, int], fps: float, frames: int
) -> tuple[float, int] | None:
    """Return usual frames per second and per snippet that fit all videos; None where there are none.

    Args:
        durations_s: video → duration in seconds.
        counts: video → number of snippets.
        fps: what was assumed; a pair with it, or else with `frames`, is preferred.
        frames: the same, per snippet.
    """
    median_s = float(np.median([length_s / counts[name] for name, length_s in durations_s.items()]))
    all_frames = dict.fromkeys((frames, *USUAL_FRAMES))
    pairs = [(fps, n) for n in all_frames] + [(rate, n) for n in all_frames for rate in USUAL_RATES]
    for rate, n in pairs:
        off = [abs(length_s * rate / n - counts[name]) for name, length_s in durations_s.items()]
        if abs(n / rate / median_s - 1) <= MAX_PAIR_ERROR and max(off) <= 1:
            return rate, n
    return None


def _mismatch(data: DataSet, odd: list[Video]) -> str:
    """Return what is wrong with the durations, and what would fit."""
    video = odd[0]
    frames = float(np.median([v.duration_s * data.fps / v.num_snippets for v in data.videos]))
    durations_s = {v.name: v.duration_s for v in data.videos}
    counts = {v.name: v.num_snippets for v in data.videos}
    if pair := fitting_pair(durations_s, counts, data.fps, data.snippet_frames):
        advice = f"{pair[0]:g} fps and {pair[1]} frames per snippet fit all"
    else:
        rate = data.fps * data.snippet_frames / frames
        advice = f"{frames:.1f} frames per snippet would fit, or {rate:.1f} fps"
    return (
        f"{data.name}: {video.name} lasts {video.duration_s:g} s, its {video.num_snippets} snippets of "
        f"{data.snippet_frames} frames last {video.num_snippets * data.snippet_s:g} s at {data.fps:g} fps, "
        f"and {len(odd)} of {len(data.videos)} videos disagree; {advice}: check both"
    )


def _check_videos(data: DataSet) -> None:
    """Check each video by itself; those with the fault of the first unsound one are refused together."""
    classes = set(data.classes)
    faults: dict[str, list[tuple[str, str]]] = {}
    for video in data.videos:
        for kind, sentence in _faults(video, data, classes):
            faults.setdefault(kind, []).append((video.name, f"{data.name}: {sentence}"))
    for of_kind in faults.values():
        refuse(of_kind)


def _faults(video: Video, data: DataSet, classes: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield kind and sentence of each fault of a video."""
    if "/" in video.name or video.name in ("", ".", ".."):
        yield "name", f"{video.name!r} cannot name a video; use a name without '/'"
    at = video.name
    if video.subset not in ("train", "test"):
        yield "subset", f"{at}: the subset is {video.subset!r}; it should be 'train' or 'test'"
    if video.num_snippets < 1 or not video.duration_s > 0:
        yield "length", f"{at}: has {video.num_snippets} snippets and lasts {video.duration_s} s"
    for label in (*video.labels, *(segment.label for segment in video.segments)):
        if label not in classes:
            yield (
                "unknown label",
                f"{at}: unknown label {label!r}; it is not among the {len(classes)} classes",
            )
    if video.subset == "train" and not video.labels:
        yield "no label", f"{at}: a training video without a label teaches nothing; label it or leave it out"
    for segment in video.segments:
        if not 0 <= segment.start_s <= segment.end_s:
            yield (
                "segment",
                f"{at}: a segment of {segment.label!r} goes from {segment.start_s} s to {segment.end_s} s; "
                "it should start at 0 s or later and end after its start",
            )
    for stream in data.streams:
        if video.name not in data.features[stream]:
            yield "features", f"{at}: has no {stream} features"


def _check_truth(data: DataSet) -> None:
    """Check what each snippet shows, where that is known."""
    kinds, classes = (data.kinds, 0, len(Kind) - 1), (data.snippet_classes, -1, len(data.classes) - 1)
    for noun, (truth, first, last) in (("kind", kinds), ("class", classes)):
        faults = []
        for video in data.videos if truth else ():
            values = truth.get(video.name, np.empty(0))
            if values.shape != (video.num_snippets,) or not first <= values.min() <= values.max() <= last:
                at = f"{data.name}: {video.name}"
                faults.append((video.name, f"{at}: each snippet needs a {noun} from {first} to {last}"))
        refuse(faults)
