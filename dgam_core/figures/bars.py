"""The statistics of Table 2 as bars."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dgam_core.figures.style import MODELS, SHARE, WIDTH_IN, set_style, within

# Statistics whose snippets are all action ones: their shares are at most 1; of others, there can be more.
OF_ACTION = ("|gt − att| / |gt|", "|(att ∩ gt) − cls| / |gt|")


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
        _clip_errors(axes, [label.get_text() for label in axes.get_yticklabels()])
        axes.set_title(title)
        axes.set_xlabel("share of the action snippets")
        axes.set_ylabel("")
    marks = [Patch(color=colour, label=f"{name} generative modeling") for name, colour in MODELS.items()]
    figure.legend(handles=marks, loc="outside lower center", ncols=2, fontsize="small")
    return figure


def _clip_errors(axes: Axes, rows: list[str]) -> None:
    """End the error bars where the shares of their rows can; seaborn's own know one range for all rows."""
    for line in axes.lines:
        row = rows[round(float(np.nanmean(np.asarray(line.get_ydata(), dtype=float))))]
        limits = SHARE if row in OF_ACTION else (0.0, np.inf)
        line.set_xdata(within(limits, line.get_xdata()))
    axes.relim()
    axes.autoscale_view(scaley=False)
