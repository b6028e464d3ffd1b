"""Bars and intervals: mAP beside the published one, the statistics of Table 2, effects of changes."""

import re
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dgam_core.evaluation.intervals import summarize
from dgam_core.experiments.variants import CEILING
from dgam_core.figures.style import COLLAPSED, MODELS, OURS, PUBLISHED, SEED, TOLD, WIDTH_IN, set_style
from dgam_core.figures.tables import SWITCHED


def bars_beside_published(
    scores: pd.DataFrame, provenance: str, published: Mapping[str, float], published_on: str, xlabel: str
) -> Figure:
    """mAP of several models: this run by preset, with a point per seed, and the published mAP on the right.

    Args:
        scores: columns preset, row (name of the model), seed, map (mAP at tIoU 0.5, a fraction) and
            collapsed. The ceiling, if it is among them, becomes a dashed line at its mean.
        provenance: "simulated" or "measured on real features".
        published: row → mAP at tIoU 0.5 in percent; the bars keep this order.
        published_on: what the published numbers were measured on.
        xlabel: what the rows stand for.
    """
    set_style()
    rows, presets = list(published), list(scores["preset"].unique())
    figure, panels = plt.subplots(1, len(presets) + 1, figsize=(WIDTH_IN, 3.4), sharey=True)
    is_ceiling = scores["row"] == CEILING
    for axes, preset in zip(panels, presets, strict=False):
        of_preset = scores[(scores["preset"] == preset) & ~is_ceiling]
        _seed_bars(axes, rows, of_preset.assign(value=100 * of_preset["map"]))
        count = of_preset["seed"].nunique()
        for height in scores[(scores["preset"] == preset) & is_ceiling].groupby("row")["map"].mean():
            axes.axhline(100 * height, color=TOLD, linestyle="--")
        axes.set_title(f"This run, {preset}\n{provenance}\n{count} seed{'s' * (count > 1)}")
    _bars(panels[-1], rows, list(published.values()), PUBLISHED)
    panels[-1].set_title(f"Published\n{published_on}")
    for axes in panels:
        axes.tick_params("x", labelsize="small", rotation=30)
    panels[0].set(ylabel="mAP at tIoU 0.5 (%)", ylim=(0, 1.2 * max(axes.dataLim.ymax for axes in panels)))
    marks = [
        Line2D([], [], color="black", marker="_", linestyle="", label="±1 sd"),
        Line2D([], [], color=SEED, marker="o", linestyle="", markersize=4, label="a seed"),
    ]
    if is_ceiling.any():
        marks.append(Line2D([], [], color=TOLD, linestyle="--", label=CEILING))
    _legend(figure, marks, bool(scores["collapsed"].any()), ncols=4)
    panels[len(presets) // 2].set_xlabel(xlabel)
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
            hue_order=list(MODELS),
            palette=list(MODELS.values()),
            errorbar="sd" if "seed" in values else None,
            err_kws={"color": "black", "linewidth": 1},
            capsize=0.2,
            ax=axes,
            legend=False,
        )
        axes.set_title(title)
        axes.set_xlabel("share of the action snippets")
        axes.set_ylabel("")
    marks = [Patch(color=colour, label=f"{name} generative modeling") for name, colour in MODELS.items()]
    figure.legend(handles=marks, loc="outside lower center", ncols=2, fontsize="small")
    return figure


def effects(
    changes: Mapping[str, pd.DataFrame], collapsed: Mapping[str, pd.DataFrame], provenance: str, chance: str
) -> Figure:
    """What each departure does alone, a panel per preset that it is switched in, and what chance does.

    Args:
        changes: preset → differences in points of mAP that the released code's way makes, a line per seed and
            a column per departure; these are drawn from top to bottom in their order in the first preset.
        collapsed: preset → whether a run has collapsed, of the same shape.
        provenance: "simulated" or "measured on real features".
        chance: the departure that does nothing but draw other random numbers; a grey band shows its interval.
    """
    set_style()
    rows = list(next(iter(changes.values())))
    size = (WIDTH_IN, 1.5 + 0.27 * len(rows))
    figure, panels = plt.subplots(1, len(changes), figsize=size, sharey=True, squeeze=False)
    for axes, (preset, of_preset) in zip(panels[0], changes.items(), strict=True):
        noise = summarize(of_preset[chance])
        axes.axvspan(noise.low, noise.high, color=PUBLISHED, alpha=0.45, linewidth=0)
        summaries = [summarize(of_preset[row]) for row in rows]
        # A few seeds far out must not squeeze the rest: they are drawn at the edge.
        low, high = np.quantile(of_preset.to_numpy(), [0.02, 0.98])
        low = 1.1 * min(low, -1, *(summary.low for summary in summaries))
        high = 1.1 * max(high, 1, *(summary.high for summary in summaries))
        for y, (row, summary) in enumerate(zip(rows, summaries, strict=True)):
            values, bad = of_preset[row].clip(low, high).to_numpy(), collapsed[preset][row].to_numpy()
            shift = np.linspace(-0.4, -0.15, len(values))  # above the interval, which they would hide
            axes.plot(values[~bad], (y + shift)[~bad], ".", color=SEED, markersize=3, alpha=0.8)
            axes.plot(values[bad], (y + shift)[bad], "x", color=COLLAPSED, markersize=3.5)
            axes.plot([summary.low, summary.high], [y, y], color=OURS, linewidth=4, alpha=0.7)
            axes.plot(summary.mean, y, "D", color=OURS, markersize=5, markeredgecolor="black")
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))
        axes.set_title(f"{SWITCHED[preset]}\n{provenance}, {len(of_preset)} seeds", fontsize="small")
        axes.set_xlabel("points of mAP@0.5")
        axes.grid(axis="x", alpha=0.4)
    panels[0, 0].set_yticks(range(len(rows)), rows)
    panels[0, 0].invert_yaxis()
    marks = [
        Line2D([], [], color=OURS, marker="D", linewidth=4, label="mean, 95 % interval"),
        Line2D([], [], color=SEED, marker=".", linestyle="", label="a seed; at the edge, beyond it"),
        Patch(color=PUBLISHED, alpha=0.45, label=f"95 % interval of chance ({chance.split()[0]})"),
    ]
    _legend(figure, marks, any(frame.to_numpy().any() for frame in collapsed.values()), ncols=2)
    return figure


def _seed_bars(axes: Axes, rows: list[str], scores: pd.DataFrame) -> None:
    """Bars of the mean over seeds of the column value, its standard deviation, and a point per seed."""
    groups = scores.groupby("row")["value"]
    mean, sd, highest = (column[rows].to_list() for column in (groups.mean(), groups.std(), groups.max()))
    _bars(axes, rows, mean, OURS, sd, highest)
    # Side by side, so that equal values stay apart.
    seeds = sorted(scores["seed"].unique())
    shift = dict(zip(seeds, np.linspace(-0.25, 0.25, len(seeds)) if len(seeds) > 1 else [0.0], strict=True))
    place = scores["row"].map(rows.index) + scores["seed"].map(shift)
    bad = scores["collapsed"].astype(bool)
    size, alpha = (4, 1.0) if len(seeds) <= 10 else (2.5, 0.7)
    value = scores["value"]
    axes.plot(place[~bad], value[~bad], "o", color=SEED, markersize=size, markeredgewidth=0, alpha=alpha)
    axes.plot(place[bad], value[bad], "x", color=COLLAPSED, markersize=5)


def _legend(figure: Figure, marks: Sequence[Artist], has_collapsed: bool, ncols: int) -> None:
    """Say below the panels what marks mean, and the cross of a collapsed seed, if there is one."""
    cross = Line2D([], [], color=COLLAPSED, marker="x", linestyle="", label="a collapsed seed")
    shown = [*marks, cross] if has_collapsed else marks
    figure.legend(handles=shown, loc="outside lower center", ncols=ncols, fontsize="small")


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
        axes.errorbar(labels, values, spread, fmt="none", ecolor="black", capsize=4, linewidth=1, zorder=3)
        top = np.maximum(top + spread, highest)
    for bar, value, height in zip(bars, values, top, strict=True):
        middle = bar.get_x() + bar.get_width() / 2
        axes.annotate(
            f"{value:.1f}", (middle, height), (0, 4), textcoords="offset points", ha="center", va="bottom"
        )
