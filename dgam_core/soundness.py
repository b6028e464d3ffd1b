"""Whether a data set is sound: names, labels, segments, and what each snippet shows."""

from __future__ import annotations

from collections import Counter

import numpy as np

from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Kind, Segment, Video

# Share of the videos that may have segments beyond their end: five of THUMOS14's 412 have. The wrong fps or
# stride shows in far more.
SHARE = 0.05


def check(data: DataSet) -> None:
    """Check everything about a data set but the features' values.

    Raises:
        InputError: names that recur, no stream, unknown labels, segments outside their video, …
    """
    at = data.name
    for what, names in (("video", [v.name for v in data.videos]), ("class", list(data.classes))):
        if not names:
            raise InputError(f"{at}: has no {what}")
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise InputError(f"{at}: the {what} {min(twice)!r} occurs more than once")
    if not data.features:
        raise InputError(f"{at}: has no stream of features")
    if not (data.fps > 0 and data.snippet_frames > 0):
        raise InputError(
            f"{at}: fps {data.fps} and frames a snippet {data.snippet_frames} must be above zero"
        )
    for stream in data.streams:
        if strange := set(data.features[stream]) - {v.name for v in data.videos}:
            raise InputError(f"{at}: {stream} features of an unknown video {sorted(strange)[0]!r}")
    classes = set(data.classes)
    for video in data.videos:
        _check_video(video, classes, data)
    late = late_segments(data)
    if len(late) > SHARE * len(data.videos):
        video, segment = late[0]
        raise InputError(
            f"{at}: {video.name}: a segment of {segment.label!r} ends at {segment.end_s} s, beyond the "
            f"video's end at {video.duration_s:g} s; check fps and frames a snippet"
        )
    _check_truth(data)


def late_segments(data: DataSet) -> list[tuple[Video, Segment]]:
    """Return the videos in which a segment ends beyond the video, each with its last such segment."""
    # Cutting a video into whole snippets can drop up to one snippet at its end.
    found = {
        v.name: (v, s) for v in data.videos for s in v.segments if s.end_s > v.duration_s + data.snippet_s
    }
    return list(found.values())


def _check_video(video: Video, classes: set[str], data: DataSet) -> None:
    at = f"{data.name}: {video.name}"
    if "/" in video.name or video.name in ("", ".", ".."):
        raise InputError(f"{data.name}: {video.name!r} cannot name a video; use a name without '/'")
    if video.subset not in ("train", "test"):
        raise InputError(f"{at}: the subset is {video.subset!r}; it should be 'train' or 'test'")
    if video.num_snippets < 1 or not video.duration_s > 0:
        raise InputError(f"{at}: has {video.num_snippets} snippets and lasts {video.duration_s} s")
    for label in (*video.labels, *(segment.label for segment in video.segments)):
        if label not in classes:
            raise InputError(f"{at}: unknown label {label!r}; it is not among the {len(classes)} classes")
    if video.subset == "train" and not video.labels:
        raise InputError(f"{at}: a training video without a label teaches nothing; label it or leave it out")
    for segment in video.segments:
        if not 0 <= segment.start_s <= segment.end_s:
            raise InputError(
                f"{at}: a segment of {segment.label!r} goes from {segment.start_s} s to {segment.end_s} s; "
                "it should start at 0 s or later and end after its start"
            )
    for stream in data.streams:
        if video.name not in data.features[stream]:
            raise InputError(f"{at}: has no {stream} features")


def _check_truth(data: DataSet) -> None:
    """Check what each snippet shows, where that is known."""
    kinds, classes = (data.kinds, 0, len(Kind) - 1), (data.snippet_classes, -1, len(data.classes) - 1)
    for what, (truth, first, last) in (("kind", kinds), ("class", classes)):
        for video in data.videos if truth else ():
            at, values = f"{data.name}: {video.name}", truth.get(video.name, np.empty(0))
            if values.shape != (video.num_snippets,) or not first <= values.min() <= values.max() <= last:
                raise InputError(f"{at}: each snippet needs a {what} from {first} to {last}")
