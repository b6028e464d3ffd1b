"""The figure of a grid: mAP over its settings."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dgam_core.style import WIDTH_IN, set_style

HEIGHT_IN = 3.2
LOG_SPAN = 10  # from here on, an axis is logarithmic


def grid(scores: pd.DataFrame, names: list[str], main: str) -> Figure:
    """mAP over a grid: a line over one setting, colours for a second, panels for the others.

    Args:
        scores: what `sweeps.sweep` returned.
        names: the swept settings.
        main: name of the main number.
    """
    set_style()
    last = scores[(scores["choice"] == "last") & (scores["tiou"] == scores["tiou"].min())]
    # Numbers first, and of these the one with the most values.
    order = sorted(names, key=lambda name: (not _is_number(last[name]), -last[name].nunique()))
    x, (hue, column, *_), others = order[0], [*order[1:], None, None], order[3:]
    y = f"{main} (%)"
    shown = last.assign(**{y: 100 * last["main"]}).astype({name: str for name in order if name != x})
    rest = shown[others].apply(
        lambda line: ", ".join(f"{name} = {value}" for name, value in line.items()), axis=1
    )
    row = ", ".join(others) or None
    panels = shown[column].nunique() if column else 1
    layout: dict[str, Any] = {"x": x, "y": y, "hue": hue, "col": column, "row": row, "height": HEIGHT_IN}
    layout |= {"aspect": WIDTH_IN / panels / HEIGHT_IN, "palette": "colorblind" if hue else None}
    layout |= {"errorbar": ("ci", 95), "seed": 0, "data": shown.assign(**({row: rest} if row else {}))}
    with mpl.rc_context({"figure.constrained_layout.use": False}):  # seaborn lays these out itself
        if _is_number(last[x]):
            faces = sns.relplot(kind="line", style=hue, markers=bool(hue), marker="o", dashes=False, **layout)
            _ticks(faces, np.sort(last[x].unique()))
        else:
            faces = sns.catplot(kind="point", linestyle="none", dodge=0.3, **layout)
    faces.set(ylim=(0, None))
    if row:
        faces.set_titles("{row_name}, {col_var} = {col_name}")
    count, provenance = last["seed"].nunique(), last["provenance"].iloc[0]
    seeds = f"mean and 95 % interval over {count} seeds" if count > 1 else "1 seed"
    figure: Figure = faces.figure
    figure.suptitle(f"{seeds}, {provenance}", fontsize="medium")
    figure.subplots_adjust(top=1 - (0.65 if column else 0.4) / figure.get_figheight())
    return figure


def _ticks(faces: sns.FacetGrid, values: NDArray[Any]) -> None:
    """A tick for each value that was tried."""
    log = values[0] > 0 and values[-1] / values[0] >= LOG_SPAN
    for axes in faces.axes.flat:
        if log:
            axes.set_xscale("log")
            axes.minorticks_off()
        axes.set_xticks(values, [f"{value:g}" for value in values])


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
