"""What every notebook does around its subject: open its data, train, score, save, conclude, check."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import pandas as pd
import torch
from numpy.typing import ArrayLike

from dgam_core.data import soundness, store
from dgam_core.data.simulated.features import Appearance
from dgam_core.evaluation.module_analysis import localize_and_evaluate, without_segments
from dgam_core.experiments import claims, regression
from dgam_core.experiments.model_choice import Scorer, choices_of
from dgam_core.experiments.obtain import obtain_models
from dgam_core.experiments.own import with_sizes
from dgam_core.experiments.parameters import Experiment, read_parameters
from dgam_core.experiments.places import Results, project_root
from dgam_core.experiments.prerequisites import check_measurable
from dgam_core.experiments.published import Published, read_published
from dgam_core.experiments.run_store import Run
from dgam_core.experiments.variants import NOTEBOOKS
from dgam_core.localize import Outputs
from dgam_core.snippets import DataSet
from dgam_core.system.checked import read_yaml
from dgam_core.system.machine import choose_device

Model = Mapping[str, Run]  # one run per stream
TABLE_OF = {"thumos14": "table3", "activitynet12": "table5"}  # in which the paper compares methods
ALT = "alt"  # the name under which a cell glues the alternative text of its figure


class Markdown(str):
    """Text that a notebook shows as Markdown."""

    def _repr_markdown_(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Differences:
    """What changes do to mAP@0.5 of the last epoch, seed by seed.

    Attributes:
        points: differences in points, a line per seed and a column per change.
        collapsed: whether one of the two runs that a difference is of has collapsed, of the same shape.
    """

    points: pd.DataFrame
    collapsed: pd.DataFrame


@dataclass(frozen=True)
class Study:
    """What a notebook works with.

    Attributes:
        name: name of the notebook.
        experiment: its parameters.
        data_sets: how features are simulated (None: as usual) → data set; most notebooks have one.
        data: the data set at hand, the first of these.
        variants: row → parameters with the settings that are trained and scored.
        results: where its table and figures go.
    """

    name: str
    experiment: Experiment
    data_sets: Mapping[Appearance | None, DataSet]
    data: DataSet
    variants: Mapping[Any, Experiment]
    results: Results

    @property
    def presets(self) -> tuple[str, ...]:
        """Return the presets that are shown, one, or `paper` and `released`."""
        return tuple(self.experiment.by_preset())

    @property
    def seeds(self) -> dict[str, int]:
        """Return preset → number of its seeds."""
        return {name: len(experiment.seeds) for name, experiment in self.experiment.by_preset().items()}

    def choices(self, row: Any) -> tuple[str, ...]:
        """Return the names of the model choices that are shown of a row, "last" first."""
        settings = self.variants[row]
        return choices_of(settings, settings.held_out > 0)

    @property
    def num_scores(self) -> int:
        """Return how many numbers a complete table has, one for each row, seed and model choice."""
        return sum(len(self.variants[row].seeds) * len(self.choices(row)) for row in self.variants)

    @property
    def measured_on(self) -> str:
        """Return the words for the data that stand in a verdict, such as "thumos14, simulated"."""
        return f"{self.data.name.removeprefix('simulated_')}, {self.provenance}"

    @property
    def provenance(self) -> str:
        """Return the words that stand beside every number of this run."""
        return self.data.provenance

    @property
    def device(self) -> torch.device:
        """Return the device to compute on."""
        return choose_device(self.experiment.device)

    @property
    def summary(self) -> Markdown:
        """Sentences on what the numbers are about, the data set, its provenance and the settings."""
        paragraphs = [self.data.summary]
        if self.data.simulated:
            link = "[How such data is made, and what it was calibrated on](../simulated_data.html)."
            paragraphs.append(link)
        about = [*self._sampling(), *self._left_out(), *self._single_class()]
        return Markdown("\n\n".join([*paragraphs, self.experiment.summary, *about]))

    def _sampling(self) -> list[str]:
        """Say what sampling does to the test videos, where it does more than take all snippets."""
        s, lengths = self.experiment, [video.num_snippets for video in self.data.subset("test")]
        limits = (
            (sum(n > s.max_snippets for n in lengths), f"more than T_max = {s.max_snippets}", "are thinned"),
            (sum(n < s.min_snippets for n in lengths), f"fewer than {s.min_snippets}", "repeat some"),
        )
        length = f"snippets of {self.data.snippet_s:.2g} s"
        return [
            f"Of the {len(lengths)} test videos, {count} have {what} {length} and {effect}."
            for count, what, effect in limits
            if count
        ]

    def _left_out(self) -> list[str]:
        """Say which test videos no measure of localization is taken on, if there are such."""
        names, count = without_segments(self.data), len(self.data.subset("test"))
        if not names:
            return []
        return [
            f"Of the {count} test videos, {len(names)} have labels and no segments, such as `{names[0]}`: "
            "no measure of localization includes them."
        ]

    def _single_class(self) -> list[str]:
        return [f"{words[0].upper()}{words[1:]}." for words in soundness.single_class(self.data)]

    def on(self, data: DataSet) -> Self:
        """Return the same study on another of its data sets."""
        return replace(self, data=data)

    def published(self, table: str) -> Published:
        """Return what the paper prints in a table, such as "table4"; see `read_published`."""
        return read_published(table)

    @property
    def compared_in(self) -> str:
        """Return the table in which the paper compares methods on the benchmark."""
        return TABLE_OF[self.experiment.benchmark]

    def train(self) -> dict[tuple[Any, int], dict[str, Run]]:
        """Return (row, seed) → model, one run per stream: read from the run store, or else trained."""
        return obtain_models(self.results.runs, self.data, self.variants, self.experiment)

    def score(
        self,
        models: Mapping[tuple[Any, int], Model],
        thresholds: Sequence[float] = (0.5,),
        choices: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Score models on the test videos; see `Scorer.table`.

        Where rows are (preset, row), the table has the preset in a column of its own.

        Args:
            models: what `train` returned.
            thresholds: tIoU thresholds, (K,).
            choices: model choices; by default those that say something of a row, see `choices`.
        """
        scorer = Scorer(
            self.data, self.results.scores, self.device, thresholds, self.experiment.workers, choices
        )
        scores = scorer.table(models, self.variants)
        reasons = Counter(scorer.collapsed(models, self.variants).values())
        if reasons:
            from IPython.display import display

            counts = [f"- {count} of {len(models)} models: {how}" for how, count in reasons.items()]
            display(Markdown("Collapsed:\n\n" + "\n".join(counts)))  # type: ignore[no-untyped-call]
        if NOTEBOOKS[self.name].by_preset:
            presets, scores["row"] = zip(*scores["row"], strict=True)
            scores.insert(0, "preset", presets)
        return scores

    def score_and_save(
        self, models: Mapping[tuple[Any, int], Model], thresholds: Sequence[float] = (0.5,)
    ) -> pd.DataFrame:
        """Score models by all model choices, and write the scores as the table of results."""
        scores = self.score(models, thresholds)
        self.save_table(scores)
        return scores

    def differences(
        self, scores: pd.DataFrame, pairs: Mapping[Any, tuple[Any, Any]]
    ) -> dict[str, Differences]:
        """Return preset → the paired differences between rows of a table of scores.

        Args:
            scores: as `score` returns them.
            pairs: change → the row with it, and the row without it.
        """
        by_preset = "preset" in scores
        return {name: paired(scores, pairs, name if by_preset else None) for name in self.presets}

    def differences_from(self, scores: pd.DataFrame, base: Any) -> Differences:
        """Return the paired differences of each value of a setting from a base value, of the one preset.

        Args:
            scores: as `score` returns them; rows are the values.
            base: the value that all else uses.
        """
        values = [value for value in scores["row"].unique() if value != base]
        (found,) = self.differences(scores, {value: (value, base) for value in values}).values()
        return found

    @cached_property
    def scorer(self) -> Scorer:
        """Return a scorer at tIoU 0.5, for the outputs of models."""
        return Scorer(self.data, self.results.scores, self.device, (0.5,))

    def outputs(self, model: Model, row: Any, choice: str = "last") -> dict[str, dict[str, Outputs]]:
        """Return stream → test video → outputs of the checkpoint of a row's model that a choice falls on."""
        return self.scorer.chosen_outputs(model, self.variants[row], choice)

    def over_epochs(self, models: Mapping[tuple[Any, int], Model]) -> pd.DataFrame:
        """Return mAP at tIoU 0.5 of each checkpoint: columns row, seed, epoch, value (%) and provenance.

        Args:
            models: some of what `train` returned.
        """
        records = []
        for (row, seed), model in models.items():
            for index, epoch in enumerate(next(iter(model.values())).trained.checkpoints.epochs):
                outputs = self.scorer.outputs(model, dict.fromkeys(model, index), self.variants[row])
                (value,) = localize_and_evaluate(self.data, outputs, self.variants[row], (0.5,)).map
                records.append((row, seed, int(epoch), 100 * float(value)))
        return self.table(records, ["row", "seed", "epoch", "value"])

    def table(self, records: Iterable[Sequence[Any]], columns: Sequence[str]) -> pd.DataFrame:
        """Return records as a table whose last column is their provenance."""
        return pd.DataFrame(records, columns=[*columns]).assign(provenance=self.provenance)

    def save_table(self, table: pd.DataFrame) -> None:
        """Write the table of results, <name>.csv."""
        self.results.save_table(self.name, table.to_csv(index=False))

    def save_figure(self, figure: Any, alt: str, part: str = "") -> None:
        """Write a Matplotlib figure, <name>.svg and <name>.png, or <name>_<part> for one of several.

        Args:
            figure: the figure, which the notebook's cell shows.
            alt: what it shows, in words, for readers who do not see it; the site takes it from the cell.
            part: which of several.
        """
        from myst_nb import glue

        glue(ALT, alt, display=False)
        self.results.save_figure(f"{self.name}_{part}" if part else self.name, figure)

    def conclude(self, text: str, checked: Mapping[str, Sequence[claims.Claim]] | None = None) -> Markdown:
        """Return the text that concludes a page; the site collects the claims of the paper from here.

        Args:
            text: Markdown.
            checked: preset → claims of the paper, checked on this run with it.
        """
        if checked:
            from myst_nb import glue

            glue("claims", claims.as_json(checked, self.measured_on), display=False)
        return Markdown(text)

    def check(self, numbers: Mapping[str, ArrayLike], scores: pd.DataFrame | None = None) -> None:
        """Print whether numbers are as in `params/reference.yaml`, a line each, the same on every machine.

        Args:
            numbers: name → one number per seed, (S,).
            scores: mAP in a column `map`, to be checked for its range.
        """
        if scores is not None:
            print("mAP lies in [0, 1]:", bool(scores["map"].between(0, 1).all()))
        print(*regression.compare(self.name, self.experiment, self.data, numbers), sep="\n")

    def check_methods(self, scores: pd.DataFrame, thresholds: Sequence[float]) -> None:
        """Check mAP of the last epoch over thresholds, row by row; see `check`.

        Args:
            scores: as `score` returns them.
            thresholds: tIoU thresholds, (K,).
        """
        last = scores[scores["choice"] == "last"]
        by_tiou = last.pivot(index="tiou", columns=["preset", "row", "seed"], values="map")
        count = self.num_scores * len(thresholds)
        print("every seed, choice and threshold has a value:", len(scores) == count)
        print("mAP never rises with the threshold:", bool(by_tiou.diff().max().max() <= 0))
        numbers = {
            f"mAP@{tiou}, {preset}, {row}": by_tiou[preset, row].loc[tiou]
            for preset, row in self.variants
            for tiou in by_tiou.index
        }
        self.check(numbers, scores)


def open_study(namespace: Mapping[str, Any], name: str) -> Study:
    """Read a notebook's parameters, and open its data set and the folders of its results.

    Parameters that the notebook does not set are those of its profile, `params/<profile>/<name>.yaml`.
    Where the notebook has been opened before in the same kernel, other variables than the known parameters
    are those of its later cells and are left alone.

    Args:
        namespace: the notebook's `globals()`.
        name: name of the notebook, which `variants.NOTEBOOKS` knows.
    Raises:
        InputError: a parameter is refused, the data set cannot be read, or what the notebook is about cannot
            be measured on it.
    """
    if any(isinstance(value, Study) for value in namespace.values()):
        namespace = {key: value for key, value in namespace.items() if key in Experiment.model_fields}
    notebook = NOTEBOOKS[name]
    path = project_root() / "params" / str(namespace.get("profile")) / f"{name}.yaml"
    of_profile = read_yaml(path) if path.is_file() else {}
    experiment = read_parameters(with_sizes({**of_profile, **namespace}), notebook.sweep)
    data_sets = notebook.data_sets(experiment, store.open_data_set)
    data = next(iter(data_sets.values()))
    variants = notebook.variants(experiment, data)
    check_measurable(data, variants.values(), name)
    return Study(name, experiment, data_sets, data, variants, Results.of(experiment))


def map_by_seed(scores: pd.DataFrame, threshold: float = 0.5, preset: str | None = None) -> pd.DataFrame:
    """Return mAP of the last epoch in percent, a line per seed and a column per row, in their order.

    Args:
        scores: as `Study.score` returns them.
        threshold: tIoU.
        preset: which preset's, where the scores have several.
    """
    return 100 * _by_seed(scores, "map", threshold, preset)


def paired(
    scores: pd.DataFrame, pairs: Mapping[Any, tuple[Any, Any]], preset: str | None = None
) -> Differences:
    """Return the paired differences between rows of a table of scores, of the last epoch at tIoU 0.5.

    Args:
        scores: as `Study.score` returns them.
        pairs: change → the row with it, and the row without it.
        preset: which preset's, where the scores have several.
    """
    points = map_by_seed(scores, 0.5, preset)
    bad = _by_seed(scores, "collapsed", 0.5, preset).astype(bool)
    return Differences(
        pd.DataFrame({change: points[a] - points[b] for change, (a, b) in pairs.items()}),
        pd.DataFrame({change: bad[a] | bad[b] for change, (a, b) in pairs.items()}),
    )


def _by_seed(scores: pd.DataFrame, value: str, threshold: float, preset: str | None) -> pd.DataFrame:
    """Return a value of the last epoch, a line per seed and a column per row, in their order."""
    chosen = scores[(scores["choice"] == "last") & (scores["tiou"] == threshold)]
    if preset is not None:
        chosen = chosen[chosen["preset"] == preset]
    return chosen.pivot(index="seed", columns="row", values=value)[list(chosen["row"].unique())]
