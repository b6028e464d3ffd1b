"""Records → tables, and sentences on paired differences."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from dgam_core.departures import Benchmark, Departure
from dgam_core.evaluation.intervals import CONFIDENCE, MARGIN, Summary, holm, paired_difference, summarize
from dgam_core.experiments.claims import Claim, exceeds, in_words
from dgam_core.experiments.model_choice import CHOICES
from dgam_core.experiments.published import Published
from dgam_core.experiments.variants import CEILING

# How a departure is measured in a preset.
SWITCHED = {"released": "in released, against the text's way", "paper": "in paper, switched on"}
# The preset and the model choice nearest to how the published numbers were made, and what is said of each.
NEAREST = ("released", "test_oracle")
NEAREST_IS = "nearest to the published DGAM, which has the bug of class 0 as well"
# What a paired difference means, by `Summary.effect`, its sign turned where lower is better.
EFFECTS = {1: "helps", -1: "harms", 0: "is practically equal", None: "is undecided"}


def mean_and_sd(
    records: pd.DataFrame, column: str, value: str, scale: float = 100, digits: int = 1
) -> pd.DataFrame:
    """Mean ± standard deviation over the seeds, as text, and how many seeds have collapsed, where some have.

    Args:
        records: columns row, seed, and those that `column` and `value` name; where it has the columns preset
            and collapsed, a line per preset and row, and seeds that collapsed are counted.
        column: the column of `records` whose values become the columns of the table.
        value: the column of `records` to average.
        scale: factor, 100 for a percentage.
        digits: digits after the point.
    Returns:
        The rows in their order in `records`; a dash where there is no value.
    """
    keys = [name for name in ("preset", "row") if name in records]
    cells = {}
    for place, group in records.groupby([*keys, column], sort=False):
        numbers = scale * group[value]
        sd = numbers.std() if len(numbers) > 1 else 0.0
        note = _collapsed(group["collapsed"]) if "collapsed" in group else ""
        cells[place] = f"{numbers.mean():.{digits}f} ± {sd:.{digits}f}{note}"
    order = records[keys].drop_duplicates().itertuples(index=False, name=None)
    rows = [key if len(keys) > 1 else key[0] for key in order]
    table = pd.Series(cells).unstack().loc[rows, list(records[column].unique())].fillna("–")
    table.index.names, table.columns.name = [None] * len(keys), None
    return table


def _collapsed(seeds: pd.Series) -> str:
    return f" ({seeds.sum()} of {len(seeds)} collapsed)" if seeds.any() else ""


def map_table(scores: pd.DataFrame, published: Published, metric: str) -> pd.DataFrame:
    """The main mAP by model choice, the published values, and mAP of the last epoch at each threshold.

    Args:
        scores: as `Study.score` returns them, by preset, in fractions.
        published: mAP of the same rows, which stands beside the preset `released`.
        metric: name of the main mAP, by which models are compared, such as mAP@0.5.
    """
    (provenance,) = scores["provenance"].unique()
    printed = published.values.map("{:.1f}".format)
    by_choice = choices(scores)
    beside = pd.concat({"released": printed}).reindex(by_choice.index).fillna("–")
    parts = {
        f"{metric} (%) by model choice, {provenance}": by_choice,
        f"published mAP (%), {published.data}": beside,
        # How many seeds have collapsed stands beside the main mAP.
        f"mAP at tIoU (%), last epoch, {provenance}": mean_and_sd(
            scores[scores["choice"] == "last"].drop(columns="collapsed"), "tiou", "map"
        ),
    }
    return pd.concat(parts, axis=1)


def choices(scores: pd.DataFrame, value: str = "main") -> pd.DataFrame:
    """An mAP in percent per model choice; see `map_table`.

    Args:
        scores: as `Study.score` returns them.
        value: "main", by which models are compared, or "map", where there is one threshold.
    """
    at_first = scores[scores["tiou"] == scores["tiou"].iloc[0]]  # `main` is the same at every threshold
    table = mean_and_sd(at_first, "choice", value)
    return table[[choice for choice in CHOICES if choice in table]]


def methods(scores: pd.DataFrame, published: Published) -> pd.DataFrame:
    """All methods of a published table, and this run below them, by preset and model choice.

    Args:
        scores: as `Study.score` returns them, of one row and perhaps the ceiling, by preset, at the published
            thresholds.
        published: methods at these thresholds, as in Tables 3 and 5, and "average" where it is printed.
    """
    (provenance,) = scores["provenance"].unique()
    names = [f"{method}, {published.details[method]}" for method in published.values.index]
    above = published.values.set_axis(pd.MultiIndex.from_product([[f"published, {published.data}"], names]))
    by_choice = scores.assign(row=scores["choice"].where(scores["row"] != CEILING, CEILING))
    collapsed = by_choice.groupby(["preset", "row", "seed"])["collapsed"].any().groupby(["preset", "row"])
    by_choice = by_choice.drop(columns="collapsed")  # said once, in the name of a row
    below = mean_and_sd(by_choice, "tiou", "map")[published.thresholds]
    if "average" in published.values:
        # Averaged over the thresholds per seed, so that the spread is that of the seeds.
        keys = ["preset", "row", "seed"]
        per_seed = by_choice.groupby(keys, as_index=False, sort=False)["map"].mean().assign(column="average")
        below["average"] = mean_and_sd(per_seed, "column", "map")["average"]
    labels = [
        f"{preset}, {choice}"
        + _collapsed(collapsed.get_group((preset, choice)))
        + (f"; {NEAREST_IS}" if (preset, choice) == NEAREST else "")
        for preset, choice in below.index
    ]
    below.index = pd.MultiIndex.from_product([[f"this run, {provenance}"], labels])
    return pd.concat([above.map("{:.1f}".format).replace("nan", "–"), below])


def comparison(
    scores: pd.DataFrame, published: Published, metric: str, column: float | str, rival: str, comparable: bool
) -> tuple[str, dict[str, list[Claim]]]:
    """Compare this run, preset by preset, with the published DGAM and another method.

    Args:
        scores: as `methods` takes them.
        published: methods at these thresholds, as in Tables 3 and 5.
        metric: name of the number to compare, such as mAP@0.5.
        column: the column of `published` that has it: a threshold, or "average".
        rival: name of the other method, the best of the other weakly supervised ones.
        comparable: whether this run and the published ones were measured on the same data set.
    Returns:
        Markdown, and preset → the claim that this run is above the other method.
    """
    (provenance,) = scores["provenance"].unique()
    printed = published.values[column]
    scores = scores[scores["row"] != CEILING]
    of_metric = scores if column == "average" else scores[scores["tiou"] == column]
    lines, checked = [], {}
    for preset, of_preset in of_metric.groupby("preset", sort=False):
        by_choice = 100 * of_preset.pivot_table(index="seed", columns="choice", values="map")
        lines.append(f"- `{preset}`, {choice_by_choice(by_choice)}")
        claim = f"{metric} is above that of the best other weakly supervised method"
        numbers = f"{printed['DGAM']} against {printed[rival]}"
        checked[str(preset)] = [exceeds(claim, by_choice["last"], printed[rival], numbers, comparable)]
    text = (
        f"{metric}, {provenance}:\n\n"
        + "\n".join(lines)
        + f"\n\nThe paper prints {printed['DGAM']} for DGAM and {printed[rival]} for {rival}, the best of "
        "the other weakly supervised methods."
    )
    return text, checked


def choice_by_choice(values: pd.DataFrame) -> str:
    """Say what the last epoch gives, and what the other model choices add.

    Args:
        values: mAP in percent, a line per seed and a column per model choice.
    """
    text = f"last epoch: {in_words(summarize(values['last']), 1, '', '%')}"
    words = {
        "test_oracle": "the choice on the test set adds",
        "label_only": "the choice by video labels adds",
    }
    for choice, adds in words.items():
        if choice in values:
            text += (
                f"; {adds} {in_words(paired_difference(values[choice], values['last']), 1, '+', 'points')}"
            )
    return text.replace(" -", " −")


def sweep(scores: pd.DataFrame, name: str, published: Published | None) -> pd.DataFrame:
    """mAP@0.5 by model choice at each value of a setting, and the published values.

    Args:
        scores: as `Scorer.table` makes them at tIoU 0.5; rows are the values of the setting.
        name: name of the setting.
        published: one row, a column per value of the setting; None where nothing is printed.
    """
    (provenance,) = scores["provenance"].unique()
    parts = {f"mAP@0.5 (%) by model choice, {provenance}": choices(scores, "map")}
    if published is not None:
        parts[f"published, {published.data}"] = published.values.T.map("{:.1f}".format)
    return pd.concat(parts, axis=1).sort_index().fillna("–").rename_axis(index=name)


def phase(scores: pd.DataFrame, axes: Sequence[str], rows: tuple[str, str]) -> pd.DataFrame:
    """mAP without and with a change at each point of a grid, and their paired difference.

    Args:
        scores: columns row, seed and map (fractions), and the axes of the grid.
        axes: names of the axes of the grid.
        rows: names of the rows without and with the change.
    Returns:
        A row per point: both means in percent, and `step`, the paired difference in points, a `Summary`.
    """
    by_seed = 100 * scores.pivot(index=[*axes, "seed"], columns="row", values="map")[list(rows)]
    points = by_seed.groupby(list(axes))
    means = points.mean()
    steps = [paired_difference(point[rows[1]], point[rows[0]]) for _, point in points]
    return means.assign(step=pd.Series(steps, means.index))


def phase_text(points: pd.DataFrame, provenance: str, unit: str) -> pd.DataFrame:
    """`phase` as text."""
    means = points.drop(columns="step").map("{:.1f}".format)
    steps = [_difference(step) for step in points["step"]]
    return pd.concat({f"{unit}, {provenance}": means.assign(difference=steps)}, axis=1)


def phase_lines(points: pd.DataFrame, change: str) -> list[str]:
    """Say at which points of a grid, as `phase` returns it, a change does what."""
    lines = []
    for decided, effect in EFFECTS.items():
        selected = points.index[[step.effect(MARGIN) == decided for step in points["step"]]]
        places = "; ".join("at " + _point(map(str, points.index.names), point) for point in selected)
        line = f"- {change} {effect} at {len(selected)} of {len(points)} points"
        lines.append(f"{line}: {places}" if places else line)
    return lines


def _point(names: Iterable[str], values: Sequence[float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in zip(names, values, strict=True))


def departures(
    rows: Sequence[Departure],
    benchmark: Benchmark,
    changes: Mapping[str, pd.DataFrame],
    chance: str,
    untrained: Collection[str],
) -> pd.DataFrame:
    """List what paper and released code do, where, by which settings, and what it does to mAP, as HTML.

    Args:
        rows: the departures.
        benchmark: data set of the settings.
        changes: preset → differences in points that the released code's way makes, a line per seed and a
            column per departure, whose name begins with its number.
        chance: the departure that does nothing but draw other random numbers.
        untrained: departures that change no training; see `against_chance`.
    """
    effects = {
        preset: {
            name.split()[0]: f"{_difference(step)}: {words}"
            for name, (step, words) in against_chance(of_preset, chance, untrained).items()
        }
        for preset, of_preset in changes.items()
    }
    settings = [
        ", ".join(
            f'<a href="../settings.html#setting-{name.replace("_", "-")}"><code>{name}</code></a>: {value}'
            for name, value in row.values(benchmark).items()
        )
        for row in rows
    ]
    table = {
        "": [row.number for row in rows],
        "what": [row.title for row in rows],
        "paper": [row.paper for row in rows],
        "released code": [row.released for row in rows],
        "where": [row.where for row in rows],
        "settings": [text or "as the paper's" for text in settings],
    }
    for preset, of_preset in effects.items():
        table[f"points, {SWITCHED[preset]}"] = [of_preset.get(str(row.number), "–") for row in rows]
    return pd.DataFrame(table).set_index("")


def against_chance(
    changes: pd.DataFrame, chance: str, untrained: Collection[str] = ()
) -> dict[str, tuple[Summary, str]]:
    """Return change → its effect, and in words whether it does something, corrected for their number.

    Changes share the runs that they are compared with, so the change that is pure chance moves with them:
    what counts is the difference from it, seed by seed.

    Args:
        changes: differences in points, a line per seed and a column per change.
        chance: the change that does nothing but draw other random numbers.
        untrained: changes that leave the trained weights as they are; with these, what counts is the
            difference from zero.
    """
    steps = {
        name: summarize(changes[name])
        if name in untrained
        else paired_difference(changes[name], changes[chance])
        for name in changes
        if name != chance
    }
    p_values = holm([step.p_zero for step in steps.values()])
    found = {chance: (summarize(changes[chance]), "this is chance")}
    for (name, step), p in zip(steps.items(), p_values, strict=True):
        decided = EFFECTS[1 if step.mean > 0 else -1] if p <= 1 - CONFIDENCE else "like chance"
        if name in untrained and step.effect(MARGIN) == 0:
            decided = "practically nothing"
        found[str(name)] = (summarize(changes[name]), decided)
    return found


def compare(
    change: str,
    after: ArrayLike,
    before: ArrayLike,
    unit: str,
    better: int = 1,
    digits: int = 1,
    margin: float = MARGIN,
) -> str:
    """Say in a line of Markdown what a change does, seed by seed.

    Args:
        change: the change.
        after: value with the change, (S,), one per seed; NaN where it is not defined.
        before: value without it, (S,).
        unit: unit of the values, such as "points of mAP@0.5".
        better: 1 where higher is better, −1 where lower is.
        digits: digits after the point.
        margin: how much is practically nothing, in the unit.
    """
    after, before = np.asarray(after, dtype=np.float64), np.asarray(before, dtype=np.float64)
    is_known = np.isfinite(after) & np.isfinite(before)
    if not is_known.any():
        return f"- {change} has none: in no seed is there a value with and without it"
    missing = f"; {(~is_known).sum()} of {len(is_known)} seeds have none" if not is_known.all() else ""
    step = paired_difference(after[is_known], before[is_known])
    if step.low == step.high == 0 and step.count > 1:
        return f"- {change} changes nothing{missing}"
    decided = step.effect(margin)
    effect = EFFECTS[decided and better * decided]
    return f"- {change} {effect}: {_difference(step, digits, f' {unit}')}{missing}"


def signed(value: float, digits: int = 1) -> str:
    """Return a difference with its sign, a minus and no hyphen."""
    return f"{value:+.{digits}f}".replace("-", "−")


def _difference(step: Summary, digits: int = 1, unit: str = "") -> str:
    mean, low, high = (signed(value, digits) for value in (step.mean, step.low, step.high))
    return f"{mean}{unit}, 95 % interval {low} to {high}"


def seed_by_seed(lines: Mapping[str, Sequence[str]], provenance: str, seeds: Mapping[str, int]) -> str:
    """Put lines of `compare` together and say what they rest on.

    Args:
        lines: preset → lines.
        provenance: "simulated" or "measured on real features".
        seeds: preset → number of seeds.
    """
    blocks = [
        f"With `{preset}`, {seeds[preset]} seeds, {provenance}:\n\n" + "\n".join(of_preset)
        for preset, of_preset in lines.items()
    ]
    return "\n\n".join(blocks) + (
        f"\n\nDifferences are taken seed by seed. Intervals are Student's t, each for itself; less than "
        f"{MARGIN:g} points of mAP is practically nothing. "
        "[Results at a glance](../experiments/results.html) corrects for the number of questions."
    )
