"""ActivityNet JSON: annotations, ground truth and detections."""

import json
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from dgam_core.data.faults import Fault, Faults, read_each, refuse
from dgam_core.data.json_stream import excerpt, stream_object
from dgam_core.errors import InputError
from dgam_core.segments import AMBIGUOUS, SegmentTable
from dgam_core.snippets import Segment
from dgam_core.system.files import read_text, whole_file

Row = tuple[str, str, float, float, float]
T = TypeVar("T")
MAX_NAME_LENGTH = 200  # characters


@dataclass(frozen=True)
class Annotation:
    """What is known of a video.

    Attributes:
        subset: as the file calls it, "" where it does not say.
        labels: classes of the video, sorted.
        segments: temporal annotations; fewer than labels where only the video as a whole is labelled.
        duration_s: its length, where the file tells.
        fps: its frames per second, where the file tells.
    """

    subset: str
    labels: tuple[str, ...]
    segments: tuple[Segment, ...]
    duration_s: float | None
    fps: float | None


@dataclass(frozen=True)
class _Place:
    """A video in a file.

    Attributes:
        path: the file.
        video: name of the video.
        faults: those found in the file so far.
    """

    path: Path
    video: str
    faults: Faults

    @property
    def at(self) -> str:
        """Where it is, as messages begin."""
        return f"{self.path}: video {self.video!r}"

    def each(self, values: Any, what: str, read: Callable[[dict[str, Any], str], T]) -> list[T]:
        """Return what `read` makes of each object in a list and where it stands, but for those with a fault.

        Raises:
            Fault: there is no list.
        """
        at = self.at
        if not isinstance(values, list):
            raise Fault(f"{at} should have a list of {what}s, not {excerpt(values)}", "no list")
        numbered = (
            (f"{n} of {self.video}", (value, f"{at}, {what} {n}")) for n, value in enumerate(values, 1)
        )
        sound = self.faults.sound(f"{what}s", numbered, lambda value, at: read(_object(value, at), at))
        return [found for _, found in sound]


def _of_videos(
    path: Path, entries: Iterable[tuple[str, Any]], read: Callable[[_Place, Any], T]
) -> Iterator[tuple[str, T]]:
    """Yield each video with what `read` makes of its entry; faults are refused at the end, all of a kind.

    Raises:
        InputError: there were faults.
    """
    faults = Faults()
    placed = ((video, (_Place(path, video, faults), entry)) for video, entry in entries)
    yield from faults.sound("videos", placed, read)
    faults.refuse()


def read_annotations(path: Path) -> dict[str, Annotation]:
    """Read {"database": {video: {"subset", "duration", "fps", "annotations": [{"label", "segment"}]}}}.

    Numbers may be strings. An annotation that has only a label is one of the whole video: all that weakly
    supervised training needs.

    Raises:
        InputError: the file cannot be read, or an entry is wrong.
    """
    return dict(_of_videos(path, stream_object(path, "database"), _annotation))


def _annotation(place: _Place, value: Any) -> Annotation:
    entry = _object(value, place.at)
    rows = place.each(entry.get("annotations", []), "annotation", _label_and_segment)
    return Annotation(
        str(entry.get("subset", "")),
        tuple(sorted({label for label, _ in rows})),
        tuple(segment for _, segment in rows if segment),
        _positive(entry, "duration", place.at),
        _positive(entry, "fps", place.at),
    )


def _label_and_segment(row: Mapping[str, Any], at: str) -> tuple[str, Segment | None]:
    """Return what a video shows, and when, if somebody has said that."""
    label = _label(row, at)
    return label, None if _is_label_alone(row) else Segment(label, *start_and_end(row.get("segment"), at))


# What files call a subset, in any case → what it is.
SUBSETS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


def train_and_test(annotations: Mapping[str, Annotation], origin: Path) -> dict[str, Annotation]:
    """Call the subset that is tested on "test", and all others "train".

    It is the one called test or testing, or the validation videos where there is none. Testing videos that
    nobody has annotated, such as ActivityNet's, are left out where there are validation videos; a warning
    says how many, and another one where no video is tested on.

    Args:
        annotations: video → annotation, its subset as a file calls it.
        origin: that file, for messages.
    Raises:
        InputError: a video has no subset, or one of another name.
    """
    words = {name: annotation.subset.strip().casefold() for name, annotation in annotations.items()}
    called = {
        name: f"the subset {annotations[name].subset!r}" if words[name] else "no subset" for name in words
    }
    known = ", ".join(SUBSETS)
    refuse(
        (name, f"{origin}: video {name!r} has {called[name]}; it should be one of {known}")
        for name, word in words.items()
        if word not in SUBSETS
    )
    subsets = {name: SUBSETS[word] for name, word in words.items()}
    test = [name for name, subset in subsets.items() if subset == "test"]
    if test and "validation" in subsets.values() and not any(annotations[name].labels for name in test):
        warnings.warn(
            f"{origin}: {len(test)} testing videos without annotations are left out, such as {min(test)!r}",
            stacklevel=2,
        )
        subsets = {name: subset for name, subset in subsets.items() if subset != "test"}
    tested = "test" if "test" in subsets.values() else "validation"
    if tested not in subsets.values():
        warnings.warn(f"{origin}: no video is in a test or validation subset; all train", stacklevel=2)
    return {
        name: replace(annotations[name], subset="test" if subset == tested else "train")
        for name, subset in subsets.items()
    }


@dataclass(frozen=True)
class GroundTruth:
    """Videos of one subset, those without annotations included, and their segments.

    Attributes:
        videos: their names.
        segments: what there is to find.
        durations_s: video → duration in seconds, of those for which the file tells.
        without_segments: videos that have labels alone; nobody says when their actions happen, and they are
            not among `videos`.
    """

    videos: tuple[str, ...]
    segments: SegmentTable
    durations_s: Mapping[str, float]
    without_segments: tuple[str, ...] = ()


def read_ground_truth(path: Path, subset: str | None = None) -> GroundTruth:
    """Read {"database": {video: {"subset", "annotations": [{"label", "segment"}]}}}.

    Annotations that have only a label say of nothing when it happens; a video with no others is left out.

    Args:
        path: the file; segments may be numbers or strings of numbers, in seconds.
        subset: which subset; without it test (or testing) if it has annotations, else validation (or val),
            else the only one. The case of letters does not matter.
    Raises:
        InputError: the file cannot be read, an entry is wrong, the subset has no segment, or none is
            named and the file has several but neither "test" nor "validation".
    """
    subsets = _by_subset(path)
    present = ", ".join(map(repr, subsets)) or "no video"
    if subset is None:
        usual = [
            name
            for wanted in ("test", "validation")
            for name in subsets
            if SUBSETS.get(name) == wanted
            and any(entry.get("annotations") for entry in subsets[name].values())
        ]
        if not usual and len(subsets) > 1:
            raise InputError(f"{path}: has several subsets, {present}; say which one to evaluate against")
        subset = next(iter(usual or subsets), "test")
    subset = subset.strip().casefold()
    if subset not in subsets:
        raise InputError(f"{path}: has no subset {subset!r}; it has {present}")
    entries = ((video, entry.get("annotations")) for video, entry in subsets[subset].items())
    rows_of = dict(_of_videos(path, entries, _segments))
    segments = SegmentTable.from_rows(row for rows in rows_of.values() for row in rows)
    if not len(segments):
        raise InputError(f"{path}: the subset {subset!r} has no annotated segment to evaluate against")
    without = tuple(v for v, rows in rows_of.items() if not rows and subsets[subset][v]["annotations"])
    durations_s = {
        video: float(entry["duration"])
        for video, entry in subsets[subset].items()
        if isinstance(entry.get("duration"), int | float)
    }
    videos = tuple(video for video in rows_of if video not in without)
    return GroundTruth(videos, segments, durations_s, without)


def _by_subset(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return subset → video → its entry, of a file of annotations; subsets in lower case."""
    subsets: dict[str, dict[str, dict[str, Any]]] = {}
    for video, (subset, entry) in _of_videos(path, stream_object(path, "database"), _subset_and_entry):
        subsets.setdefault(subset, {})[video] = entry
    return subsets


def _subset_and_entry(place: _Place, value: Any) -> tuple[str, dict[str, Any]]:
    entry = _object(value, place.at)
    if not isinstance(subset := entry.get("subset"), str):
        raise Fault(f"{place.at} has no subset", "no subset")
    return subset.strip().casefold(), entry


def read_class_ids(path: Path) -> dict[int, str]:
    """Read which number each class has, "label_id" beside "label", in annotations as above.

    Returns:
        Number → class; empty where the file has no such numbers.
    Raises:
        InputError: the file cannot be read, an entry is wrong, or a number stands for two classes.
    """
    names: dict[int, str] = {}

    def note(row: Mapping[str, Any], at: str) -> None:
        if "label_id" in row:
            number, label = int(finite_number(row["label_id"], at, "label_id")), _label(row, at)
            if names.setdefault(number, label) != label:
                raise Fault(
                    f"{at}: label_id {number} is {label!r} here, {names[number]!r} before", "two classes"
                )

    def note_all(place: _Place, value: Any) -> None:
        place.each(_object(value, place.at).get("annotations", []), "annotation", note)

    for _ in _of_videos(path, stream_object(path, "database"), note_all):
        pass
    return names


def read_detections(path: Path) -> SegmentTable:
    """Read {"results": {video: [{"label", "score", "segment"}]}}.

    Raises:
        InputError: the file cannot be read, or an entry is wrong.
    """
    of_videos = _of_videos(path, stream_object(path, "results"), _detections)
    return SegmentTable.from_rows(row for _, rows in of_videos for row in rows)


def write_detections(path: Path, detections: SegmentTable) -> None:
    """Write detections in the shape that `read_detections` reads, whole or not at all."""
    results: dict[str, list[dict[str, Any]]] = {}
    for video, label, start_s, end_s, score in detections.rows():
        results.setdefault(video, []).append({"label": label, "score": score, "segment": [start_s, end_s]})
    content = {"version": "DGAM companion", "external_data": {}, "results": results}
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def read_ambiguous(path: Path) -> SegmentTable:
    """Read segments that may be an action or not, as W-TALC lists them.

    Each line holds a video, a start and an end in seconds.

    Raises:
        InputError: the file cannot be read, or a line is wrong.
    """
    lines = read_text(path).splitlines()
    return SegmentTable.from_rows(
        read_each(path, "line", lines, lambda line, at: row_of_line(line, AMBIGUOUS, at))
    )


def row_of_line(line: str, label: str, at: str) -> Row:
    """Return a segment given as a line of text: video, start and end in seconds.

    Raises:
        Fault: it is something else; `at` says where.
    """
    words = line.strip().rsplit(maxsplit=2)
    if len(words) != 3:
        raise Fault(f"{at}: should be a video, a start and an end, not {excerpt(line)}", "no segment")
    return (check_name(words[0], at), label, *ordered_segment(words[1:], at), 0.0)


def _segments(place: _Place, entries: Any) -> list[Row]:
    """Return the annotations of a video that say when."""
    check_name(place.video, str(place.path))

    def row(entry: Mapping[str, Any], at: str) -> Row | None:
        label = _label(entry, at)
        if _is_label_alone(entry):
            return None
        return (place.video, label, *ordered_segment(entry.get("segment"), at), 0.0)

    return [found for found in place.each(entries, "annotation", row) if found]


def _detections(place: _Place, entries: Any) -> list[Row]:
    check_name(place.video, str(place.path))

    def row(entry: Mapping[str, Any], at: str) -> Row:
        label, (start_s, end_s) = _label(entry, at), ordered_segment(entry.get("segment"), at)
        return place.video, label, start_s, end_s, finite_number(entry.get("score"), at, "score")

    return place.each(entries, "detection", row)


def _is_label_alone(entry: Mapping[str, Any]) -> bool:
    """Whether an annotation is of the whole video: all that weakly supervised training needs."""
    return set(entry) <= {"label", "label_id"}


def _object(value: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Fault(f"{at} should be an object {{…}}, not {excerpt(value)}", "no object")
    return value


def _label(entry: Mapping[str, Any], at: str) -> str:
    label = entry.get("label")
    if not isinstance(label, str) or not label:
        raise Fault(f"{at}: the label should be a string, not {excerpt(label)}", "label")
    return check_name(label, at, "label")


def check_name(name: str, at: str, what: str = "video") -> str:
    """Return the name of a video or class if it is one; memory goes by the longest.

    Raises:
        Fault: it is empty or too long; `at` says where it stands.
    """
    if not name:
        raise Fault(f"{at}: the {what} has no name", f"no name of a {what}")
    if len(name) > MAX_NAME_LENGTH:
        raise Fault(
            f"{at}: the {what} {excerpt(name)} has more than {MAX_NAME_LENGTH} characters",
            f"long name of a {what}",
        )
    return name


def ordered_segment(value: Any, at: str) -> tuple[float, float]:
    """Return start and end in seconds, given as a list of two numbers or strings of numbers.

    Raises:
        Fault: they are something else, or the segment ends before it starts; `at` says where.
    """
    start_s, end_s = start_and_end(value, at)
    if end_s < start_s:
        raise Fault(f"{at}: the segment ends before it starts: {end_s:g} s < {start_s:g} s", "order")
    return start_s, end_s


def start_and_end(value: Any, at: str) -> tuple[float, float]:
    """Return start and end in seconds, given as a list of two numbers or strings of numbers.

    Raises:
        Fault: they are something else; `at` says where.
    """
    if not isinstance(value, list) or len(value) != 2:
        raise Fault(f"{at}: the segment should be [start, end] in seconds, not {excerpt(value)}", "segment")
    return finite_number(value[0], at, "start"), finite_number(value[1], at, "end")


def finite_number(value: Any, at: str, what: str) -> float:
    """Return a finite number, given as such or as a string.

    Raises:
        Fault: it is something else; `at` says where, and `what` it should be.
    """
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise Fault(f"{at}: the {what} should be a finite number, not {excerpt(value)}", f"finite {what}")
    return number


def _positive(entry: Mapping[str, Any], key: str, at: str) -> float | None:
    """Return a number above zero; None where the entry has none."""
    if entry.get(key) is None:
        return None
    number = finite_number(entry[key], at, key)
    if number <= 0:
        raise Fault(f"{at}: the {key} should be above zero, not {number:g}", f"positive {key}")
    return number
