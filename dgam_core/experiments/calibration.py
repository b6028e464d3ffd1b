"""What the simulated data was calibrated on: published baselines, none of them with generative attention.

The knobs of `data.simulated.features` were moved until these numbers came near the published ones, and were
then frozen, before any row with L_re was run. Such rows are predictions.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from dgam_core.experiments.published import read_published

BASELINES = ("L_fg", "+ L_bg", "+ L_guide")  # the rows of Table 4 without L_re
FACTOR = 1.5  # tolerance of the statistics of Table 2


@dataclass(frozen=True)
class Target:
    """A published number, and how near to it the simulation should come.

    Attributes:
        published: in percent, or a share where the tolerance is a factor.
        tolerance: in points, or a factor.
    """

    published: float
    tolerance: float
    is_factor: bool = False

    def is_met(self, measured: float) -> bool:
        """Return whether a measured number lies within the tolerance."""
        if self.is_factor:
            return measured > 0 and abs(math.log(measured / self.published)) <= math.log(self.tolerance)
        return abs(measured - self.published) <= self.tolerance

    @property
    def in_words(self) -> str:
        """The tolerance, in words."""
        return f"a factor of {self.tolerance:g}" if self.is_factor else f"±{self.tolerance:g}"


def _values(table: str) -> Any:
    return read_published(table).values


def targets() -> dict[str, Target]:
    """Return what is measured → its target, from `params/published.yaml`."""
    table4, table2, table3, table5 = (_values(f"table{i}") for i in (4, 2, 3, 5))
    by_name = {f"Table 4, mAP@0.5, {row}": Target(table4.at[row, 0.5], 2) for row in BASELINES}
    old = _values("table1").loc["O / O"]
    by_name |= {f"Table 1, O/O, mAP@{tiou:g}": Target(value, 4) for tiou, value in old.items()}
    without = table2["without"]
    by_name |= {
        f"Table 2, without, {name}": Target(value, FACTOR, is_factor=True) for name, value in without.items()
    }
    supervised = table3.loc["P-GCN"].dropna()
    by_name |= {f"Ceiling, mAP@{tiou:g} (P-GCN)": Target(value, 6) for tiou, value in supervised.items()}
    by_name["Table 5, average mAP (Liu et al.)"] = Target(table5.at["Liu et al.", "average"], 4)
    by_name["Table 5, ceiling, average mAP (SSN)"] = Target(table5.at["SSN", "average"], 4)
    return by_name


def compare(measured: Mapping[str, ArrayLike], provenance: str) -> pd.DataFrame:
    """Return what was measured beside its targets, a line each, a mean over the seeds.

    Args:
        measured: for each of `targets`, a number per seed, (S,).
        provenance: of the measured numbers, "simulated".
    """
    lines = {}
    for name, target in targets().items():
        digits, mean = 3 if target.is_factor else 1, float(np.asarray(measured[name], dtype=float).mean())
        lines[name] = {
            "published": f"{target.published:.{digits}f}",
            "tolerance": target.in_words,
            provenance: f"{mean:.{digits}f}",
            "within": "yes" if target.is_met(mean) else "no",
        }
    return pd.DataFrame(lines).T
