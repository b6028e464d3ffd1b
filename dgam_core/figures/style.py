"""The style of all figures: the same thing has the same colour everywhere."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.font_manager import FontEntry, FontProperties, fontManager
from numpy.typing import ArrayLike, NDArray

# The palette of Okabe and Ito, which readers of any colour vision can tell apart.
OURS, WITHOUT, PUBLISHED = "#0072B2", "#56B4E9", "#999999"
SEED, COLLAPSED = "#E69F00", "#D55E00"
TOLD = "#009E73"  # a model that is told the times, the colour of the truth

WIDTH_IN = 7.5  # of the text of a page
KINDS = {"action": "#009E73", "context": "#E69F00", "background": "#CCCCCC", "not action": "#CCCCCC"}
KIND_LINES = KINDS | {"background": "#888888", "not action": "#888888"}  # what an area may be, a line may not
PRESETS = {"paper": "#CC79A7", "released": OURS}
# What claims are checked on, in the order of columns.
DATA = ("#56B4E9", "#0072B2", "#D55E00", "#E69F00", "#009E73")
MODELS = {"without": WITHOUT, "with": OURS}  # generative attention modeling
# What values can be: an interval or a spread that ends beyond is drawn up to there.
SHARE, PERCENT, POINTS = (0.0, 1.0), (0.0, 100.0), (-100.0, 100.0)  # points: a difference of percentages
LAST_RESORT = "Last Resort"  # a font of boxes for all letters

_families = ["sans-serif"]  # and those that have letters of names which it lacks


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
        "font.family": _families,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.hashsalt": "dgam",  # the same figure gives the same file
    }
    sns.set_theme(context="paper", style="ticks", font_scale=1.2, rc=parameters)


def within(limits: tuple[float, float], ends: ArrayLike) -> NDArray[np.float64]:
    """Return ends of intervals, those beyond limits moved to them.

    Student's t and the standard deviation know nothing of the range that a percentage has.
    """
    return np.clip(np.asarray(ends, dtype=np.float64), *limits)


def sd_within(limits: tuple[float, float]) -> Callable[[Any], tuple[float, float]]:
    """Return an `errorbar` for seaborn: mean ± standard deviation, but not beyond limits."""

    def ends(values: Any) -> tuple[float, float]:
        mean, sd = np.mean(values), pd.Series(values).std()  # NaN for one value, which has no bar then
        low, high = within(limits, (mean - sd, mean + sd))
        return float(low), float(high)

    return ends


def set_ticks(axes: Axes, values: NDArray[Any], log: bool) -> None:
    """Set a tick for each value that was tried, on a linear or a logarithmic axis."""
    if log:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(values, [f"{value:g}" for value in values])


def drawable(name: str) -> str:
    """Return the name of a video or class as it is written in a picture.

    Letters that the usual font lacks are drawn with an installed font that has them. Where there is none,
    they are written as escapes, with a warning; so are characters that show nothing. `$` is no formula. Call
    it before the figure is made: text that is there keeps its fonts.
    """
    lacking = []
    for letter in dict.fromkeys(name):
        family = _family_with(letter) if letter.isprintable() else None
        if family is None:
            lacking.append(letter)
        elif family not in _families:
            _families.append(family)
    mpl.rcParams["font.family"] = _families
    shown = "".join(ascii(c)[1:-1] if c in lacking else c for c in name)
    if any(letter.isprintable() for letter in lacking):
        _warn_of_escapes(ascii(name)[1:-1])
    return shown.replace("$", r"\$")


@cache
def _family_with(letter: str) -> str | None:
    """Return the family of a font that has a letter: the usual one, or the first installed one."""
    usual = font_manager.findfont(FontProperties(family=["sans-serif"]))
    if _has(usual, letter):
        return "sans-serif"
    installed = sorted(fontManager.ttflist, key=_oddness)
    return next((f.name for f in installed if LAST_RESORT not in f.name and _has(f.fname, letter)), None)


def _oddness(font: FontEntry) -> tuple[bool, bool, str]:
    return font.style != "normal", str(font.weight) not in ("400", "normal", "regular"), font.name


def _has(path: str, letter: str) -> bool:
    try:
        font = font_manager.get_font(path)
    except (OSError, RuntimeError):  # removed since, or of a kind that cannot be drawn
        return False
    return font.scalable and font.get_char_index(ord(letter)) != 0


@cache
def _warn_of_escapes(shown: str) -> None:
    """Warn once of each name."""
    warnings.warn(
        f"no installed font has all letters of a name; pictures show {shown}; install a font that has them, "
        "such as Noto Sans CJK",
        stacklevel=3,
    )
