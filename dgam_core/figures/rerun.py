"""The methods of Tables 3 and 5, rerun on the same features: a table, and both orders side by side."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dgam_core.evaluation.intervals import Summary, paired_difference, summarize
from dgam_core.experiments.published import Published
from dgam_core.experiments.rank_correlation import RankCorrelation, rank_correlation
from dgam_core.experiments.variants import WHOLE
from dgam_core.figures.style import PERCENT, PRESETS, WIDTH_IN, set_style, within
from dgam_core.rivals.random_segments import RandomSegments
from dgam_core.rivals.uniform import Uniform

OTHER = "#333333"  # a method that is not DGAM
NEAR = 0.1  # share of an axis within which a name reaches the next point
# What knows nothing of time, by title.
BASELINES = (Uniform.title, RandomSegments.title)
INTERVAL = "95 % interval"


def by_seed(
    scores: pd.DataFrame, column: float | str, choice: str
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Return preset and method → mAP in percent of each seed, (S,), at a threshold or averaged over all."""
    chosen = scores[scores["choice"] == choice]
    if column != "average":
        chosen = chosen[chosen["tiou"] == column]
    return {
        (str(preset), str(row)): 100 * group.groupby("seed")["map"].mean().to_numpy()
        for (preset, row), group in chosen.groupby(["preset", "row"], sort=False)
    }


def main_column(published: Published) -> float | str:
    """Return the column of a published table by which methods are compared: 0.5, or "average"."""
    return "average" if "average" in published.values else 0.5


def table(scores: pd.DataFrame, published: Published, provenance: str) -> pd.DataFrame:
    """Published and rerun mAP of each method, in the published order; methods without a number come first.

    Args:
        scores: as `Study.score` returns them, rows being methods, by preset.
        published: methods at these thresholds, as in Tables 3 and 5.
        provenance: "simulated" or "measured on real features".
    """
    column = main_column(published)
    unit = "mAP@0.5" if column != "average" else "average mAP"
    chosen = {choice: by_seed(scores, column, choice) for choice in scores["choice"].unique()}
    at_tiou = {float(tiou): by_seed(scores, float(tiou), "last") for tiou in scores["tiou"].unique()}
    lines: dict[str, dict[tuple[str, str], str]] = {}
    for key in sorted(chosen["last"], key=lambda key: _place(key, published, column)):
        preset, row = key
        printed = _printed(row, published, column)
        cells = {("published", unit): "–" if printed is None else f"{printed:.1f}"}
        for choice, values in chosen.items():
            cells[f"rerun, {provenance}: {unit}, {INTERVAL}", choice] = _interval(summarize(values[key]))
        for tiou, of_methods in at_tiou.items():
            mean = of_methods[key].mean()
            cells[f"rerun, {provenance}: mAP at tIoU, last epoch", f"{tiou:g}"] = f"{mean:.1f}"
        lines[_label(preset, row)] = cells
    columns = pd.MultiIndex.from_tuples(next(iter(lines.values())))
    return pd.DataFrame([list(cells.values()) for cells in lines.values()], list(lines), columns)


def _place(key: tuple[str, str], published: Published, column: float | str) -> tuple[float, bool]:
    return (_printed(key[1], published, column) or 0.0, key[0] == "released")


def _printed(row: str, published: Published, column: float | str) -> float | None:
    """Return the published number of a method, whose name a star may mark; None where there is none."""
    printed = published.values[column].dropna()
    numbers = [float(printed[name]) for name in (row, f"{row}*") if name in printed]
    return numbers[0] if numbers else None


def _interval(summary: Summary) -> str:
    if summary.count == 1:
        return f"{summary.mean:.1f}"
    return f"{summary.mean:.1f} ({summary.low:.1f} to {summary.high:.1f})".replace("-", "−")


def pairs(scores: pd.DataFrame, published: Published) -> pd.DataFrame:
    """Return what can be set against a published number, last epoch: a line per method, DGAM by `released`.

    Columns published, mean, low and high, in percent.
    """
    column = main_column(published)
    lines = {}
    for (preset, row), values in by_seed(scores, column, "last").items():
        printed = _printed(row, published, column)
        if printed is not None and (row != WHOLE or preset == "released"):
            summary = summarize(values)
            lines[row] = (printed, summary.mean, summary.low, summary.high)
    return pd.DataFrame(lines, index=["published", "mean", "low", "high"]).T.sort_values("published")


def published_against_rerun(scores: pd.DataFrame, published: Published, provenance: str) -> Figure:
    """Draw each method's published and rerun number, and its interval over seeds; see `table`."""
    set_style()
    compared = pairs(scores, published)
    column = main_column(published)
    unit = "mAP@0.5 (%)" if column != "average" else "average mAP (%)"
    figure, axes = plt.subplots(figsize=(WIDTH_IN, 4.2))
    close = _close_to_next(compared)
    for i, (row, (x, mean, low, high)) in enumerate(zip(compared.index, compared.to_numpy(), strict=True)):
        colour = PRESETS["released"] if row == WHOLE else OTHER
        low, high = within(PERCENT, (low, high))
        axes.errorbar(x, mean, [[mean - low], [high - mean]], fmt="o", color=colour, capsize=3, markersize=5)
        # The name of a method that has another close by on the right stands on its left.
        left, below = close[i], close[i] and not (i and close[i - 1])
        axes.annotate(
            row,
            (x, mean),
            xytext=(-6 if left else 6, -11 if below else 4),
            ha="right" if left else "left",
            textcoords="offset points",
            fontsize="small",
            color=colour,
        )
    axes.set(xlabel=f"published, {unit}", ylabel=f"rerun, {provenance}, {unit}")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.12)
    axes.set_title(f"Spearman's ρ: {rank_in_words(correlation(compared))}", fontsize="small")
    return figure


def beside_baselines(scores: pd.DataFrame, published: Published) -> str:
    """Say which methods are not above what knows nothing of time, by the interval of paired differences."""
    of_methods = by_seed(scores, main_column(published), "last")
    baselines = {row: values for (_, row), values in of_methods.items() if row in BASELINES}
    lines = []
    for baseline, level in baselines.items():
        others = {key: values for key, values in of_methods.items() if key[1] not in BASELINES}
        low = [_label(*key) for key, values in others.items() if paired_difference(values, level).low <= 0]
        rest = "all methods are above it" if not low else f"not above it: {'; '.join(low)}"
        lines.append(f"The baseline {baseline} has {level.mean():.1f}; {rest}.")
    return " ".join(lines)


def _label(preset: str, row: str) -> str:
    return f"{row}, {preset}" if row == WHOLE else row


def _close_to_next(compared: pd.DataFrame) -> list[bool]:
    """Return whether the name of each method would run into the next one's point, (N,)."""
    x, y = compared["published"].to_numpy(), compared["mean"].to_numpy()
    near = (np.diff(x) < NEAR * np.ptp(x)) & (np.abs(np.diff(y)) < NEAR * np.ptp(y))
    return [*near.tolist(), False]


def correlation(compared: pd.DataFrame) -> RankCorrelation | None:
    """Return the rank correlation of the columns of `pairs`."""
    return rank_correlation(compared["published"], compared["mean"])


def rank_in_words(rank: RankCorrelation | None) -> str:
    """Return ρ, its interval and on how many methods it rests, as text."""
    if rank is None:
        return "too few methods for a rank correlation"
    numbers = f"{rank.rho:.2f}, {INTERVAL} {rank.low:.2f} to {rank.high:.2f}, {rank.count} methods"
    return numbers.replace("-", "−")


def in_words(scores: pd.DataFrame, published: Published, provenance: str) -> str:
    """Return what `published_against_rerun` shows, in words."""
    compared = pairs(scores, published)
    numbers = "; ".join(
        f"{row} {published_value:.1f} published, {mean:.1f} rerun"
        for row, published_value, mean in zip(
            compared.index, compared["published"], compared["mean"], strict=True
        )
    )
    return f"mAP in percent, {provenance}: {numbers}. Spearman's ρ {rank_in_words(correlation(compared))}"
