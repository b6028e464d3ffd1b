"""A value per seed: its mean, spread and bootstrap interval."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import bootstrap

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """A value over seeds.

    Attributes:
        mean: mean over the seeds.
        sd: sample standard deviation; 0 for one seed.
        low: lower end of the bootstrap 95 % interval of the mean; the mean itself for one seed.
        high: upper end.
        count: number of seeds.
    """

    mean: float
    sd: float
    low: float
    high: float
    count: int

    @property
    def sign(self) -> int:
        """1 where the whole interval lies above zero, −1 where it lies below, 0 where it contains zero."""
        return int(self.low > 0) - int(self.high < 0)


def summarize(values: ArrayLike, seed: int = 0) -> Summary:
    """Summarize one value per seed.

    The interval is SciPy's percentile bootstrap of the mean. With few seeds it is too narrow: five
    values have only 126 different resamples, three only ten.

    Args:
        values: (S,), one per seed.
        seed: seed of the bootstrap; the same seed gives the same interval.
    Raises:
        ValueError: there is no value, or one is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"a summary needs finite values, one per seed, not {values}")
    mean = float(values.mean())
    if len(values) == 1:
        return Summary(mean, 0.0, mean, mean, 1)
    interval = bootstrap(
        (values,), np.mean, confidence_level=CONFIDENCE, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    low, high = float(interval.low), float(interval.high)
    return Summary(mean, float(values.std(ddof=1)), low, high, len(values))


def paired_difference(after: ArrayLike, before: ArrayLike, seed: int = 0) -> Summary:
    """Summarize after − before, seed by seed: variation that both settings share in a seed cancels.

    Args:
        after: (S,), one per seed.
        before: (S,), of the same seeds in the same order.
        seed: seed of the bootstrap.
    Raises:
        ValueError: the shapes disagree, there is no value, or one is not finite.
    """
    after, before = np.asarray(after, dtype=np.float64), np.asarray(before, dtype=np.float64)
    if after.shape != before.shape:
        raise ValueError(
            f"a paired difference needs the same seeds on both sides, not {after.shape}, {before.shape}"
        )
    return summarize(after - before, seed)
