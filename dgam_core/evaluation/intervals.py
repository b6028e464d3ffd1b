"""A value per seed: its mean, spread and interval, and what it can decide (Student's t)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

CONFIDENCE = 0.95
# Smallest effect of interest, in points of mAP: less is practically nothing.
MARGIN = 0.5


@dataclass(frozen=True)
class Summary:
    """A value over seeds.

    Attributes:
        mean: mean over the seeds.
        sd: sample standard deviation; 0 for one seed.
        low: lower end of the 95 % interval of the mean; the mean itself for one seed.
        high: upper end.
        count: number of seeds.
    """

    mean: float
    sd: float
    low: float
    high: float
    count: int

    def p_at_most(self, value: float) -> float:
        """Return the one-sided p-value against a true mean of `value` or less; 1 for one seed."""
        if self.count < 2:
            return 1.0
        excess, error = self.mean - value, self.sd / math.sqrt(self.count)
        if error == 0:
            return 0.0 if excess > 0 else 1.0
        return float(student.sf(excess / error, self.count - 1))

    def p_at_least(self, value: float) -> float:
        """Return the one-sided p-value against a true mean of `value` or more; 1 for one seed."""
        return Summary(-self.mean, self.sd, -self.high, -self.low, self.count).p_at_most(-value)

    def p_exactly(self, value: float) -> float:
        """Return the two-sided p-value against a true mean of `value`."""
        return min(1.0, 2 * min(self.p_at_most(value), self.p_at_least(value)))

    @property
    def p_zero(self) -> float:
        """Return the two-sided p-value against a true mean of zero."""
        return self.p_exactly(0.0)

    def p_beyond(self, margin: float) -> float:
        """Return the p-value against a true mean at ±`margin` or beyond: the larger of two one-sided ones."""
        return max(self.p_at_most(-margin), self.p_at_least(margin))

    def effect(self, margin: float) -> int | None:
        """Return what the seeds decide at the 5 % level, without a correction for other questions.

        Returns:
            0 where the mean is practically zero, within ±`margin`; 1 or −1 where it is above or below zero;
            None where neither is decided.
        """
        if self.p_beyond(margin) <= 1 - CONFIDENCE:
            return 0
        return int(math.copysign(1, self.mean)) if self.p_zero <= 1 - CONFIDENCE else None


def summarize(values: ArrayLike) -> Summary:
    """Summarize one value per seed; the interval is Student's t.

    Args:
        values: (S,), one per seed.
    Raises:
        ValueError: there is no value, or one is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"a summary needs finite values, one per seed, not {values}")
    mean, count = float(values.mean()), len(values)
    if count == 1:
        return Summary(mean, 0.0, mean, mean, 1)
    sd = float(values.std(ddof=1))
    half = float(student.ppf((1 + CONFIDENCE) / 2, count - 1)) * sd / math.sqrt(count)
    return Summary(mean, sd, mean - half, mean + half, count)


def paired_difference(after: ArrayLike, before: ArrayLike) -> Summary:
    """Summarize after − before, seed by seed: variation that both settings share in a seed cancels.

    Args:
        after: (S,), one per seed.
        before: (S,), of the same seeds in the same order.
    Raises:
        ValueError: the shapes disagree, there is no value, or one is not finite.
    """
    after, before = np.asarray(after, dtype=np.float64), np.asarray(before, dtype=np.float64)
    if after.shape != before.shape:
        raise ValueError(
            f"a paired difference needs the same seeds on both sides, not {after.shape}, {before.shape}"
        )
    return summarize(after - before)


def holm(p_values: Sequence[float], most_true: int | None = None) -> list[float]:
    """Correct p-values for their number by Holm's method.

    Args:
        p_values: one per hypothesis.
        most_true: most hypotheses that can be true at once, where they exclude one another; by default all.
    Returns:
        Corrected p-values, in the same order; rejecting those of at most 5 % rejects a true hypothesis in at
        most 5 % of all cases.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    count = len(p_values)
    most = count if most_true is None else most_true
    order = np.argsort(p_values, kind="stable")
    factors = np.minimum(np.arange(count, 0, -1), most)
    corrected = np.empty(count)
    corrected[order] = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1.0)
    return [float(value) for value in corrected]
