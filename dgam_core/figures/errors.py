"""Figures of why detections are wrong, which actions are missed, and precision over recall."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dgam_core.evaluation.diagnosis import CAUSES, Diagnosis
from dgam_core.figures.style import KINDS, OURS, PUBLISHED, WIDTH_IN, set_style

COLOURS = {
    "right": KINDS["action"],
    "double detection": "#56B4E9",
    "wrong label": "#CC79A7",
    "localization": "#F0E442",
    "context": KINDS["context"],
    "background": KINDS["background"],
}


def causes_by_row(diagnoses: Mapping[str, Sequence[Diagnosis]], provenance: str) -> Figure:
    """Causes of the detections of the highest scores, as shares per model: G of each class, and 10 G.

    Args:
        diagnoses: row → diagnoses, one per seed, which are summed.
        provenance: "simulated" or "measured on real features".
    """
    set_style()
    height_in = 1.4 + 0.42 * len(diagnoses)
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH_IN, height_in), sharey=True)
    # (rows, slices, causes)
    counts = np.array([sum(diagnosis.causes for diagnosis in of_row) for of_row in diagnoses.values()])
    titles = {1: "as many as there are actions", 10: "ten times as many"}
    rows = ["\n".join([row, *_empty(of_row)]) for row, of_row in diagnoses.items()]
    for axes, (num_slices, title) in zip(panels, titles.items(), strict=True):
        _stacked(axes, rows, counts[:, :num_slices].sum(1))
        axes.set_title(f"the surest detections, {title}", fontsize="small")
    panels[0].invert_yaxis()
    _legend(figure, panels[0])
    (tiou,) = {diagnosis.tiou for of_row in diagnoses.values() for diagnosis in of_row}
    figure.suptitle(f"What detections are at tIoU {tiou:g}, {provenance}")
    return figure


def in_words(diagnoses: Mapping[str, Sequence[Diagnosis]], provenance: str) -> str:
    """Say what the surest detections of each row are, G of each class, for readers who do not see it."""
    rows = []
    for row, of_row in diagnoses.items():
        counts = np.sum([diagnosis.causes[0] for diagnosis in of_row], axis=0)
        shares = 100 * counts / max(counts.sum(), 1)
        parts = ", ".join(f"{share:.0f} % {cause}" for cause, share in zip(CAUSES, shares, strict=True))
        rows.append(f"{row}: {parts if counts.sum() else 'no detections'}")
    return f"What the surest detections are, {provenance}. {'; '.join(rows)}."


def causes_and_recall(diagnoses: Sequence[Diagnosis], provenance: str) -> Figure:
    """Causes of detections, by the rank of their scores, and recall of actions, by their length.

    Args:
        diagnoses: of one model, one per seed, which are summed.
        provenance: "simulated" or "measured on real features".
    """
    set_style()
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH_IN, 3.4), width_ratios=[3, 2])
    counts = np.sum([diagnosis.causes for diagnosis in diagnoses], axis=0)
    _stacked(left, [f"{i + 1} G" for i in range(len(counts))], counts)
    left.invert_yaxis()
    left.set_title("slices of G detections per class, the surest on top", fontsize="small")
    recalls = [diagnosis.recall["segment length (s)"] for diagnosis in diagnoses]
    num_detected = np.sum([recall.detected for recall in recalls], axis=0)
    num_segments = np.sum([recall.count for recall in recalls], axis=0)
    labels = [f"{low:.1f}–{high:.1f}" for low, high in pairwise(recalls[0].edges)]
    right.bar(labels, 100 * num_detected / np.maximum(num_segments, 1), color=OURS)
    right.set(ylim=(0, 100), xlabel="length of the action (s)", ylabel="found (%)")
    right.tick_params("x", rotation=45)
    right.set_title("recall", fontsize="small")
    _legend(figure, left)
    about = [f"Detections and actions at tIoU {diagnoses[0].tiou:g}", *_empty(diagnoses), provenance]
    figure.suptitle(", ".join(about))
    return figure


def precision_over_recall(diagnosis: Diagnosis, provenance: str) -> Figure:
    """Interpolated precision over recall: a thin line per class, and their mean, whose area is the mAP.

    Args:
        diagnosis: of one model and seed.
        provenance: "simulated" or "measured on real features".
    """
    set_style()
    figure, axes = plt.subplots(figsize=(WIDTH_IN, 3.2))
    grid = np.linspace(0, 1, 201)
    lines = []
    for precision, recall in diagnosis.curves.values():
        best = np.maximum.accumulate(precision[::-1])[::-1]  # at the same or a higher recall
        lines.append(np.append(best, 0.0)[np.searchsorted(recall, grid)])
        axes.plot(100 * grid, 100 * lines[-1], color=PUBLISHED, linewidth=0.6)
    axes.plot(100 * grid, 100 * np.mean(lines, axis=0), color=OURS, linewidth=2)
    axes.set(xlim=(0, 100), ylim=(0, 102), xlabel="recall (%)", ylabel="precision (%)")
    axes.set_title(f"Precision over recall at tIoU {diagnosis.tiou:g}, {provenance}")
    return figure


def _empty(diagnoses: Sequence[Diagnosis]) -> list[str]:
    """Say how many seeds find nothing, which have no part in the shares, if there are such."""
    count = sum(not diagnosis.causes.any() for diagnosis in diagnoses)
    return [f"{count} of {len(diagnoses)} seeds find nothing"] if count else []


def _stacked(axes: Axes, rows: Sequence[str], counts: NDArray[np.integer]) -> None:
    """Horizontal bars, one per row, of the shares of the causes; a row without detections is empty."""
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    starts = shares.cumsum(axis=1) - shares
    for cause, start, share in zip(CAUSES, starts.T, shares.T, strict=True):
        axes.barh(
            rows, share, left=start, color=COLOURS[cause], edgecolor="white", linewidth=0.5, label=cause
        )
    axes.set(xlim=(0, 100), xlabel="share (%)")


def _legend(figure: Figure, axes: Axes) -> None:
    handles_labels = axes.get_legend_handles_labels()
    figure.legend(*handles_labels, loc="outside lower center", ncols=3, fontsize="small")
