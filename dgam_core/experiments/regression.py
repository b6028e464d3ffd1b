"""Regression: the numbers of a notebook's run against those of the reference.

`params/reference.yaml` holds means over seeds and tolerances, for the default parameters of each notebook.
`make reference` writes it anew, by running the notebooks with `DGAM_REFERENCE=write`.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml
from numpy.typing import ArrayLike
from scipy.stats import sem, t

from dgam_core.experiments.parameters import DGAM, Experiment
from dgam_core.experiments.places import project_root
from dgam_core.experiments.run_store import digest_of
from dgam_core.snippets import DataSet
from dgam_core.system.checked import read_yaml
from dgam_core.system.files import write_text

# Parameters that change where or how fast a run is computed, and none of its numbers.
NOT_COMPARED = {"device", "workers", "profile"}


def compare(
    notebook: str, experiment: Experiment, data: DataSet, values: Mapping[str, ArrayLike]
) -> list[str]:
    """Compare numbers with the reference; one line each, the same on every machine.

    On another processor, the same seeds give numbers that differ by rounding, which training amplifies. At
    most they become as different as those of other seeds. So the tolerance is the distance within which
    the mean of as many other seeds lies in 95 % of cases, by Student's t; that of the same seeds is closer.

    Args:
        notebook: name of the notebook, whose parameters and data set follow.
        values: name → one number per seed, (S,).
    """
    path = project_root() / "params" / "reference.yaml"
    known = read_yaml(path) if path.is_file() else {}
    question = digest_of(_asked(experiment) | {"source": data.source})
    if os.environ.get("DGAM_REFERENCE") == "write":
        known[notebook] = {"of": question} | {name: _measure(numbers) for name, numbers in values.items()}
        write_text(path, HEADER + yaml.safe_dump(dict(sorted(known.items())), sort_keys=False))
    expected = known.get(notebook, {})
    if expected.get("of") != question:
        return ["no reference for these parameters"]
    return [f"{name}: {_compare(expected.get(name), numbers)}" for name, numbers in values.items()]


def _asked(experiment: Experiment) -> dict[str, Any]:
    """Return the parameters that numbers depend on; those of rivals only where there are rivals."""
    asked = experiment.model_dump(mode="json", exclude=NOT_COMPARED)
    if experiment.method == DGAM and not (experiment.method_settings or experiment.methods):
        del asked["method"], asked["method_settings"], asked["methods"]
    return asked


HEADER = (
    "# Means over seeds on simulated data, and how far a run may be from them. Written by `make reference`.\n"
)


def _measure(values: ArrayLike) -> dict[str, float]:
    """Mean and tolerance, to four digits."""
    numbers = np.asarray(values, dtype=np.float64)
    count = len(numbers)
    apart = t.ppf(0.975, count - 1) * np.sqrt(2) * sem(numbers) if count > 1 else 0.0
    # Not below the rounding of the mean, of which four digits are kept.
    tolerance = max(apart, 1e-3 * abs(numbers.mean()), 1e-6)
    return {"mean": float(f"{numbers.mean():.4g}"), "tolerance": float(f"{tolerance:.2g}")}


def _compare(expected: dict[str, Any] | None, values: ArrayLike) -> str:
    if expected is None:
        return "has no reference"
    mean = np.asarray(values, dtype=np.float64).mean()
    reference, tolerance = expected["mean"], expected["tolerance"]
    if abs(mean - reference) <= tolerance:
        return "as the reference"
    return f"{mean:.4g} is not within {tolerance:g} of the reference, {reference:g}"
