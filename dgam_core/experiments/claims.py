"""What the paper claims of its numbers, and whether those of a run agree."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd
from numpy.typing import ArrayLike

from dgam_core.evaluation.intervals import Summary, paired_difference, summarize

HOLDS, FAILS, UNDECIDED, NOT_COMPARABLE = "holds", "does not hold", "is undecided", "is not comparable"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper beside a run, in words.

    Attributes:
        claim: what the paper says.
        verdict: one of `HOLDS`, `FAILS`, `UNDECIDED` and `NOT_COMPARABLE`.
        measured: what the run gives, with its interval.
        published: what the paper prints.
    """

    claim: str
    verdict: str
    measured: str
    published: str


def differs(
    claim: str,
    after: ArrayLike,
    before: ArrayLike,
    unit: str,
    published: str,
    better: int = 1,
    digits: int = 1,
) -> Claim:
    """Check the claim that a change makes a number better, seed by seed.

    Args:
        claim: what the paper says.
        after: one number per seed with the change, (S,).
        before: without it, (S,).
        unit: what the numbers are, such as "points".
        published: the same difference in the paper, in words.
        better: 1 where higher is better, −1 where lower is.
        digits: digits after the point.
    """
    step = paired_difference(after, before)
    verdict = {1: HOLDS, -1: FAILS, 0: UNDECIDED}[better * step.sign]
    return Claim(claim, verdict, _in_words(step, digits, "+", unit), published)


def stable(claim: str, by_seed: pd.DataFrame, base: float, margin: float, published: str) -> Claim:
    """Check the claim that a setting's value changes little: all values stay within a margin of one of them.

    Args:
        claim: what the paper says.
        by_seed: a number for each seed (rows) and value (columns).
        base: value to compare with.
        margin: how much is little.
        published: the paper's differences, in words.
    """
    steps = {value: paired_difference(by_seed[value], by_seed[base]) for value in by_seed if value != base}
    if all(-margin <= step.low and step.high <= margin for step in steps.values()):
        verdict = HOLDS
    elif any(step.low > margin or step.high < -margin for step in steps.values()):
        verdict = FAILS
    else:
        verdict = UNDECIDED
    value = max(steps, key=lambda key: abs(steps[key].mean))
    largest = _in_words(steps[value], 1, "+", "points")
    measured = f"largest: {largest}, at {value:g}; little is ±{margin:.1f}"
    return Claim(claim, verdict, measured, published)


def exceeds(claim: str, values: ArrayLike, rival: float, published: str, comparable: bool) -> Claim:
    """Check the claim that a number is higher than a published one.

    Args:
        claim: what the paper says.
        values: one number per seed, (S,).
        rival: the published number.
        published: the paper's own number, in words.
        comparable: whether both were measured on the same data set.
    """
    ours = summarize(values)
    verdict = UNDECIDED
    if not comparable:
        verdict = NOT_COMPARABLE
    elif ours.low > rival:
        verdict = HOLDS
    elif ours.high < rival:
        verdict = FAILS
    return Claim(claim, verdict, _in_words(ours, 1, "", "%"), published)


def _in_words(number: Summary, digits: int, sign: str, unit: str) -> str:
    mean, low, high = (f"{value:{sign}.{digits}f}" for value in (number.mean, number.low, number.high))
    return f"{mean} {unit} (95 %: {low} to {high})"


def as_json(claims: Sequence[Claim], provenance: str) -> str:
    """Return claims as the book reads them from a notebook that has glued them as `claims`.

    Args:
        claims: the claims of one notebook.
        provenance: "simulated" or "measured on real features", to stand beside what is measured.
    """
    rows = [asdict(claim) | {"measured": f"{claim.measured}, {provenance}"} for claim in claims]
    return json.dumps(rows, ensure_ascii=False)
