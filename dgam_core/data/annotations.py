"""What ActivityNet JSON says of the videos that features belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgam_core.data.activitynet_json import number_at, object_at, segment_at
from dgam_core.data.json_stream import excerpt, stream_object
from dgam_core.errors import InputError
from dgam_core.snippets import Segment


@dataclass(frozen=True)
class Annotation:
    """What is known of a video.

    Attributes:
        subset: as the file calls it, "" where it does not say.
        labels: classes of the video, sorted.
        segments: temporal annotations; fewer than labels where only the video as a whole is labelled.
        duration_s: its length, where the file tells.
        fps: its frames a second, where the file tells.
    """

    subset: str
    labels: tuple[str, ...]
    segments: tuple[Segment, ...]
    duration_s: float | None
    fps: float | None


def read_annotations(path: Path) -> dict[str, Annotation]:
    """Read {"database": {video: {"subset", "duration", "fps", "annotations": [{"label", "segment"}]}}}.

    Numbers may be strings. An annotation of nothing but a label is one of the whole video: all that weakly
    supervised training needs.

    Raises:
        InputError: the file cannot be read, or an entry is wrong.
    """
    found = {}
    for name, value in stream_object(path, "database"):
        at = f"{path}: video {name!r}"
        entry = object_at(value, at)
        rows = entry.get("annotations", [])
        if not isinstance(rows, list):
            raise InputError(f"{at} should have a list of annotations, not {excerpt(rows)}")
        labels, segments = set(), []
        for number, row in enumerate(rows, 1):
            label, segment = _row(row, f"{at}, annotation {number}")
            labels.add(label)
            segments += [segment] if segment else []
        found[name] = Annotation(
            str(entry.get("subset", "")),
            tuple(sorted(labels)),
            tuple(segments),
            _positive(entry, "duration", at),
            _positive(entry, "fps", at),
        )
    return found


def _positive(entry: Mapping[str, Any], key: str, at: str) -> float | None:
    """A number above zero; None where the entry has none."""
    if entry.get(key) is None:
        return None
    number = number_at(entry[key], at, key)
    if number <= 0:
        raise InputError(f"{at}: the {key} should be above zero, not {number:g}")
    return number


def _row(value: Any, at: str) -> tuple[str, Segment | None]:
    row = object_at(value, at)
    label, ends = row.get("label"), row.get("segment")
    if not isinstance(label, str) or not label:
        raise InputError(f"{at}: the label should be a string, not {excerpt(label)}")
    if set(row) <= {"label", "label_id"}:
        return label, None
    return label, Segment(label, *segment_at(ends, at))


def subset_to_test(subsets: Iterable[str]) -> str:
    """Return the name of the subset that is tested on: test, or validation where there is none."""
    return "test" if "test" in set(subsets) else "validation"
