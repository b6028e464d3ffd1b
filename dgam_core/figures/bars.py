"""Records → figures, in the one style of `style`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

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
    """mAP of several models: ours with every seed's value on the left, the published numbers on the right.

    Args:
        scores: columns row (name of the model), seed and map (mAP at tIoU 0.5, a fraction).
        provenance: "simulated" or "measured on real features".
        published: row → mAP at tIoU 0.5 in percent; the bars keep this order.
        published_on: what the published numbers were measured on.
        xlabel: what the rows are.
    """
    set_style()
    rows = list(published)
    figure, (ours, theirs) = plt.subplots(1, 2, figsize=(WIDTH_IN, 3.2))
    percent = scores.assign(value=100 * scores["map"])
    _seed_bars(ours, rows, percent)
    count = percent["seed"].nunique()
    seeds = f"each of {count} seeds" if count > 1 else "1 seed"
    ours.set_title(f"This run, {provenance}\nmean, ±1 sd and {seeds}", fontsize="medium")
    _bars(theirs, rows, list(published.values()), PUBLISHED)
    theirs.set_title(f"Published\n{published_on}", fontsize="medium")
    # The same scale on both sides, so that heights can be compared.
    highest = max(ours.dataLim.ymax, theirs.dataLim.ymax)
    for axes in (ours, theirs):
        axes.set_ylim(0, 1.2 * highest)
        axes.set_ylabel("mAP at tIoU 0.5 (%)")
        axes.set_xlabel(xlabel)
    return figure


def set_statistics(ours: pd.DataFrame, provenance: str, published: pd.DataFrame, published_on: str) -> Figure:
    """Table 2 as pairs of bars, without and with generative attention modeling.

    Args:
        ours: columns row (the statistic), model ("without" or "with"), seed and value.
        provenance: "simulated" or "measured on real features".
        published: columns row, model and value.
        published_on: what the published numbers were measured on.
    """
    set_style()
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH_IN, 3.6), sharex=True, sharey=True)
    titles = (f"This run, {provenance}\nmean and ±1 sd over seeds", f"Published\n{published_on}")
    for axes, title, values in zip(panels, titles, (ours, published), strict=True):
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
    """What each of several changes does alone: the mean over seeds, its interval, and every seed.

    Args:
        changes: columns row (name of the change), seed and value, the difference that it makes; rows are
            drawn from top to bottom in their order.
        provenance: "simulated" or "measured on real features".
        base: what is changed.
        unit: what the differences are.
    """
    set_style()
    rows = list(changes["row"].unique())
    figure, axes = plt.subplots(figsize=(WIDTH_IN, 0.9 + 0.3 * len(rows)))
    for y, row in enumerate(rows):
        values = changes.loc[changes["row"] == row, "value"].to_numpy()
        all_of_them = summarize(values)
        axes.plot(values, np.full(len(values), y), "o", color=SEED, markersize=4, alpha=0.8)
        axes.plot([all_of_them.low, all_of_them.high], [y, y], color=OURS, linewidth=3, alpha=0.6)
        axes.plot(all_of_them.mean, y, "D", color=OURS, markersize=6, markeredgecolor="black")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.set_title(f"Change from {base}, {provenance}\nmean, 95 % interval, each seed", fontsize="medium")
    axes.grid(axis="x", alpha=0.4)
    return figure


def _seed_bars(axes: Axes, rows: list[str], scores: pd.DataFrame) -> None:
    """Bars of the mean over seeds, the standard deviation, and each seed's value as a point."""
    groups = scores.groupby("row")["value"]
    highest = groups.max()[rows].to_list()
    _bars(axes, rows, groups.mean()[rows].to_list(), OURS, groups.std()[rows].to_list(), highest)
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
    errors: Any = None,
    over: Any = 0.0,
) -> None:
    """Bars over named rows, each value written above its bar and `over`; L_fg is set as mathematics."""
    labels = [re.sub(r"L_(\w+)", r"$\\mathcal{L}_{\1}$", name) for name in names]
    bars = axes.bar(labels, values, color=colour, width=0.65)
    top = np.array(values, dtype=float)
    if errors is not None:
        spread = np.nan_to_num(np.array(errors, dtype=float))
        axes.errorbar(labels, values, spread, fmt="none", ecolor="black", capsize=4, linewidth=1)
        top = np.maximum(top + spread, over)
    for bar, value, height in zip(bars, values, top, strict=True):
        middle = bar.get_x() + bar.get_width() / 2
        axes.annotate(
            f"{value:.1f}", (middle, height), (0, 4), textcoords="offset points", ha="center", va="bottom"
        )
