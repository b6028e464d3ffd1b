"""The effects that the paper claims, on several data sets, with their intervals: a forest plot."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dgam_core.figures.style import DATA, POINTS, WIDTH_IN, set_style, within

LINE_IN = 0.75  # height per claim
LABEL_WIDTH = 30  # characters


class Effect(NamedTuple):
    """A change of mAP in points that the paper claims, on some data.

    Attributes:
        preset: settings it was measured with.
        claim: what the paper says.
        data: words for the data set and its provenance.
        mean: mean over seeds.
        low: lower end of its 95 % interval.
        high: upper end.
        published: the paper's own change; None where it prints none.
    """

    preset: str
    claim: str
    data: str
    mean: float
    low: float
    high: float
    published: float | None


def effects(found: Sequence[Effect], data_sets: Sequence[str]) -> Figure:
    """Draw effects and their intervals, a panel per preset; what is published is a diamond.

    Args:
        found: the effects; claims keep their order.
        data_sets: words for all data sets that there can be, in order; each has its colour, also where others
            are missing.
    """
    set_style()
    claims = list(dict.fromkeys(effect.claim for effect in found))
    colours = {name: DATA[i % len(DATA)] for i, name in enumerate(data_sets)}
    shown = [name for name in data_sets if any(effect.data == name for effect in found)]
    presets = sorted({effect.preset for effect in found})
    figure, panels = plt.subplots(
        1,
        len(presets),
        figsize=(WIDTH_IN, 1.2 + LINE_IN * len(claims)),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for axes, preset in zip(panels[0], presets, strict=True):
        _panel(
            axes,
            [effect for effect in found if effect.preset == preset],
            claims,
            {name: colours[name] for name in shown},
        )
        axes.set(title=preset, xlabel="change of mAP@0.5 (points)")
    labels = [textwrap.fill(claim, LABEL_WIDTH) for claim in claims]
    panels[0, 0].set_yticks(range(len(claims)), labels)
    panels[0, 0].set_ylim(len(claims) - 0.5, -0.5)
    marks = [Line2D([], [], color=colours[name], marker="o", label=name) for name in shown]
    marks.append(Line2D([], [], color="black", marker="D", linestyle="", label="published, THUMOS14"))
    figure.legend(handles=marks, loc="outside lower center", ncols=2, fontsize="small")
    return figure


def _panel(axes: Axes, found: Sequence[Effect], claims: list[str], colours: Mapping[str, str]) -> None:
    """Draw the effects of a preset, those on each data set a little below those on the one before."""
    axes.axvline(0, color="black", linewidth=0.8)
    offsets = dict(zip(colours, np.linspace(-0.3, 0.3, len(colours) + 2)[1:-1], strict=True))
    for effect in found:
        line, colour = claims.index(effect.claim), colours[effect.data]
        y = line + offsets[effect.data]
        axes.plot(within(POINTS, (effect.low, effect.high)), [y, y], color=colour, linewidth=1.5)
        axes.plot([effect.mean], [y], "o", color=colour, markersize=4)
        if effect.published is not None:
            axes.plot([effect.published], [line - 0.36], "D", color="black", markersize=4)
    for y in np.arange(0.5, len(claims) - 1):
        axes.axhline(y, color="#DDDDDD", linewidth=0.8)
