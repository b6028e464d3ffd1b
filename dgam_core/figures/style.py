"""The style of all figures: the same thing has the same colour everywhere."""

from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import NDArray

# The palette of Okabe and Ito, which readers of any colour vision can tell apart.
OURS, WITHOUT, PUBLISHED = "#0072B2", "#56B4E9", "#999999"
SEED, COLLAPSED = "#E69F00", "#D55E00"
TOLD = "#009E73"  # a model that is told the times, the colour of the truth

WIDTH_IN = 7.5  # of the text of a page
KINDS = {"action": "#009E73", "context": "#E69F00", "background": "#CCCCCC", "not action": "#CCCCCC"}
PRESETS = {"paper": "#CC79A7", "released": OURS}
# What claims are checked on, in the order of columns.
DATA = ("#56B4E9", "#0072B2", "#D55E00", "#E69F00", "#009E73")
MODELS = {"without": WITHOUT, "with": OURS}  # generative attention modeling


def stream_colour(stream: str) -> str:
    """Return the colour of a stream, the same with and without another stream beside it."""
    return "#D55E00" if stream == "flow" else "#333333"


def set_style() -> None:
    """Set the style of all figures."""
    parameters = {
        "figure.constrained_layout.use": True,
        "figure.dpi": 120,
        "savefig.dpi": 200,
        "figure.titlesize": "medium",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.hashsalt": "dgam",  # the same figure gives the same file
    }
    sns.set_theme(context="paper", style="ticks", font_scale=1.2, rc=parameters)


def set_ticks(axes: Axes, values: NDArray[Any], log: bool) -> None:
    """Set a tick for each value that was tried, on a linear or a logarithmic axis."""
    if log:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(values, [f"{value:g}" for value in values])
