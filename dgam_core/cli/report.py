"""The input `--tiou` and the output of `dgam evaluate`."""

from typing import Any

import numpy as np

from dgam_core.errors import InputError
from dgam_core.evaluation.diagnosis import CAUSES, Diagnosis
from dgam_core.evaluation.matching import Floats
from dgam_core.evaluation.mean_ap import Evaluation


def read_thresholds(text: str) -> list[float]:
    """Read FIRST:LAST:STEP, both ends included, to the last bit as the ActivityNet code makes thresholds.

    Raises:
        InputError: the text has another form, or a threshold lies outside (0, 1].
    """
    try:
        first, last, step = (float(part) for part in text.split(":"))
        count = round((last - first) / step) + 1
        values = np.linspace(first, round(first + step * (count - 1), 9), count)
        if count < 1 or not 0 < values.min() <= values.max() <= 1:
            raise ValueError
    except (ValueError, ZeroDivisionError, OverflowError, MemoryError):
        raise InputError(
            f"--tiou {text!r} should be FIRST:LAST:STEP within (0, 1], such as 0.1:0.9:0.1"
        ) from None
    return [float(value) for value in values]


def oddities(result: Evaluation) -> list[str]:
    """Say what is odd about detections and ground truth and what follows from it, one sentence each."""
    ambiguous = "segments are called Ambiguous and are a class like any other; --protocol thumos ignores them"
    elsewhere = "detections lie in videos outside the ground truth and count as false positives"
    counts = {
        elsewhere: result.num_in_unknown_videos,
        "detections have labels without ground truth and are left out": result.num_of_unknown_labels,
        "segments repeat another; each needs its own detection": result.num_duplicates,
        "segments or detections have no length and match nothing": result.num_empty,
        ambiguous: result.num_ambiguous if result.protocol.ambiguous == "class" else 0,
    }
    return [f"{count} {sentence}" for sentence, count in counts.items() if count]


def as_text(
    result: Evaluation,
    test_set: str | None,
    diagnosis: Diagnosis | None,
    exact: Evaluation | None = None,
) -> str:
    """Return a table for people.

    Args:
        result: by the protocol.
        test_set: its name, if it has one.
        diagnosis: if it is wanted.
        exact: the same evaluation in exact arithmetic, if it is wanted.
    """
    name = f" ({test_set})" if test_set else ""
    ambiguous = f"; {result.num_ambiguous} ambiguous segments" if result.protocol.ambiguous != "class" else ""
    lines = [
        f"{result.num_detections} detections; {result.num_segments} segments; "
        f"{len(result.per_class)} classes; {result.num_videos} videos{name}; "
        f"protocol {result.protocol.name}{ambiguous}",
        "tIoU   " + "".join(f"{value:7.2f}" for value in result.tiou) + "    mean",
        _percentages("mAP %", result.map),
    ]
    if exact:
        lines.append(_percentages("exact", exact.map))
        lines.append(_percentages("differ", result.map - exact.map, "+"))
    return "\n".join([*lines, *(_diagnosis_lines(result, diagnosis) if diagnosis else [])])


def _percentages(name: str, values: Floats, sign: str = "") -> str:
    """A line of values per threshold and their mean, fractions as percentages."""
    return (
        f"{name:7}" + "".join(f"{100 * v:{sign}7.2f}" for v in values) + f"{100 * values.mean():{sign}8.2f}"
    )


def _diagnosis_lines(result: Evaluation, diagnosis: Diagnosis) -> list[str]:
    column = int(np.abs(result.tiou - diagnosis.tiou).argmin())
    width = max(len(_printable(label)) for label in result.per_class)
    lines = ["", f"Average precision at tIoU {diagnosis.tiou:.2f}, in %"]
    lines += [
        f"  {_printable(label):{width}} {100 * values[column]:7.2f}"
        for label, values in sorted(result.per_class.items())
    ]
    lines += [
        "",
        f"Causes of detections at tIoU {diagnosis.tiou:.2f}, in %: the highest scores of each class,",
        "as many as it has segments (G), and ten times as many",
        f"  {'':17}{'G':>7}{'10 G':>7}",
    ]
    counts = [slices.sum(0) for slices in (diagnosis.causes[:1], diagnosis.causes)]
    lines += [
        f"  {cause:17}" + "".join(_share(of_cause[i], of_cause.sum()) for of_cause in counts)
        for i, cause in enumerate(CAUSES)
    ]
    for name, recall in diagnosis.recall.items():
        lines += ["", f"Recall at tIoU {diagnosis.tiou:.2f} by {name}"]
        lines += [
            f"  {low:8.1f} to {high:8.1f} {100 * detected / count:7.1f} % of {count}"
            for low, high, detected, count in zip(
                recall.edges[:-1], recall.edges[1:], recall.detected, recall.count, strict=True
            )
            if count
        ]
    return lines


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:7.1f}" if whole else f"{'none':>7}"


def as_dict(
    result: Evaluation,
    test_set: str | None,
    diagnosis: Diagnosis | None,
    exact: Evaluation | None = None,
) -> dict[str, Any]:
    """Return the same as `as_text` for programs; mAP, AP and recall are fractions."""
    content: dict[str, Any] = {
        "protocol": result.protocol.name,
        "test_set": test_set,
        "tiou": result.tiou.tolist(),
        "map": result.map.tolist(),
        "average_map": result.average_map,
        "per_class": {label: values.tolist() for label, values in result.per_class.items()},
        "num_videos": result.num_videos,
        "num_segments": result.num_segments,
        "num_detections": result.num_detections,
        "num_ambiguous": result.num_ambiguous,
    }
    if exact:
        content["exact"] = {
            "map": exact.map.tolist(),
            "average_map": exact.average_map,
            "difference": (result.map - exact.map).tolist(),
        }
    if diagnosis:
        content["diagnosis"] = {
            "tiou": diagnosis.tiou,
            "causes": {cause: diagnosis.causes[:, i].tolist() for i, cause in enumerate(CAUSES)},
            "recall": {
                name: {
                    "edges": recall.edges.tolist(),
                    "segments": recall.count.tolist(),
                    "found": recall.detected.tolist(),
                }
                for name, recall in diagnosis.recall.items()
            },
            "curves": {
                label: {"precision": precision.tolist(), "recall": recall.tolist()}
                for label, (precision, recall) in diagnosis.curves.items()
            },
        }
    return content


def _printable(label: str) -> str:
    """A label without characters that move the cursor or colour the screen."""
    return "".join(c if c.isprintable() else "�" for c in label)
