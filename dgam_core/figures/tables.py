"""Records → the tables and sentences of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
from numpy.typing import ArrayLike

from dgam_core.departures import Benchmark, Departure
from dgam_core.evaluation.intervals import Summary, paired_difference, summarize
from dgam_core.experiments.model_choice import CHOICES
from dgam_core.experiments.published import Published

# What the sign of a paired difference's interval means.
VERDICTS = {1: "helps", -1: "harms", 0: "is undecided"}


def mean_and_sd(
    records: pd.DataFrame, rows: Sequence[str], column: str, value: str, scale: float = 100, digits: int = 1
) -> pd.DataFrame:
    """Mean ± standard deviation over the seeds, as text.

    Args:
        records: columns row, seed, and those named.
        rows: rows of the table, in order.
        column: what the columns of the table are.
        value: what to average.
        scale: factor, 100 for a percentage.
        digits: digits after the point.
    """
    groups = scale * records.groupby(["row", column])[value].agg(["mean", "std"]).fillna(0.0)
    text = groups.map(f"{{:.{digits}f}}".format)
    return (
        (text["mean"] + " ± " + text["std"]).unstack().loc[list(rows)].rename_axis(index=None, columns=None)
    )


def map_table(scores: pd.DataFrame, published: Published, main: str) -> pd.DataFrame:
    """The main number by model choice, what is published, and mAP of the last epoch at each threshold.

    Args:
        scores: as `Scorer.table` makes them, in fractions.
        published: mAP of the same rows; the table keeps their order.
        main: name of the number by which models are chosen, such as mAP@0.5.
    """
    rows = list(published.values.index)
    (provenance,) = scores["provenance"].unique()
    last = scores[scores["choice"] == "last"]
    parts = {
        f"{main} (%) by model choice, {provenance}": choices(scores, rows),
        "published": published.values.rename(columns="mAP@{:g}".format).map("{:.1f}".format),
        f"mAP at tIoU (%), last epoch, {provenance}": mean_and_sd(last, rows, "tiou", "map"),
    }
    return pd.concat(parts, axis=1)


def choices(scores: pd.DataFrame, rows: Sequence[str], value: str = "main") -> pd.DataFrame:
    """A number in percent for each model choice; see `map_table`.

    Args:
        scores: as `Scorer.table` makes them.
        rows: rows of the table, in order.
        value: "main", by which models are chosen, or "map", where there is one threshold.
    """
    once = scores[scores["tiou"] == scores["tiou"].iloc[0]]  # `main` is the same at every threshold
    return mean_and_sd(once, rows, "choice", value)[list(CHOICES)]


def methods(scores: pd.DataFrame, published: Published) -> pd.DataFrame:
    """All methods of a published table, and this run below them, by model choice.

    Args:
        scores: as `Scorer.table` makes them, of one row, at the published thresholds.
        published: methods at these thresholds, as in Tables 3 and 5, and "average" where it is printed.
    """
    (provenance,) = scores["provenance"].unique()
    names = [f"{method}, {published.details[method]}" for method in published.values.index]
    theirs = published.values.set_axis(pd.MultiIndex.from_product([["published"], names]))
    at = scores.assign(row=scores["choice"])
    here = mean_and_sd(at, list(CHOICES), "tiou", "map")[published.thresholds]
    if "average" in published.values:
        # Over the thresholds first: what is left is one number a seed, and their spread that of the seeds.
        each = at.groupby(["row", "seed"], as_index=False)["map"].mean().assign(column="average")
        here["average"] = mean_and_sd(each, list(CHOICES), "column", "map")["average"]
    here.index = pd.MultiIndex.from_product([[f"this run, {provenance}"], here.index])
    return pd.concat([theirs.map("{:.1f}".format).replace("nan", "–"), here])


def sweep(scores: pd.DataFrame, name: str, published: Published | None) -> pd.DataFrame:
    """mAP@0.5 by model choice at each value of a setting, and what is published.

    Args:
        scores: as `Scorer.table` makes them at tIoU 0.5; rows are the values.
        name: what is swept.
        published: one row, a column per value; None where nothing is printed.
    """
    (provenance,) = scores["provenance"].unique()
    ours = choices(scores, list(scores["row"].unique()), "map")
    parts = {f"mAP@0.5 (%) by model choice, {provenance}": ours}
    if published is not None:
        parts[f"published, {published.data}"] = published.values.T.map("{:.1f}".format)
    return pd.concat(parts, axis=1).sort_index().fillna("–").rename_axis(index=name)


def phase(scores: pd.DataFrame, axes: Sequence[str], rows: tuple[str, str]) -> pd.DataFrame:
    """mAP of two settings at each point of a grid, and what the step from one to the other makes of it.

    Args:
        scores: columns row, seed and map (fractions), and the grid's axes.
        axes: names of the grid's axes.
        rows: the setting without and the one with what is tried.
    Returns:
        A row a point: both means in percent, and `step`, the paired difference in points, a `Summary`.
    """
    by_seed = 100 * scores.pivot(index=[*axes, "seed"], columns="row", values="map")[list(rows)]
    points = by_seed.groupby(list(axes))
    means = points.mean()
    steps = [paired_difference(point[rows[1]], point[rows[0]]) for _, point in points]
    return means.assign(step=pd.Series(steps, means.index))


def phase_text(points: pd.DataFrame, provenance: str, unit: str) -> pd.DataFrame:
    """`phase` as text."""
    means = points.drop(columns="step").map("{:.1f}".format)
    steps = [f"{_signed(step, 1)}, {_interval(step, 1)}" for step in points["step"]]
    return pd.concat({f"{unit}, {provenance}": means.assign(difference=steps)}, axis=1)


def phase_lines(points: pd.DataFrame, what: str) -> list[str]:
    """Say at which points of a grid, as `phase` returns it, something helps, harms or is undecided."""
    lines = []
    for sign, verdict in VERDICTS.items():
        there = points.index[[step.sign == sign for step in points["step"]]]
        named = ("at " + _point(map(str, points.index.names), point) for point in there)
        lines.append(
            f"- {what} {verdict} at {len(there)} of {len(points)} points: {'; '.join(named) or 'none'}"
        )
    return lines


def _point(names: Iterable[str], values: Sequence[float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in zip(names, values, strict=True))


def departures(rows: Sequence[Departure], benchmark: Benchmark, changes: pd.DataFrame) -> pd.DataFrame:
    """What the paper says, what the released code does, the settings that switch it, and what that changes.

    Args:
        rows: the departures.
        benchmark: of which data set the settings are.
        changes: a number for each seed (rows) and variant (columns), called after its departure's number.
    """
    effects = {
        name.split()[0]: f"{_signed(step, 1)}, {_interval(step, 1)}"
        for name, step in ((str(name), summarize(changes[name])) for name in changes)
    }
    columns = ["", "what", "paper", "released code", "settings of the released code", "effect here"]
    return pd.DataFrame(
        [
            (
                row.number,
                row.title,
                row.paper,
                row.released,
                ", ".join(f"{name}: {value}" for name, value in row.values(benchmark).items())
                or "as the paper's",
                effects.get(str(row.number), "none: nothing to switch"),
            )
            for row in rows
        ],
        columns=columns,
    ).set_index("")


def compare(
    what: str, after: ArrayLike, before: ArrayLike, unit: str, better: int = 1, digits: int = 1
) -> str:
    """Say in a line of Markdown what a change does, seed by seed.

    Args:
        what: the change.
        after: a number a seed with it, (S,).
        before: without it, (S,).
        unit: what the numbers are, such as "points of mAP@0.5".
        better: 1 where higher is better, −1 where lower is.
        digits: digits after the point.
    """
    step = paired_difference(after, before)
    if step.low == step.high == 0:
        return f"- {what} changes nothing"
    return (
        f"- {what} {VERDICTS[better * step.sign]}: {_signed(step, digits)} {unit}, {_interval(step, digits)}"
    )


def _signed(step: Summary, digits: int) -> str:
    return f"{step.mean:+.{digits}f}"


def _interval(step: Summary, digits: int) -> str:
    return f"95 % interval {step.low:+.{digits}f} to {step.high:+.{digits}f}"


def seed_by_seed(lines: Iterable[str], provenance: str, count: int) -> str:
    """Put lines of `compare` together and say how far they can be trusted."""
    few = "; with so few they are too narrow, and say nothing of other data" if count < 20 else ""
    return (
        f"Seed by seed ({provenance}):\n\n"
        + "\n".join(lines)
        + f"\n\nThe intervals are bootstrapped over {count} seeds{few}."
    )
