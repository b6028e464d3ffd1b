"""The settings that each notebook trains, such as the rows of Table 4."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from dgam_core import departures
from dgam_core.data import store
from dgam_core.data.simulated.features import Appearance
from dgam_core.experiments.parameters import Experiment
from dgam_core.settings import Settings
from dgam_core.snippets import DataSet


def alone(experiment: Experiment) -> dict[str, Settings]:
    """Return the whole method."""
    return {"DGAM": experiment}


def without_and_with(experiment: Experiment) -> dict[str, Settings]:
    """Return the method without and with generative attention modeling, the last step of Table 4."""
    return {"without": experiment.model_copy(update={"gamma_re": 0.0}), "with": experiment}


def ablation(experiment: Experiment) -> dict[str, Settings]:
    """Return the rows of Table 4: L_fg, to which the terms of Eq. (16) are added one at a time."""
    without = {
        "L_fg": {"alpha": 0.0, "gamma_guide": 0.0, "gamma_re": 0.0},
        "+ L_bg": {"gamma_guide": 0.0, "gamma_re": 0.0},
        "+ L_guide": {"gamma_re": 0.0},
        "+ L_re": {},
    }
    return {row: experiment.model_copy(update=change) for row, change in without.items()}


def one_by_one(experiment: Experiment) -> dict[str, Settings]:
    """Return the settings with each departure of the released code by itself, and with all."""
    return departures.one_by_one(experiment, experiment.benchmark)


# Notebook → the variants of the settings that it trains. One that is not here, and sweeps nothing, trains by
# itself.
VARIANTS: dict[str, Callable[[Experiment], Mapping[Any, Settings]]] = {
    "confusion_phase": without_and_with,
    "departures": one_by_one,
    "figure1_confusion": without_and_with,
    "figure3_training": alone,
    "figure4_prior_discrepancy": Experiment.tries,
    "table1_module_swap": without_and_with,
    "table2_attention_statistics": without_and_with,
    "table3_thumos14": alone,
    "table4_ablation": ablation,
    "table5_activitynet12": alone,
    "table6_latent_dimension": Experiment.tries,
    "table7_beta": Experiment.tries,
}


def worlds(experiment: Experiment) -> dict[Appearance | None, DataSet]:
    """Return the simulated data at each point of the grid of `confusion_phase`: RGB, which has the scenes.

    Raises:
        InputError: the data set is not a simulated one.
    """
    names = [name for name, _ in experiment.sweep]
    grid: list[Appearance | None] = [
        Appearance(**{name: float(value) for name, value in zip(names, knobs, strict=True)})
        for knobs in product(*(values for _, values in experiment.sweep))
    ]
    both = {knobs: store.open_data_set(experiment.dataset, knobs) for knobs in grid}
    return {knobs: replace(data, features={"rgb": data.features["rgb"]}) for knobs, data in both.items()}
