"""ActivityNet JSON: detections and ground truth, in and out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgam_core.errors import InputError
from dgam_core.files import whole_file
from dgam_core.segments import SegmentTable

Row = tuple[str, str, float, float, float]


@dataclass(frozen=True)
class GroundTruth:
    """Videos of one subset, those without annotations included, and their segments."""

    videos: tuple[str, ...]
    segments: SegmentTable


def read_ground_truth(path: Path, subset: str | None = None) -> GroundTruth:
    """Read {"database": {video: {"subset", "annotations": [{"label", "segment"}]}}}.

    Args:
        path: the file; segments may be numbers or strings of numbers, in seconds.
        subset: which subset; without it "test" if there is one, else "validation", else the only one.
    Raises:
        InputError: the file cannot be read, an entry is wrong, the subset has no segment, or none is
            named and the file has several but neither "test" nor "validation".
    """
    database = _object(_object(read_json(path), f"{path}: the file").get("database"), f'{path}: "database"')
    subsets: dict[str, list[str]] = {}
    for video, entry in database.items():
        name = _object(entry, f"{path}: video {video!r}").get("subset")
        if not isinstance(name, str):
            raise InputError(f"{path}: video {video!r} has no subset")
        subsets.setdefault(name, []).append(video)
    present = ", ".join(map(repr, subsets)) or "no video"
    if subset is None:
        usual = [name for name in ("test", "validation") if name in subsets]
        if not usual and len(subsets) > 1:
            raise InputError(f"{path}: has several subsets, {present}; say which one to evaluate against")
        subset = next(iter(usual or subsets), "test")
    if subset not in subsets:
        raise InputError(f"{path}: has no subset {subset!r}; it has {present}")
    segments = SegmentTable.from_rows(
        row
        for video in subsets[subset]
        for row in _rows(database[video].get("annotations"), path, video, "annotation")
    )
    if not len(segments):
        raise InputError(f"{path}: the subset {subset!r} has no annotated segment to evaluate against")
    return GroundTruth(tuple(subsets[subset]), segments)


def read_detections(path: Path) -> SegmentTable:
    """Read {"results": {video: [{"label", "score", "segment"}]}}.

    Raises:
        InputError: the file cannot be read, or an entry is wrong.
    """
    results = _object(_object(read_json(path), f"{path}: the file").get("results"), f'{path}: "results"')
    return SegmentTable.from_rows(
        row for video, entries in results.items() for row in _rows(entries, path, video, "detection")
    )


def write_detections(path: Path, detections: SegmentTable) -> None:
    """Write detections in the shape that `read_detections` reads, whole or not at all."""
    results: dict[str, list[dict[str, Any]]] = {}
    columns = (detections.video, detections.label, detections.start_s, detections.end_s, detections.score)
    for video, label, start_s, end_s, score in zip(*(column.tolist() for column in columns), strict=True):
        results.setdefault(video, []).append({"label": label, "score": score, "segment": [start_s, end_s]})
    content = {"version": "DGAM companion", "external_data": {}, "results": results}
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing, or is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file in UTF-8") from None
    except ValueError as error:  # also an integer of thousands of digits, which Python refuses to read
        raise InputError(f"{path}: is not valid JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply to be detections or annotations") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, and refuse a name given twice, of which JSON would silently drop one."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} occurs twice in one object")
    return content


def _object(value: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{at} should be an object {{…}}, not {_excerpt(value)}")
    return value


def _rows(entries: Any, path: Path, video: str, what: str) -> Iterator[Row]:
    if not isinstance(entries, list):
        raise InputError(f"{path}: video {video!r} should have a list of {what}s, not {_excerpt(entries)}")
    for number, entry in enumerate(entries, 1):
        at = f"{path}: video {video!r}, {what} {number}"
        entry = _object(entry, at)
        label, segment = entry.get("label"), entry.get("segment")
        if not isinstance(label, str):
            raise InputError(f"{at}: the label should be a string, not {_excerpt(label)}")
        if not isinstance(segment, list) or len(segment) != 2:
            raise InputError(f"{at}: the segment should be [start, end] in seconds, not {_excerpt(segment)}")
        start_s, end_s = _number(segment[0], at, "start"), _number(segment[1], at, "end")
        if end_s < start_s:
            raise InputError(f"{at}: the segment ends before it starts: {end_s:g} s < {start_s:g} s")
        score = _number(entry.get("score"), at, "score") if what == "detection" else 0.0
        yield video, label, start_s, end_s, score


def _number(value: Any, at: str, what: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{at}: the {what} should be a finite number, not {_excerpt(value)}")
    return number


def _excerpt(value: Any) -> str:
    """A value for an error message: short, on one line."""
    text = "missing" if value is None else ascii(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
