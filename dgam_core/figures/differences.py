"""What a change does to mAP, seed by seed, and what the paper prints, in a panel of its own."""

import re
import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from dgam_core.evaluation.intervals import Summary, summarize
from dgam_core.experiments.published import Published
from dgam_core.experiments.study import Differences
from dgam_core.figures.style import (
    COLLAPSED,
    OURS,
    POINTS,
    PUBLISHED,
    SEED,
    WIDTH_IN,
    set_style,
    set_ticks,
    within,
)
from dgam_core.figures.tables import signed

UNIT = "points of mAP@0.5"
# Height of a line of a row's label, of what is not a row, and of all rows together at least.
LINE_IN, BESIDE_IN, LEAST_IN = 0.27, 1.6, 1.6
HEIGHT_IN = 3.4
LABEL_WIDTH = 28  # characters
BASE: dict[str, Any] = {"color": "white", "markeredgecolor": "black", "markersize": 7}


def by_change(
    found: Mapping[str, Differences],
    provenance: str,
    published: Mapping[str, float] | None = None,
    published_on: str = "",
    chance: str | None = None,
) -> Figure:
    """Draw changes from top to bottom, a panel per preset.

    Args:
        found: title of a panel → paired differences, whose columns are the changes, the same in all panels.
        provenance: "simulated" or "measured on real features".
        published: change → the paper's difference in points; None where it prints nothing comparable.
        published_on: what that was measured on.
        chance: the change that does nothing but draw other random numbers; a grey band shows its interval.
    """
    set_style()
    changes = [str(change) for change in next(iter(found.values())).points]
    labels = [textwrap.fill(change, LABEL_WIDTH) for change in changes]
    num_lines = sum(label.count("\n") + 1 for label in labels)
    height = BESIDE_IN + max(LINE_IN * num_lines, LEAST_IN)
    num_panels = len(found) + (published is not None)
    figure, panels = plt.subplots(1, num_panels, figsize=(WIDTH_IN, height), sharey=True, squeeze=False)
    for axes, (title, differences) in zip(panels[0], found.items(), strict=False):
        _changes(axes, differences, chance)
        axes.set_title(f"{title}\n{provenance}\n{_seeds(differences)}", fontsize="small")
    if published is not None:
        axes = panels[0, -1]
        axes.plot([published[change] for change in changes], range(len(changes)), "s", color=PUBLISHED)
        axes.set_title("published\n" + published_on.replace(", ", ",\n"), fontsize="small")
        axes.margins(x=0.2)
        # One scale for all, so that lengths can be compared.
        low, high = zip(*(axes.get_xlim() for axes in panels[0]), strict=True)
        plt.setp(panels[0], xlim=(min(low), max(high)))
    for axes in panels[0]:
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_xlabel(UNIT)
        axes.grid(axis="x", alpha=0.4)
    panels[0, 0].set_yticks(range(len(changes)), map(_mathematics, labels))
    panels[0, 0].set_ylim(len(changes) - 0.4, -0.6)
    _legend(figure, found.values(), chance)
    return figure


def over_setting(
    found: Differences,
    base: float,
    provenance: str,
    published: Published | None,
    published_base: float | None,
    xlabel: str,
    log: bool,
) -> Figure:
    """Draw the difference that each value of a setting makes, against the value that all else uses.

    Args:
        found: paired differences from the base, whose columns are the other values of the setting.
        base: that value.
        provenance: "simulated" or "measured on real features".
        published: mAP in percent, one row, a column per value of the setting; None where nothing is printed.
        published_base: the value of the setting that its differences are from; None as well.
        xlabel: the setting.
        log: whether its axis is logarithmic.
    """
    set_style()
    num_panels, width_in = (1, 0.7 * WIDTH_IN) if published is None else (2, WIDTH_IN)
    figure, panels = plt.subplots(1, num_panels, figsize=(width_in, HEIGHT_IN), sharey=True, squeeze=False)
    left, right = panels[0, 0], panels[0, -1]
    values = np.array(sorted([*found.points, base]), dtype=float)
    # Half of the distance between ticks holds the seeds of one value.
    places = np.log(values) if log else values
    room = 0.35 * np.diff(places).min() if len(values) > 1 else 0.1
    shift = np.linspace(-room, room, len(found.points)) if len(found.points) > 1 else np.zeros(1)
    for value in found.points.columns.astype(float):
        _seed_marks(left, value * np.exp(shift) if log else value + shift, found, value)
        _interval(left, value, summarize(found.points[value]))
    left.plot(base, 0, "o", **BASE)
    left.set_title(f"This run, against {base:g}\n{provenance}, {_seeds(found)}")
    ticks = {left: values}
    if published is not None and published_base is not None:
        printed = published.values.iloc[0]
        ticks[right] = printed.index.to_numpy()
        right.plot(printed.index, printed - printed[published_base], "s", color=PUBLISHED)
        right.plot(published_base, 0, "o", **BASE)
        right.set_title(f"Published, against {published_base:g}\n{published.data}")
    for axes, tried in ticks.items():
        set_ticks(axes, tried, log)
        axes.tick_params("x", rotation=45 if log else 0)
        axes.axhline(0, color="black", linewidth=0.8, zorder=0)
        axes.grid(axis="y", alpha=0.4)
        axes.set(xlabel=xlabel)
    left.set_ylabel(UNIT)
    _legend(figure, [found], base=True)
    return figure


def in_words(found: Mapping[str, Differences], provenance: str) -> str:
    """Say what a figure of differences shows, for readers who do not see it."""
    panels = []
    for title, differences in found.items():
        changes = []
        for change in differences.points:
            summary = summarize(differences.points[change])
            changes.append(
                f"{change} {signed(summary.mean)} ({signed(summary.low)} to {signed(summary.high)})"
            )
        panels.append(f"{title}, {provenance}, {_seeds(differences)}: {'; '.join(changes)}")
    return f"Paired differences in {UNIT}, with 95 % intervals. " + ". ".join(panels) + "."


def _seeds(differences: Differences) -> str:
    count = len(differences.points)
    return f"{count} seed{'s' * (count > 1)}"


def _changes(axes: Axes, found: Differences, chance: str | None) -> None:
    """Draw the changes of a panel, a seed that lies far out at the edge: it must not squeeze the rest."""
    summaries = {change: summarize(found.points[change]) for change in found.points}
    if chance:
        axes.axvspan(*_ends(summaries[chance]), color=PUBLISHED, alpha=0.45, linewidth=0)
    low, high = np.quantile(found.points.to_numpy(), [0.02, 0.98])
    lows, highs = zip(*(_ends(summary) for summary in summaries.values()), strict=True)
    low, high = 1.1 * min(low, -1, *lows), 1.1 * max(high, 1, *highs)
    shown = Differences(found.points.clip(low, high), found.collapsed)
    for y, (change, summary) in enumerate(summaries.items()):
        # above the interval, which they would hide
        _seed_marks(axes, y + np.linspace(-0.4, -0.15, len(shown.points)), shown, change, vertical=False)
        _interval(axes, y, summary, vertical=False)
    axes.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))


def _seed_marks(axes: Axes, place: ArrayLike, found: Differences, change: Any, vertical: bool = True) -> None:
    """Draw the seeds of a change at places along the other axis, those that have collapsed as crosses."""
    place, values = np.asarray(place), found.points[change].to_numpy()
    bad = found.collapsed[change].to_numpy(dtype=bool)
    for which, marker, colour, size in ((~bad, ".", SEED, 3.0), (bad, "x", COLLAPSED, 3.5)):
        x, y = (place, values) if vertical else (values, place)
        axes.plot(x[which], y[which], marker, color=colour, markersize=size, alpha=0.8)


def _interval(axes: Axes, place: float, summary: Summary, vertical: bool = True) -> None:
    """Draw a mean and its interval at a place along the other axis."""
    ends, places = _ends(summary), [place, place]
    axes.plot(*((places, ends) if vertical else (ends, places)), color=OURS, linewidth=4, alpha=0.7)
    point = (place, summary.mean) if vertical else (summary.mean, place)
    axes.plot(*point, "D", color=OURS, markersize=5, markeredgecolor="black")


def _ends(summary: Summary) -> list[float]:
    """Return the ends of an interval as they are drawn."""
    ends: list[float] = within(POINTS, (summary.low, summary.high)).tolist()
    return ends


def _mathematics(text: str) -> str:
    """Return a text with L_fg as mathematics."""
    return re.sub(r"L_(\w+)", r"$\\mathcal{L}_{\1}$", text)


def _legend(figure: Figure, found: Any, chance: str | None = None, base: bool = False) -> None:
    """Say below the panels what marks mean."""
    marks: list[Any] = [
        Line2D(
            [], [], color=OURS, marker="D", markeredgecolor="black", linewidth=4, label="mean, 95 % interval"
        ),
        Line2D([], [], color=SEED, marker=".", linestyle="", label="a seed; at the edge, beyond it"),
    ]
    if base:
        marks.append(Line2D([], [], marker="o", linestyle="", label="the base", **BASE))
    if chance:
        label = f"95 % interval of chance ({chance.split()[0]})"
        marks.append(Patch(color=PUBLISHED, alpha=0.45, label=label))
    if any(differences.collapsed.to_numpy().any() for differences in found):
        marks.append(
            Line2D([], [], color=COLLAPSED, marker="x", linestyle="", label="one of the two runs collapsed")
        )
    figure.legend(handles=marks, loc="outside lower center", ncols=2, fontsize="small")
