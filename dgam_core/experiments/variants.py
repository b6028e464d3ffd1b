"""What each notebook trains: which settings, such as the rows of Table 4, and on which data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal, TypeVar

from dgam_core.data.simulated.features import APPEARANCES, Appearance
from dgam_core.departures import ASSUMED_RATE, CHOICE, DEPARTURES, Benchmark, Departure, Preset
from dgam_core.errors import InputError
from dgam_core.experiments.calibration import BASELINES
from dgam_core.experiments.parameters import Experiment
from dgam_core.rivals.rival import find, names
from dgam_core.settings import Settings
from dgam_core.snippets import DataSet

AnySettings = TypeVar("AnySettings", bound=Settings)
Open = Callable[..., DataSet]  # `store.open_data_set`, or a function like it
DataSets = dict[Appearance | None, DataSet]
WHOLE = "DGAM"  # the row of the whole method


def alone(experiment: Experiment) -> dict[str, Experiment]:
    """Return the whole method."""
    return {WHOLE: experiment}


def without_and_with(experiment: Experiment) -> dict[str, Experiment]:
    """Return the method without and with generative attention modeling, the last step of Table 4."""
    return {"without": experiment.model_copy(update={"gamma_re": 0.0}), "with": experiment}


def old_and_new(experiment: Experiment) -> dict[str, Experiment]:
    """Return the same two by the names that Table 1 gives them, O and N."""
    return dict(zip("ON", without_and_with(experiment).values(), strict=True))


def ablation(experiment: Experiment) -> dict[str, Experiment]:
    """Return the rows of Table 4: L_fg, to which the terms of Eq. (16) are added one at a time."""
    zero_weights = {
        "L_fg": {"alpha": 0.0, "gamma_guide": 0.0, "gamma_re": 0.0},
        "+ L_bg": {"gamma_guide": 0.0, "gamma_re": 0.0},
        "+ L_guide": {"gamma_re": 0.0},
        "+ L_re": {},
    }
    return {row: experiment.model_copy(update=weights) for row, weights in zero_weights.items()}


def baselines(experiment: Experiment) -> dict[str, Experiment]:
    """Return the rows of Table 4 without L_re, which the simulated data was calibrated on."""
    rows = ablation(experiment)
    return {row: rows[row] for row in BASELINES}


# The row of what could be gained at all: training is told when actions happen.
CEILING = "told the times"
CEILING_SEEDS = 5  # its seeds differ by less than a point


def ceiling(experiment: Experiment) -> Experiment:
    """Return the settings of a model that is told the times of the training actions, a supervised ceiling.

    It is localized with in the same way, at the last epoch.
    """
    told = {"supervision": "times", "gamma_re": 0.0, "model_choice": "last", "held_out": 0.0}
    return experiment.model_copy(update=told | {"seeds": experiment.seeds[:CEILING_SEEDS]})


def rerun(experiment: Experiment) -> dict[str, Experiment]:
    """Return DGAM and, with the preset `paper`, whose sampling they share, the methods it is compared with.

    No checkpoint is chosen on the test set.
    """
    plain = experiment.model_copy(update={"model_choice": "last"})
    methods = (experiment.methods or names()) if experiment.preset == "paper" else ()
    return {WHOLE: plain} | {find(name).title: plain.model_copy(update={"method": name}) for name in methods}


def switch(settings: AnySettings, departure: Departure, benchmark: Benchmark) -> AnySettings:
    """Return `settings` with one departure as in the released code."""
    return settings.model_copy(update=dict(departure.values(benchmark)))


def departures_one_by_one(experiment: Experiment) -> dict[str, Experiment]:
    """Return the preset's settings, and the same with each departure alone switched to the other preset's.

    The number of epochs and the evaluation interval stay as they are. Departures in which both presets
    agree on the benchmark have nothing to switch and are left out; so are 14, the choice on the test set,
    which trains nothing else, and 31, which changes nothing or is refused. The bug of class 0, 23, is
    switched on.

    Returns:
        Name of the variant → settings; the first, "base", has no departure switched.
    """
    length = {name: getattr(experiment, name) for name in ("epochs", "evaluation_interval")}
    variants: dict[str, Experiment] = {"base": experiment}
    for departure in DEPARTURES:
        if departure.number in (CHOICE, ASSUMED_RATE) or not departure.values(experiment.benchmark):
            continue
        switched = dict(departure.values(experiment.benchmark))
        if departure.in_preset:
            other: Preset = "paper" if experiment.preset == "released" else "released"
            switched = experiment.values_in(other, switched)
        variants[f"{departure.number} {departure.title}"] = experiment.model_copy(update=switched | length)
    return variants


def grid_points(experiment: Experiment) -> dict[Any, Experiment]:
    """Return the settings at each point of the grid `sweep`; none where nothing is swept."""
    return dict(experiment.grid()) if experiment.sweep else {}


def one_data_set(experiment: Experiment, open_data: Open) -> DataSets:
    """Return the data set that the parameters name."""
    return {None: open_data(experiment.dataset)}


def simulated_grid(experiment: Experiment, open_data: Open) -> DataSets:
    """Return a simulated data set for each point of the grid `sweep`.

    Raises:
        InputError: the data set is not a simulated one.
    """
    names = [name for name, _ in experiment.sweep]
    usual = APPEARANCES.get(experiment.dataset.removeprefix("simulated:"), Appearance())
    data_sets: DataSets = {}
    for values in product(*(values for _, values in experiment.sweep)):
        appearance = replace(usual, **{name: float(v) for name, v in zip(names, values, strict=True)})
        data_sets[appearance] = open_data(experiment.dataset, appearance)
    return data_sets


@dataclass(frozen=True)
class Notebook:
    """What a notebook trains.

    Attributes:
        of_preset: returns row → settings, given the parameters.
        sweep: names of which the notebook can try values; empty for most, which try nothing.
        data_sets: returns how features are simulated (None: as usual) → data set, given the parameters and
            a function that opens one.
        by_preset: whether the notebook can show both presets; its rows are then (preset, row).
        has_ceiling: whether `ceiling` is one of its rows where all training videos are annotated.
        needs: which test snippets it measures something on: "action", some within an annotated segment, or
            "contrast", some within and some outside in the same video; "" for most, which measure detections.
    """

    of_preset: Callable[[Experiment], Mapping[Any, Experiment]] = alone
    sweep: tuple[str, ...] = ()
    data_sets: Callable[[Experiment, Open], DataSets] = one_data_set
    by_preset: bool = False
    has_ceiling: bool = False
    needs: Literal["", "action", "contrast"] = ""

    def variants(self, experiment: Experiment, data: DataSet | None = None) -> dict[Any, Experiment]:
        """Return row → settings, given the parameters, and the data set if there is to be a ceiling.

        Raises:
            InputError: both presets are asked for, and the notebook shows one.
        """
        told = self.has_ceiling and data and all(video.segments for video in data.subset("train"))

        def rows(one: Experiment) -> dict[Any, Experiment]:
            return {**self.of_preset(one), **({CEILING: ceiling(one)} if told else {})}

        if self.by_preset:
            presets = experiment.by_preset().items()
            return {(name, row): s for name, one in presets for row, s in rows(one).items()}
        if experiment.preset == "both":
            raise InputError("parameters: preset = 'both': this notebook shows one; give paper or released")
        return rows(experiment)


NOTEBOOKS = {
    "calibration": Notebook(baselines, has_ceiling=True, needs="action"),
    "confusion_phase": Notebook(
        without_and_with, ("confusion", "separation", "noise", "drift"), simulated_grid
    ),
    "departures": Notebook(departures_one_by_one, by_preset=True),
    "figure1_confusion": Notebook(without_and_with, needs="contrast"),
    "figure3_training": Notebook(without_and_with),
    "figure4_prior_discrepancy": Notebook(Experiment.tries, ("prior_shift",)),
    "rivals": Notebook(rerun, by_preset=True),
    "table1_module_swap": Notebook(old_and_new, by_preset=True),
    "table2_attention_statistics": Notebook(without_and_with, needs="action"),
    "table3_thumos14": Notebook(by_preset=True, has_ceiling=True),
    "table4_ablation": Notebook(ablation, by_preset=True, has_ceiling=True),
    "table5_activitynet12": Notebook(by_preset=True, has_ceiling=True),
    "table6_latent_dimension": Notebook(Experiment.tries, ("latent_dim",)),
    "table7_beta": Notebook(Experiment.tries, ("beta",)),
}
