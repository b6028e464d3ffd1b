"""mAP over tIoU thresholds, and over a grid of several settings."""

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dgam_core.evaluation.intervals import MARGIN, summarize
from dgam_core.experiments.published import Published
from dgam_core.experiments.variants import CEILING
from dgam_core.figures.style import PERCENT, PRESETS, PUBLISHED, WIDTH_IN, set_style, set_ticks, within

HEIGHT_IN = 3.2
MIN_LOG_SPAN = 10  # highest / lowest value from which an axis is logarithmic


def over_tiou(scores: pd.DataFrame, provenance: str, published: Published, competitor: str) -> Figure:
    """mAP over the tIoU threshold: this run by preset; apart, the published DGAM and its best competitor.

    Args:
        scores: columns preset, row, seed, tiou and map (a fraction); of each preset one model choice, and
            perhaps the ceiling, which becomes a dashed line.
        provenance: "simulated" or "measured on real features".
        published: methods at several thresholds, as in Tables 3 and 5.
        competitor: name of the competing method.
    """
    set_style()
    figure, (axes, printed) = plt.subplots(1, 2, figsize=(WIDTH_IN, 3.6), sharey=True)
    for preset, of_preset in scores.assign(value=100 * scores["map"]).groupby("preset", sort=False):
        label = f"this run, {preset}"
        told = of_preset["row"] == CEILING
        _line_with_interval(axes, of_preset[~told], "tiou", label, PRESETS[str(preset)])
        if told.any():
            by_tiou = of_preset[told].groupby("tiou")["value"].mean()
            axes.plot(by_tiou.index, by_tiou, "--", color=PRESETS[str(preset)], label=f"the same, {CEILING}")
    for name, style, marker, face in (("DGAM", "-", "s", PUBLISHED), (competitor, ":", "D", "white")):
        # A line passes over thresholds without a printed value; the markers say where there is one.
        values = published.values.loc[name, published.thresholds].dropna()
        printed.plot(
            values.index,
            values,
            style,
            color=PUBLISHED,
            marker=marker,
            markerfacecolor=face,
            markersize=5,
            label=f"{name}, published",
        )
    axes.set(xlabel="tIoU threshold", ylabel="mAP (%)", ylim=(0, None))
    axes.set_title(f"This run, {provenance}\nmean and 95 % interval over seeds")
    printed.set(xlabel="tIoU threshold", title=f"Published\n{published.data}")
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    return figure


def in_words(scores: pd.DataFrame, provenance: str) -> str:
    """Say what `over_tiou` shows of this run, for readers who do not see it."""
    lines = []
    for (preset, row), of_row in scores.groupby(["preset", "row"], sort=False):
        means = 100 * of_row.groupby("tiou")["map"].mean()
        lines.append(f"{preset}, {row}: " + ", ".join(f"{value:.1f} at {t:g}" for t, value in means.items()))
    return f"mAP in percent over the tIoU threshold, {provenance}, mean over the seeds. {'; '.join(lines)}."


def _line_with_interval(axes: Axes, scores: pd.DataFrame, x: str, label: str, colour: str) -> None:
    """Mean over the seeds of the column value as a line over the column `x`, its 95 % interval as a band."""
    summaries = scores.groupby(x)["value"].agg(summarize)
    mean, low, high = ([getattr(s, name) for s in summaries] for name in ("mean", "low", "high"))
    axes.plot(summaries.index, mean, "o-", color=colour, label=label)
    low, high = within(PERCENT, (low, high))
    axes.fill_between(summaries.index, low, high, color=colour, alpha=0.25, linewidth=0)


def grid(scores: pd.DataFrame, names: list[str], metric: str) -> Figure:
    """mAP over a grid of settings: lines over one setting, colours for a second, panels for the others.

    Args:
        scores: as `experiments.grid.sweep` returns them.
        names: the swept settings.
        metric: name of the mAP by which models are compared, such as mAP@0.5.
    """
    set_style()
    last = scores[(scores["choice"] == "last") & (scores["tiou"] == scores["tiou"].min())]
    # Numbers first, and of these the setting with the most values.
    numbers = last[names].select_dtypes("number").columns  # truth values are not among them
    order = sorted(names, key=lambda name: (name not in numbers, -last[name].nunique()))
    x, (hue, column, *_), others = order[0], [*order[1:], None, None], order[3:]
    y = f"{metric} (%)"
    shown = last.assign(**{y: 100 * last["main"]}).astype({name: str for name in order if name != x})
    row = ", ".join(others) or None
    if row:
        shown[row] = shown[others].apply(
            lambda point: ", ".join(f"{name} = {value}" for name, value in point.items()), axis=1
        )
    num_columns = shown[column].nunique() if column else 1
    layout: dict[str, Any] = {"x": x, "y": y, "hue": hue, "col": column, "row": row, "height": HEIGHT_IN}
    layout |= {"aspect": WIDTH_IN / num_columns / HEIGHT_IN, "palette": "colorblind" if hue else None}
    layout |= {"errorbar": ("ci", 95), "seed": 0, "data": shown}
    with mpl.rc_context({"figure.constrained_layout.use": False}):  # seaborn lays these out itself
        if x in numbers:
            panels = sns.relplot(
                kind="line", style=hue, markers=bool(hue), marker="o", dashes=False, **layout
            )
            values = np.sort(last[x].unique())
            for axes in panels.axes.flat:
                set_ticks(axes, values, log=values[0] > 0 and values[-1] / values[0] >= MIN_LOG_SPAN)
        else:
            panels = sns.catplot(kind="point", linestyle="none", dodge=0.3 if hue else False, **layout)
    panels.set(ylim=(0, None))
    if row:
        panels.set_titles("{row_name}, {col_var} = {col_name}")
    num_seeds, provenance = last["seed"].nunique(), last["provenance"].iloc[0]
    seeds = f"mean and 95 % interval over {num_seeds} seeds" if num_seeds > 1 else "1 seed"
    figure: Figure = panels.figure
    figure.suptitle(f"{seeds}, {provenance}")
    figure.subplots_adjust(top=1 - (0.65 if column else 0.4) / figure.get_figheight())
    return figure


def phase(changes: pd.Series, provenance: str, title: str, unit: str) -> Figure:
    """Effect of a change at each point of a grid, as a heat map; points where it is undecided have no colour.

    Args:
        changes: a `Summary` of the change per point; the index holds the vertical and the horizontal axis.
        provenance: "simulated" or "measured on real features".
        title: the change.
        unit: unit of the differences.
    """
    set_style()
    cells = changes.unstack().sort_index(ascending=False)
    means = cells.map(lambda cell: cell.mean)
    effects = cells.map(lambda cell: cell.effect(MARGIN))
    largest = max(1.0, float(np.abs(means.to_numpy()).max()))
    labels = means.map(lambda mean: f"{mean:+.1f}".replace("-", "−")).where(effects != 0, "≈ 0")
    figure, axes = plt.subplots(figsize=(0.75 * WIDTH_IN, 0.55 * WIDTH_IN))
    sns.heatmap(
        means,
        annot=labels,
        mask=effects.isna(),
        fmt="",
        cmap="vlag_r",  # blue helps, red harms
        vmin=-largest,
        vmax=largest,
        linewidths=1,
        cbar_kws={"label": unit},
        ax=axes,
    )
    for y, x in np.argwhere(effects.isna().to_numpy()):
        axes.add_patch(Rectangle((x, y), 1, 1, fill=False, edgecolor=PUBLISHED, linewidth=0.5, clip_on=False))
        axes.text(x + 0.5, y + 0.5, "undecided", ha="center", va="center", fontsize="small")
    axes.set_title(f"{title}, {provenance}\n≈ 0: within ±{MARGIN:g}")
    return figure
