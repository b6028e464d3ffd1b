"""Parameter sweeps: any settings, any values, every combination."""

from typing import Any

import numpy as np
import pandas as pd

from dgam_core.errors import InputError
from dgam_core.evaluation.intervals import summarize
from dgam_core.experiments.model_choice import Scorer
from dgam_core.experiments.obtain import obtain_models
from dgam_core.experiments.parameters import Experiment
from dgam_core.experiments.places import Results
from dgam_core.experiments.prerequisites import check_measurable
from dgam_core.snippets import DataSet
from dgam_core.system.machine import choose_device

THRESHOLDS = [tiou / 10 for tiou in range(1, 10)]


def names_and_points(experiment: Experiment) -> tuple[list[str], dict[Any, Experiment]]:
    """Return the names of the swept settings, and values → parameters with them for every combination.

    Raises:
        InputError: a setting or a value is refused, or both presets are asked for.
    """
    if experiment.preset == "both":
        raise InputError("sweep: preset = 'both': a sweep shows one; give paper or released")
    return [name for name, _ in experiment.sweep], dict(experiment.grid())


def sweep(data: DataSet, experiment: Experiment, results: Results) -> pd.DataFrame:
    """Train and score every point of an experiment's grid `sweep`; `results` keeps runs and scores.

    Returns:
        A column per swept setting, then seed, choice, tiou (0.1 to 0.9), map, main (mAP, fractions),
        collapsed, provenance and, where videos are held out, held_out: −log p_θ(y | x_fg) on them after the
        last epoch, a mean over streams. A line per point, seed, model choice and threshold.
    Raises:
        InputError: a setting or a value is refused, or localization cannot be measured on the data.
    """
    names, points = names_and_points(experiment)
    check_measurable(data, points.values())
    models = obtain_models(results.runs, data, points, experiment)
    device = choose_device(experiment.device)
    scorer = Scorer(data, results.scores, device, THRESHOLDS, experiment.workers)
    scores = scorer.table(models, points)
    if experiment.held_out:
        losses = {
            key: np.mean([run.trained.checkpoints.held_out[-1] for run in model.values()])
            for key, model in models.items()
        }
        scores["held_out"] = [losses[key] for key in zip(scores["row"], scores["seed"], strict=True)]
    values = pd.DataFrame(scores.pop("row").tolist(), columns=names, dtype=object)
    return pd.concat([values.infer_objects(), scores], axis=1)


def ranking(scores: pd.DataFrame, names: list[str]) -> pd.Series:
    """Return a `Summary` over seeds for each point, the best first, of the last epoch.

    Where videos are held out, it is of the loss on them, which asks for their labels alone; or else of the
    main mAP in percent.

    Args:
        scores: what `sweep` returned.
        names: names of the swept settings.
    """
    last = scores[(scores["choice"] == "last") & (scores["tiou"] == scores["tiou"].min())].set_index(names)
    by_loss = "held_out" in last
    values = last["held_out"] if by_loss else 100 * last["main"]
    summaries = values.groupby(level=names, sort=False).agg(summarize)
    order = np.argsort([(1 if by_loss else -1) * summary.mean for summary in summaries], kind="stable")
    ranked: pd.Series = summaries.iloc[order]
    return ranked
