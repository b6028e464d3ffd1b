"""The style of all figures: one colour for the same thing everywhere."""

from __future__ import annotations

import matplotlib as mpl
import seaborn as sns

# Okabe and Ito's palette, told apart by readers of any colour vision.
OURS, WITHOUT, PUBLISHED = "#0072B2", "#56B4E9", "#999999"
SEED = "#E69F00"

WIDTH_IN = 7.5  # the width of a page's text
KINDS = {"action": "#009E73", "context": "#E69F00", "background": "#CCCCCC", "not action": "#CCCCCC"}
MODELS = {"without": WITHOUT, "with": OURS}  # generative attention modeling


def stream_colour(stream: str) -> str:
    """Return the colour of a stream, the same whether it stands alone or beside another."""
    return "#D55E00" if stream == "flow" else "#333333"


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
