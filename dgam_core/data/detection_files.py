"""Detections and ground truth in the formats of other projects, by the name of the file.

- `.txt`: detections of the THUMOS14 kit, per line video, start, end, class number and score;
- a folder: the kit's ground truth, `<class>_test.txt`, per line video, start and end;
- `.csv`: video, start, end, label, and of detections the score;
- `.pkl`: detections, `eval_results.pkl` of ActionFormer;
- any other: ActivityNet JSON, of either.

Times are seconds.
"""

import csv
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dgam_core.data.activitynet_json import (
    SUBSETS,
    GroundTruth,
    Row,
    check_name,
    finite_number,
    ordered_segment,
    read_class_ids,
    row_of_line,
)
from dgam_core.data.activitynet_json import read_detections as read_json_detections
from dgam_core.data.activitynet_json import read_ground_truth as read_json_ground_truth
from dgam_core.data.faults import Fault, read_each
from dgam_core.data.json_stream import excerpt
from dgam_core.data.pickles import read_pickle
from dgam_core.data.test_sets import thumos14_class_ids
from dgam_core.errors import InputError
from dgam_core.segments import AMBIGUOUS, SegmentTable
from dgam_core.system.files import read_text

# What columns of a CSV file are called; a file without their names has them in this order.
COLUMNS = {
    "video": ("video", "video-id", "video_id", "video_name"),
    "start": ("start", "t-start", "t_start", "start_s"),
    "end": ("end", "t-end", "t_end", "end_s"),
    "label": ("label", "class"),
    "score": ("score", "conf"),
}
DELIMITERS = ",;\t"
CLASS_LIST = "detclasslist.txt"  # of the THUMOS14 kit: per line number and name
KIT_SUBSETS = {"test": "test", "validation": "val"}


def read_detections(path: Path, ground_truth: Path) -> SegmentTable:
    """Read detections.

    Args:
        path: the file.
        ground_truth: what they are evaluated against, which names classes that the file has as numbers.
    Raises:
        InputError: the file cannot be read, an entry is wrong, or nothing names a class.
    """
    suffix = path.suffix.lower()
    if suffix == ".txt":
        kit = ground_truth / CLASS_LIST
        names = _kit_classes(kit) if kit.is_file() else {n: name for name, n in thumos14_class_ids().items()}
        return SegmentTable.from_rows(_kit_rows(path, names))
    if suffix == ".csv":
        return SegmentTable.from_rows(_csv_rows(path, tuple(COLUMNS)))
    if suffix in (".pkl", ".pickle"):
        return _read_actionformer(path, ground_truth)
    return read_json_detections(path)


def read_ground_truth(path: Path, subset: str | None = None) -> GroundTruth:
    """Read ground truth; see `activitynet_json.read_ground_truth` for the choice of a subset.

    Raises:
        InputError: the file or folder cannot be read, an entry is wrong, or the subset has no segment.
    """
    if path.is_dir():
        return _read_kit_folder(path, subset)
    if path.suffix.lower() != ".csv":
        return read_json_ground_truth(path, subset)
    if subset is not None:
        raise InputError(f"{path}: a CSV file has no subsets; leave out --subset {subset}")
    segments = SegmentTable.from_rows(_csv_rows(path, tuple(COLUMNS)[:-1]))
    if not len(segments):
        raise InputError(f"{path}: has no annotated segment to evaluate against")
    return GroundTruth(tuple(dict.fromkeys(segments.video.tolist())), segments, {})


def _kit_rows(path: Path, names: Mapping[int, str]) -> Iterator[Row]:
    """Rows of detections as the kit reads them; a number that it does not know stays a label of its own."""

    def row(line: str, at: str) -> Row | None:
        if not line.strip():
            return None
        words = line.strip().rsplit(maxsplit=4)
        if len(words) != 5:
            raise Fault(
                f"{at}: should be video, start, end, class number and score, not {excerpt(line)}",
                "no detection",
            )
        video, class_id = check_name(words[0], at), finite_number(words[3], at, "class number")
        label = names.get(int(class_id), "") if class_id.is_integer() else ""
        return (
            *(video.removesuffix(".mp4"), label or f"class {words[3]}"),
            *(*ordered_segment(words[1:3], at), finite_number(words[4], at, "score")),
        )

    yield from filter(None, read_each(path, "line", read_text(path).splitlines(), row))


def _kit_classes(path: Path) -> dict[int, str]:
    """Class number → name, as the kit lists them."""
    names = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.split(maxsplit=1)
        if words:
            if len(words) != 2 or not words[0].isdecimal():
                raise InputError(
                    f"{path}: line {number}: should be a number and a class, not {excerpt(line)}"
                )
            names[int(words[0])] = words[1].strip()
    return names


def _read_kit_folder(folder: Path, subset: str | None) -> GroundTruth:
    """Read `<class>_<subset>.txt` of all classes, the ambiguous segments among them."""
    asked = SUBSETS.get((subset or "test").strip().casefold())
    if asked not in KIT_SUBSETS:
        raise InputError(f"{folder}: the THUMOS14 kit has the subsets test and val, not {subset!r}")
    ending = f"_{KIT_SUBSETS[asked]}.txt"
    files = {file.name.removesuffix(ending): file for file in sorted(folder.glob(f"*{ending}"))}
    class_list = folder / CLASS_LIST
    for name in _kit_classes(class_list).values() if class_list.is_file() else ():
        if name not in files:
            raise InputError(f"{folder}: has no {name}{ending}, of a class that {CLASS_LIST} names")
    rows: list[Row] = []
    for label, file in files.items():
        lines = read_text(file).splitlines()
        rows += filter(None, read_each(file, "line", lines, partial(_kit_segment, label)))
    if not any(row[1] != AMBIGUOUS for row in rows):
        raise InputError(f"{folder}: has no segment in files <class>{ending}, as the THUMOS14 kit has them")
    return GroundTruth(tuple(dict.fromkeys(row[0] for row in rows)), SegmentTable.from_rows(rows), {})


def _kit_segment(label: str, line: str, at: str) -> Row | None:
    return row_of_line(line, label, at) if line.strip() else None


def _csv_rows(path: Path, columns: tuple[str, ...]) -> Iterator[Row]:
    """Rows of a CSV file; a score that is not asked for is 0."""
    lines = read_text(path).splitlines()
    first = next((line for line in lines if line.strip()), "")
    delimiter = max(DELIMITERS, key=first.count)
    order: list[int] | None = None

    def row(cells: list[str], at: str) -> Row | None:
        nonlocal order
        words = [cell.strip() for cell in cells]
        if not any(words):
            return None
        if order is None:
            named = _named_columns(words, columns, at)
            order = named or list(range(len(columns)))
            if named:
                return None
        if len(words) <= max(order):
            found = excerpt(delimiter.join(cells))
            raise Fault(f"{at}: should have {', '.join(columns)}, not {found}", "too few columns")
        value = dict(zip(columns, [words[i] for i in order], strict=True))
        return (
            *(check_name(value["video"], at), check_name(value["label"], at, "label")),
            *ordered_segment([value["start"], value["end"]], at),
            finite_number(value["score"], at, "score") if "score" in value else 0.0,
        )

    yield from filter(None, read_each(path, "line", _cells(path, lines, delimiter), row))


def _cells(path: Path, lines: list[str], delimiter: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(lines, delimiter=delimiter)
    except csv.Error as error:
        raise InputError(f"{path}: is not CSV: {error}") from None


def _named_columns(words: list[str], columns: tuple[str, ...], at: str) -> list[int]:
    """Return where each column stands by the names in the first line, none if it holds no names."""
    lower = [word.casefold() for word in words]
    known = {alias for aliases in COLUMNS.values() for alias in aliases}
    if len(known & set(lower)) < 2:
        return []
    found = []
    for column in columns:
        places = [i for i, word in enumerate(lower) if word in COLUMNS[column]]
        if len(places) != 1:
            raise InputError(f"{at}: should name one column {column!r}, not {excerpt(', '.join(words))}")
        found += places
    return found


def _read_actionformer(path: Path, ground_truth: Path) -> SegmentTable:
    """Read a dictionary of columns: `video-id`, `t-start`, `t-end`, `label`, a number, and `score`."""
    content = read_pickle(path)
    columns = ("video-id", "t-start", "t-end", "label", "score")
    if not isinstance(content, dict) or not set(columns) <= set(content):
        raise InputError(f"{path}: should be a dictionary of {', '.join(columns)}, as ActionFormer writes it")
    videos, *numbers = (content[column] for column in columns)
    videos = videos.tolist() if isinstance(videos, np.ndarray) else videos
    if not isinstance(videos, list) or not all(isinstance(video, str) for video in videos):
        raise InputError(f"{path}: 'video-id' should be a list of names")
    try:
        start, end, label, score = (np.asarray(values, dtype=np.float64) for values in numbers)
    except (TypeError, ValueError):
        raise InputError(f"{path}: {', '.join(columns[1:])} should be arrays of numbers") from None
    if not {values.shape for values in (start, end, label, score)} <= {(len(videos),)}:
        raise InputError(f"{path}: the columns {', '.join(columns)} should have the same length")
    names = (
        {} if ground_truth.is_dir() or ground_truth.suffix.lower() == ".csv" else read_class_ids(ground_truth)
    )
    if not names:
        raise InputError(
            f"{ground_truth}: does not say which class is which number of {path}; ActivityNet JSON with a "
            '"label_id" beside each label does'
        )

    def row(values: tuple[Any, ...], at: str) -> Row:
        video, start_s, end_s, number, score = values
        return (
            *(check_name(video, at), names.get(number, f"class {number:g}")),
            *(*ordered_segment([start_s, end_s], at), finite_number(score, at, "score")),
        )

    entries = zip(videos, *(v.tolist() for v in (start, end, label, score)), strict=True)
    return SegmentTable.from_rows(read_each(path, "detection", entries, row))
