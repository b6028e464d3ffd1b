"""The effects that the paper claims, on several data sets, with their intervals: a forest plot."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dgam_core.figures.style import DATA, WIDTH_IN, set_style

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


def effects(found: Sequence[Effect]) -> Figure:
    """Draw effects and their intervals, a panel per preset; what is published is a diamond.

    Claims and data sets keep their order.
    """
    set_style()
    claims, data_sets = (
        list(dict.fromkeys(names)) for names in zip(*((e.claim, e.data) for e in found), strict=True)
    )
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
        _panel(axes, [effect for effect in found if effect.preset == preset], claims, data_sets)
        axes.set(title=preset, xlabel="change of mAP@0.5 (points)")
    labels = [textwrap.fill(claim, LABEL_WIDTH) for claim in claims]
    panels[0, 0].set_yticks(range(len(claims)), labels)
    panels[0, 0].set_ylim(len(claims) - 0.5, -0.5)
    marks = [
        Line2D([], [], color=DATA[i % len(DATA)], marker="o", label=name) for i, name in enumerate(data_sets)
    ]
    marks.append(Line2D([], [], color="black", marker="D", linestyle="", label="published, THUMOS14"))
    figure.legend(handles=marks, loc="outside lower center", ncols=2, fontsize="small")
    return figure


def _panel(axes: Axes, found: Sequence[Effect], claims: list[str], data_sets: list[str]) -> None:
    """Draw the effects of a preset, those on each data set a little below those on the one before."""
    axes.axvline(0, color="black", linewidth=0.8)
    offsets = np.linspace(-0.3, 0.3, len(data_sets) + 2)[1:-1]
    for effect in found:
        i = data_sets.index(effect.data)
        line, colour = claims.index(effect.claim), DATA[i % len(DATA)]
        y = line + offsets[i]
        axes.plot([effect.low, effect.high], [y, y], color=colour, linewidth=1.5)
        axes.plot([effect.mean], [y], "o", color=colour, markersize=4)
        if effect.published is not None:
            axes.plot([effect.published], [line - 0.36], "D", color="black", markersize=4)
    for y in np.arange(0.5, len(claims) - 1):
        axes.axhline(y, color="#DDDDDD", linewidth=0.8)
