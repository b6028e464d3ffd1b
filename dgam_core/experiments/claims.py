"""What the paper claims of THUMOS14, and what the seeds of a run on some data say of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pandas as pd
from numpy.typing import ArrayLike

from dgam_core.evaluation.intervals import CONFIDENCE, MARGIN, Summary, holm, paired_difference, summarize

SEEN, OPPOSITE, EQUAL, UNDECIDED = "seen here", "opposite here", "practically equal here", "undecided"
NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper beside a run.

    Attributes:
        claim: what the paper says.
        measured: what the run gives, with its interval.
        published: what the paper prints.
        evidence: verdict → p-value of the hypothesis that has to be rejected for it, not corrected. At most
            one of these hypotheses is true. Empty where nothing is comparable.
    """

    claim: str
    measured: str
    published: str
    evidence: Mapping[str, float]
    effect: tuple[float, float, float]
    unit: str


def differs(
    claim: str,
    after: ArrayLike,
    before: ArrayLike,
    unit: str,
    published: str,
    better: int = 1,
    digits: int = 1,
    margin: float = MARGIN,
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
        margin: how much is practically nothing, in the unit.
    """
    step = paired_difference(after, before)
    direction = SEEN if better * step.mean > 0 else OPPOSITE
    evidence = {EQUAL: step.p_beyond(margin), direction: step.p_zero}
    return Claim(claim, in_words(step, digits, "+", unit), published, evidence, _effect(step), unit)


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
    beyond = [min(step.p_at_most(margin), step.p_at_least(-margin)) for step in steps.values()]
    evidence = {
        SEEN: max(step.p_beyond(margin) for step in steps.values()),
        OPPOSITE: min(1.0, 2 * len(beyond) * min(beyond)),  # each value may be too high or too low
    }
    value = max(steps, key=lambda key: abs(steps[key].mean))
    largest = in_words(steps[value], 1, "+", "points")
    measured = f"largest: {largest}, at {value:g}; little is ±{margin:.1f}"
    return Claim(claim, measured, published, evidence, _effect(steps[value]), "points")


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
    direction = SEEN if ours.mean > rival else OPPOSITE
    evidence = {direction: ours.p_exactly(rival)} if comparable else {}
    return Claim(claim, in_words(ours, 1, "", "%"), published, evidence, _effect(ours), "%")


def _effect(number: Summary) -> tuple[float, float, float]:
    return float(number.mean), float(number.low), float(number.high)


def in_words(number: Summary, digits: int, sign: str, unit: str) -> str:
    """Return a mean with its interval, such as "+1.2 points (95 %: +0.3 to +2.1)"."""
    mean, low, high = (f"{value:{sign}.{digits}f}" for value in (number.mean, number.low, number.high))
    return f"{mean} {unit} (95 %: {low} to {high}, {number.count} seeds)"


def verdict(evidence: Mapping[str, float]) -> str:
    """Return what evidence decides at the 5 % level: first of all, whether there is practically no change."""
    if not evidence:
        return NOT_COMPARABLE
    decided = [name for name in (EQUAL, SEEN, OPPOSITE) if evidence.get(name, 1.0) <= 1 - CONFIDENCE]
    return decided[0] if decided else UNDECIDED


def verdicts(claims: Sequence[Mapping[str, float]]) -> list[tuple[str, str]]:
    """Return the verdict on each of many claims, corrected for their number, and what it is alone.

    The correction takes back, and decides nothing anew.

    Args:
        claims: the evidence of each claim.
    """
    pairs = [
        (verdict(after), verdict(before)) for after, before in zip(corrected(claims), claims, strict=True)
    ]
    return [(said if said == alone else UNDECIDED, alone) for said, alone in pairs]


def corrected(claims: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Correct the evidence of many claims for their number, by Holm's method.

    Args:
        claims: the evidence of each claim.
    """
    names = [(index, name) for index, evidence in enumerate(claims) for name in evidence]
    # Of the hypotheses of a claim at most one is true.
    p_values = holm([claims[index][name] for index, name in names], sum(1 for evidence in claims if evidence))
    found: list[dict[str, float]] = [{} for _ in claims]
    for (index, name), p in zip(names, p_values, strict=True):
        found[index][name] = p
    return found


def as_json(claims: Mapping[str, Sequence[Claim]], data: str) -> str:
    """Return claims as the book reads them from a notebook that has glued them as `claims`.

    Args:
        claims: preset → claims of one notebook, measured with it.
        data: what they were measured on, such as "thumos14, simulated".
    """
    rows = [
        asdict(claim) | {"preset": preset, "data": data}
        for preset, found in claims.items()
        for claim in found
    ]
    return json.dumps(rows, ensure_ascii=False)
