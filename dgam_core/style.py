"""The style of all figures: one colour for the same thing everywhere."""

from __future__ import annotations

import matplotlib as mpl
import seaborn as sns

# Okabe and Ito's palette, told apart by readers of any colour vision.
OURS, WITHOUT, PUBLISHED = "#0072B2", "#56B4E9", "#999999"
SEED = "#E69F00"

STREAMS = ("#D55E00", "#333333")  # flow, rgb: in alphabetical order

WIDTH_IN = 7.5  # the width of a page's text
KINDS = {"action": "#009E73", "context": "#E69F00", "background": "#CCCCCC", "not action": "#CCCCCC"}
MODELS = {"without": WITHOUT, "with": OURS}  # generative attention modeling


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
