"""Whether two lists of numbers put the same things in the same order: Spearman's rank correlation."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, spearmanr

from dgam_core.evaluation.intervals import CONFIDENCE


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's ρ of N pairs.

    Attributes:
        rho: ρ in [−1, 1].
        low: lower end of its 95 % interval.
        high: upper end.
        count: number of pairs, N.
    """

    rho: float
    low: float
    high: float
    count: int


def rank_correlation(a: ArrayLike, b: ArrayLike) -> RankCorrelation | None:
    """Return ρ with the interval of Bonett and Wright (Psychometrika 65, 2000).

    The interval is normal in artanh ρ, with variance (1 + ρ²/2) / (N − 3). It takes the pairs as a sample of
    all that there might be.

    Args:
        a: (N,).
        b: (N,).
    Returns:
        None with fewer than four pairs, or where one list is constant: there is no order to speak of.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if len(a) < 4 or not np.ptp(a) or not np.ptp(b):
        return None
    rho = float(spearmanr(a, b).statistic)
    count = len(a)
    # At ±1, where artanh is infinite, the interval is that of half a step within; steps are 12 / (N³ − N).
    inner = float(np.clip(rho, -1 + 6 / (count**3 - count), 1 - 6 / (count**3 - count)))
    half = float(norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt((1 + inner**2 / 2) / (count - 3))
    low, high = (math.tanh(math.atanh(inner) + side * half) for side in (-1, 1))
    return RankCorrelation(rho, min(rho, low), max(rho, high), count)
