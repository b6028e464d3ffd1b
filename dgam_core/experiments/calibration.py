"""What the simulated data was calibrated on: published baselines, none of them with generative attention.

The knobs of `data.simulated.features` were moved until these numbers came near the published ones, and were
then frozen, before any row with L_re was run. Such rows are predictions.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

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


def targets() -> dict[str, Target]:
    """Return what is measured → its target, from `params/published.yaml`."""
    table4, table1 = (
        read_published("table4").values[0.5].to_dict(),
        read_published("table1").values.loc["O / O"],
    )
    supervised = read_published("table3").values.loc["P-GCN"].dropna()
    averages = read_published("table5").values["average"].to_dict()
    found = {f"Table 4, mAP@0.5, {row}": Target(table4[row], 2) for row in BASELINES}
    found |= {f"Table 1, O/O, mAP@{tiou:g}": Target(value, 4) for tiou, value in table1.items()}
    found |= {
        f"Table 2, without, {name}": Target(value, FACTOR, is_factor=True)
        for name, value in read_published("table2").values["without"].items()
    }
    found |= {f"Ceiling, mAP@{tiou:g} (P-GCN)": Target(value, 6) for tiou, value in supervised.items()}
    found["Table 5, average mAP (Liu et al.)"] = Target(averages["Liu et al."], 4)
    found["Table 5, ceiling, average mAP (SSN)"] = Target(averages["SSN"], 4)
    return found


def compare(measured: Mapping[str, float], provenance: str) -> pd.DataFrame:
    """Return what was measured beside its targets, a line each.

    Args:
        measured: a number for each of `targets`.
        provenance: of the measured numbers, "simulated".
    """
    lines = {}
    for name, target in targets().items():
        digits = 3 if target.is_factor else 1
        lines[name] = {
            "published": f"{target.published:.{digits}f}",
            "tolerance": target.in_words,
            provenance: f"{measured[name]:.{digits}f}",
            "within": "yes" if target.is_met(measured[name]) else "no",
        }
    return pd.DataFrame(lines).T
