"""Bars and intervals: mAP beside the published one, the statistics of Table 2, effects of changes."""

import re
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dgam_core.evaluation.intervals import summarize
from dgam_core.figures.style import OURS, PUBLISHED, SEED, WIDTH_IN, WITHOUT, set_style


def bars_beside_published(
    scores: pd.DataFrame, provenance: str, published: Mapping[str, float], published_on: str, xlabel: str
) -> Figure:
    """mAP of several models: this run with a point per seed on the left, the published mAP on the right.

    Args:
        scores: columns row (name of the model), seed and map (mAP at tIoU 0.5, a fraction).
        provenance: "simulated" or "measured on real features".
        published: row → mAP at tIoU 0.5 in percent; the bars keep this order.
        published_on: what the published numbers were measured on.
        xlabel: what the rows stand for.
    """
    set_style()
    rows = list(published)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH_IN, 3.2))
    _seed_bars(left, rows, scores.assign(value=100 * scores["map"]))
    num_seeds = scores["seed"].nunique()
    seeds = f"each of {num_seeds} seeds" if num_seeds > 1 else "1 seed"
    left.set_title(f"This run, {provenance}\nmean, ±1 sd and {seeds}", fontsize="medium")
    _bars(right, rows, list(published.values()), PUBLISHED)
    right.set_title(f"Published\n{published_on}", fontsize="medium")
    # The same scale on both sides, so that heights can be compared.
    highest = max(left.dataLim.ymax, right.dataLim.ymax)
    for axes in (left, right):
        axes.set_ylim(0, 1.2 * highest)
        axes.set_ylabel("mAP at tIoU 0.5 (%)")
        axes.set_xlabel(xlabel)
    return figure


def set_statistics(
    statistics: pd.DataFrame, provenance: str, published: pd.DataFrame, published_on: str
) -> Figure:
    """Table 2 as pairs of bars, without and with generative attention modeling.

    Args:
        statistics: columns row (the statistic), model ("without" or "with"), seed and value.
        provenance: "simulated" or "measured on real features".
        published: columns row, model and value.
        published_on: what the published numbers were measured on.
    """
    set_style()
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH_IN, 3.6), sharex=True, sharey=True)
    titles = (f"This run, {provenance}\nmean and ±1 sd over seeds", f"Published\n{published_on}")
    for axes, title, values in zip(panels, titles, (statistics, published), strict=True):
        sns.barplot(
            values,
            x="value",
            y="row",
            hue="model",
            hue_order=["without", "with"],
            palette=[WITHOUT, OURS],
            errorbar="sd" if "seed" in values else None,
            err_kws={"color": "black", "linewidth": 1},
            capsize=0.2,
            ax=axes,
            legend=axes is panels[1],
        )
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("share of the action snippets")
        axes.set_ylabel("")
    panels[1].legend(title="generative modeling", loc="upper right", fontsize="small", title_fontsize="small")
    return figure


def effects(changes: pd.DataFrame, provenance: str, base: str, unit: str) -> Figure:
    """Effect of each of several changes alone: the mean over seeds, its interval, and a point per seed.

    Args:
        changes: columns row (name of the change), seed and value (the difference it makes); rows are drawn
            from top to bottom in their order.
        provenance: "simulated" or "measured on real features".
        base: name of the settings that are changed.
        unit: unit of the differences.
    """
    set_style()
    rows = list(changes["row"].unique())
    figure, axes = plt.subplots(figsize=(WIDTH_IN, 0.9 + 0.3 * len(rows)))
    for y, row in enumerate(rows):
        values = changes.loc[changes["row"] == row, "value"].to_numpy()
        summary = summarize(values)
        axes.plot(values, np.full(len(values), y), "o", color=SEED, markersize=4, alpha=0.8)
        axes.plot([summary.low, summary.high], [y, y], color=OURS, linewidth=3, alpha=0.6)
        axes.plot(summary.mean, y, "D", color=OURS, markersize=6, markeredgecolor="black")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.set_title(f"Change from {base}, {provenance}\nmean, 95 % interval, each seed", fontsize="medium")
    axes.grid(axis="x", alpha=0.4)
    return figure


def _seed_bars(axes: Axes, rows: list[str], scores: pd.DataFrame) -> None:
    """Bars of the mean over seeds of the column value, its standard deviation, and a point per seed."""
    groups = scores.groupby("row")["value"]
    mean, sd, highest = (column[rows].to_list() for column in (groups.mean(), groups.std(), groups.max()))
    _bars(axes, rows, mean, OURS, sd, highest)
    # Side by side, so that equal values stay apart.
    seeds = sorted(scores["seed"].unique())
    shifts = np.linspace(-0.2, 0.2, len(seeds)) if len(seeds) > 1 else [0.0]
    for shift, seed in zip(shifts, seeds, strict=True):
        values = scores[scores["seed"] == seed].set_index("row")["value"][rows]
        axes.plot(
            np.arange(len(rows)) + shift, values, "o", color=SEED, markersize=5, markeredgecolor="black"
        )


def _bars(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[float],
    colour: str,
    sd: Sequence[float] | None = None,
    highest: Sequence[float] | float = 0.0,
) -> None:
    """Bars of named rows, each value written above its bar, sd and `highest`; L_fg becomes mathematics."""
    labels = [re.sub(r"L_(\w+)", r"$\\mathcal{L}_{\1}$", name) for name in names]
    bars = axes.bar(labels, values, color=colour, width=0.65)
    top = np.array(values, dtype=float)
    if sd is not None:
        spread = np.nan_to_num(np.array(sd, dtype=float))
        axes.errorbar(labels, values, spread, fmt="none", ecolor="black", capsize=4, linewidth=1)
        top = np.maximum(top + spread, highest)
    for bar, value, height in zip(bars, values, top, strict=True):
        middle = bar.get_x() + bar.get_width() / 2
        axes.annotate(
            f"{value:.1f}", (middle, height), (0, 4), textcoords="offset points", ha="center", va="bottom"
        )
