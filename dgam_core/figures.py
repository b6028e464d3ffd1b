"""Records → figures: one style, one colour for the same thing everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by readers of any colour vision.
OURS, PUBLISHED = "#0072B2", "#999999"
SEED = "#E69F00"

WIDTH_IN = 7.5  # the width of a page's text


def set_style() -> None:
    """Set the style of all figures."""
    sns.set_theme(context="paper", style="ticks", font_scale=1.2)
    mpl.rcParams.update(
        {
            "figure.constrained_layout.use": True,
            "figure.dpi": 120,
            "savefig.dpi": 200,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "svg.hashsalt": "dgam",  # the same figure gives the same file
        }
    )


def ablation(
    scores: pd.DataFrame, provenance: str, published: Mapping[str, float], published_on: str
) -> Figure:
    """Table 4 as bars: ours with every seed's value on the left, the published numbers on the right.

    Args:
        scores: columns row (name of the row), seed and map (mAP at tIoU 0.5, a fraction).
        provenance: "simulated" or "measured on real features".
        published: row → mAP at tIoU 0.5 in percent.
        published_on: what the published numbers were measured on.
    """
    set_style()
    rows = list(published)
    figure, (ours, theirs) = plt.subplots(1, 2, figsize=(WIDTH_IN, 3.2))
    percent = scores.assign(map=100 * scores["map"])
    groups = percent.groupby("row")["map"]
    labels = [row.replace("L_", r"$\mathcal{L}_{") + "}$" for row in rows]
    _bars(ours, labels, groups.mean()[rows].to_list(), OURS, groups.std()[rows].to_list())
    # Side by side, so that equal values stay apart.
    seeds = sorted(percent["seed"].unique())
    shifts = np.linspace(-0.2, 0.2, len(seeds)) if len(seeds) > 1 else [0.0]
    for shift, seed in zip(shifts, seeds, strict=True):
        values = percent[percent["seed"] == seed].set_index("row")["map"][rows]
        ours.plot(
            np.arange(len(rows)) + shift, values, "o", color=SEED, markersize=5, markeredgecolor="black"
        )
    count = f"{len(seeds)} seeds" if len(seeds) > 1 else "1 seed"
    ours.set_title(f"This run, {provenance}\nmean, ±1 sd and each of {count}", fontsize="medium")
    _bars(theirs, labels, list(published.values()), PUBLISHED)
    # The same scale on both sides, so that heights can be compared.
    highest = max(ours.dataLim.ymax, theirs.dataLim.ymax)
    for axes in (ours, theirs):
        axes.set_ylim(0, 1.2 * highest)
    theirs.set_title(f"Published\n{published_on}", fontsize="medium")
    return figure


def _bars(axes: Axes, names: Sequence[str], values: Sequence[float], colour: str, errors: Any = None) -> None:
    """Bars over named rows with mAP in percent, each value written above its bar."""
    bars = axes.bar(names, values, color=colour, width=0.65)
    top = np.array(values, dtype=float)
    if errors is not None:
        spread = np.nan_to_num(np.array(errors, dtype=float))
        axes.errorbar(names, values, spread, fmt="none", ecolor="black", capsize=4, linewidth=1)
        top = top + spread
    for bar, value, height in zip(bars, values, top, strict=True):
        middle = bar.get_x() + bar.get_width() / 2
        axes.annotate(
            f"{value:.1f}", (middle, height), (0, 4), textcoords="offset points", ha="center", va="bottom"
        )
    axes.set_ylabel("mAP at tIoU 0.5 (%)")
    axes.set_xlabel("losses, added from left to right")
