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
from dgam_core.style import OURS, PUBLISHED, SEED, WIDTH_IN, WITHOUT, set_style


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


def over_tiou(scores: pd.DataFrame, provenance: str, published: Mapping[str, Any], best: str) -> Figure:
    """mAP over the tIoU threshold: this run with its interval, the published DGAM and its best competitor.

    Args:
        scores: columns seed, tiou and map (a fraction), of one model choice.
        provenance: "simulated" or "measured on real features".
        published: `data`, `columns` (thresholds) and `methods`, as in Tables 3 and 5.
        best: the competitor's name.
    """
    set_style()
    figure, axes = plt.subplots(figsize=(0.8 * WIDTH_IN, 3.6))
    _line_with_interval(axes, scores.assign(value=100 * scores["map"]), "tiou", f"this run, {provenance}")
    for name, style, marker, inside in (("DGAM", "-", "s", PUBLISHED), (best, ":", "D", "white")):
        (entry,) = [entry for entry in published["methods"] if entry["method"] == name]
        # A line runs on where the paper prints no value; the markers say where it does.
        values = pd.Series(entry["map"], index=published["columns"], dtype=float).dropna()
        axes.plot(
            values.index,
            values,
            style,
            color=PUBLISHED,
            marker=marker,
            markerfacecolor=inside,
            markersize=5,
            label=f"{name}, published",
        )
    axes.set_xlabel("tIoU threshold")
    axes.set_ylabel("mAP (%)")
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=3, fontsize="small")
    axes.set_title(
        f"This run: mean and 95 % interval over seeds\nPublished: {published['data']}", fontsize="medium"
    )
    return figure


def sweep(
    scores: pd.DataFrame, provenance: str, published: Mapping[str, Any] | None, xlabel: str, log: bool
) -> Figure:
    """mAP at tIoU 0.5 over a setting: this run with interval and seeds, and the published values.

    Args:
        scores: columns row (the setting's value), seed and map (a fraction).
        provenance: "simulated" or "measured on real features".
        published: `data`, `columns` (values) and `map`, in percent; None where nothing is printed.
        xlabel: what is swept.
        log: whether its axis is logarithmic.
    """
    set_style()
    count = 1 if published is None else 2
    figure, panels = plt.subplots(1, count, figsize=(WIDTH_IN if count > 1 else 0.7 * WIDTH_IN, 3.2))
    ours, *theirs = np.atleast_1d(panels)
    percent = scores.assign(value=100 * scores["map"])
    _line_with_interval(ours, percent, "row", "mean")
    ours.plot(percent["row"], percent["value"], "o", color=SEED, markersize=3, alpha=0.8)
    ours.set_title(f"This run, {provenance}\nmean, 95 % interval, each seed", fontsize="medium")
    for axes in theirs:
        assert published is not None
        axes.plot(published["columns"], published["map"], "s-", color=PUBLISHED)
        axes.set_title(f"Published\n{published['data']}", fontsize="medium")
        axes.sharey(ours)
    grids = [scores["row"].unique(), *([] if published is None else [published["columns"]])]
    for axes, values in zip(np.atleast_1d(panels), grids, strict=True):
        if log:
            axes.set_xscale("log")
        axes.set_xticks(values, [f"{value:g}" for value in values], rotation=45 if log else 0)
        axes.minorticks_off()
        axes.set_xlabel(xlabel)
        axes.set_ylabel("mAP at tIoU 0.5 (%)")
    ours.set_ylim(bottom=0)
    return figure


def _line_with_interval(axes: Axes, values: pd.DataFrame, x: str, label: str) -> None:
    """Mean over the seeds of the column value, and its 95 % interval as a band."""
    points = values.groupby(x)["value"].agg(summarize)
    axes.plot(points.index, [point.mean for point in points], "o-", color=OURS, label=label)
    low, high = [point.low for point in points], [point.high for point in points]
    axes.fill_between(points.index, low, high, color=OURS, alpha=0.25, linewidth=0)


def phase(steps: pd.Series, provenance: str, what: str, unit: str) -> Figure:
    """What a change does at each point of a grid, as a heat map; a star where its interval leaves out zero.

    Args:
        steps: a `Summary` of the change a point; the index holds the vertical and the horizontal axis.
        provenance: "simulated" or "measured on real features".
        what: the change.
        unit: what the differences are.
    """
    set_style()
    cells = steps.unstack().sort_index(ascending=False)
    means = cells.map(lambda cell: cell.mean)
    labels = cells.map(lambda cell: f"{cell.mean:+.1f}" + ("*" if cell.sign else ""))
    figure, axes = plt.subplots(figsize=(0.75 * WIDTH_IN, 0.55 * WIDTH_IN))
    sns.heatmap(
        means,
        annot=labels,
        fmt="",
        cmap="vlag_r",  # blue helps, red harms
        center=0,
        linewidths=1,
        cbar_kws={"label": unit},
        ax=axes,
    )
    axes.set_title(f"{what}, {provenance}\n* 95 % interval over seeds leaves out 0", fontsize="medium")
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
