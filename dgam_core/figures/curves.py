"""Curves: mAP over tIoU thresholds, over the values of swept settings, over a grid of them."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dgam_core.evaluation.intervals import summarize
from dgam_core.experiments.published import Published
from dgam_core.figures.style import OURS, PUBLISHED, SEED, WIDTH_IN, set_style

HEIGHT_IN = 3.2
LOG_SPAN = 10  # from here on, an axis is logarithmic


def grid(scores: pd.DataFrame, names: list[str], main: str) -> Figure:
    """mAP over a grid: a line over one setting, colours for a second, panels for the others.

    Args:
        scores: what `sweeps.sweep` returned.
        names: the swept settings.
        main: name of the main number.
    """
    set_style()
    last = scores[(scores["choice"] == "last") & (scores["tiou"] == scores["tiou"].min())]
    # Numbers first, and of these the one with the most values.
    order = sorted(names, key=lambda name: (not _is_number(last[name]), -last[name].nunique()))
    x, (hue, column, *_), others = order[0], [*order[1:], None, None], order[3:]
    y = f"{main} (%)"
    shown = last.assign(**{y: 100 * last["main"]}).astype({name: str for name in order if name != x})
    rest = shown[others].apply(
        lambda line: ", ".join(f"{name} = {value}" for name, value in line.items()), axis=1
    )
    row = ", ".join(others) or None
    panels = shown[column].nunique() if column else 1
    layout: dict[str, Any] = {"x": x, "y": y, "hue": hue, "col": column, "row": row, "height": HEIGHT_IN}
    layout |= {"aspect": WIDTH_IN / panels / HEIGHT_IN, "palette": "colorblind" if hue else None}
    layout |= {"errorbar": ("ci", 95), "seed": 0, "data": shown.assign(**({row: rest} if row else {}))}
    with mpl.rc_context({"figure.constrained_layout.use": False}):  # seaborn lays these out itself
        if _is_number(last[x]):
            faces = sns.relplot(kind="line", style=hue, markers=bool(hue), marker="o", dashes=False, **layout)
            _ticks(faces, np.sort(last[x].unique()))
        else:
            faces = sns.catplot(kind="point", linestyle="none", dodge=0.3, **layout)
    faces.set(ylim=(0, None))
    if row:
        faces.set_titles("{row_name}, {col_var} = {col_name}")
    count, provenance = last["seed"].nunique(), last["provenance"].iloc[0]
    seeds = f"mean and 95 % interval over {count} seeds" if count > 1 else "1 seed"
    figure: Figure = faces.figure
    figure.suptitle(f"{seeds}, {provenance}", fontsize="medium")
    figure.subplots_adjust(top=1 - (0.65 if column else 0.4) / figure.get_figheight())
    return figure


def _ticks(faces: sns.FacetGrid, values: NDArray[Any]) -> None:
    """A tick for each value that was tried."""
    log = values[0] > 0 and values[-1] / values[0] >= LOG_SPAN
    for axes in faces.axes.flat:
        if log:
            axes.set_xscale("log")
            axes.minorticks_off()
        axes.set_xticks(values, [f"{value:g}" for value in values])


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def over_tiou(scores: pd.DataFrame, provenance: str, published: Published, best: str) -> Figure:
    """mAP over the tIoU threshold: this run with its interval, the published DGAM and its best competitor.

    Args:
        scores: columns seed, tiou and map (a fraction), of one model choice.
        provenance: "simulated" or "measured on real features".
        published: methods at several thresholds, as in Tables 3 and 5.
        best: the competitor's name.
    """
    set_style()
    figure, axes = plt.subplots(figsize=(0.8 * WIDTH_IN, 3.6))
    _line_with_interval(axes, scores.assign(value=100 * scores["map"]), "tiou", f"this run, {provenance}")
    for name, style, marker, inside in (("DGAM", "-", "s", PUBLISHED), (best, ":", "D", "white")):
        # A line runs on where the paper prints no value; the markers say where it does.
        values = published.values.loc[name, published.thresholds].dropna()
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
        f"This run: mean and 95 % interval over seeds\nPublished: {published.data}", fontsize="medium"
    )
    return figure


def sweep(
    scores: pd.DataFrame, provenance: str, published: Published | None, xlabel: str, log: bool
) -> Figure:
    """mAP at tIoU 0.5 over a setting: this run with interval and seeds, and the published values.

    Args:
        scores: columns row (the setting's value), seed and map (a fraction).
        provenance: "simulated" or "measured on real features".
        published: one row, a column per value; None where nothing is printed.
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
        axes.plot(published.values.columns, published.values.iloc[0], "s-", color=PUBLISHED)
        axes.set_title(f"Published\n{published.data}", fontsize="medium")
        axes.sharey(ours)
    grids = [scores["row"].unique(), *([] if published is None else [published.values.columns.to_numpy()])]
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
