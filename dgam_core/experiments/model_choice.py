"""Model choice: which checkpoint of a training run is the result.

`last`
    The model of the final epoch. Nothing is chosen; the main number of every table.
`label_only`
    The checkpoint at which a second model, trained without a share of the training videos, classifies those
    best: the least mean −log p_θ(y | x_fg), Eq. (6), the earliest of equals. The choice needs only video
    labels, which weakly supervised training has. The weights are those of the first model, which saw all
    training videos, at that checkpoint. Each stream chooses for itself.
`test_oracle`
    The checkpoint that localizes best on the *test* set, by mAP at `main_tiou`, as the released code chooses:
    the streams' checkpoints in turn, each together with the best of the other stream so far, beginning with
    the untrained models. An optimistic maximum, for comparison with numbers that were chosen in this way.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from dgam_core.errors import InputError
from dgam_core.evaluation.collapse import collapses
from dgam_core.evaluation.module_analysis import localize_and_evaluate
from dgam_core.experiments import rival_inference
from dgam_core.experiments.inference import load_test_features, predict
from dgam_core.experiments.rival_inference import rival_of
from dgam_core.experiments.run_store import METHOD, Run, code_digest, digest_of, rival_code
from dgam_core.localize import Outputs
from dgam_core.model import new_model, restore, seed_of_stream
from dgam_core.rivals.loop import with_joined
from dgam_core.rivals.rival import name_of
from dgam_core.settings import LocalizationSettings
from dgam_core.snippets import DataSet
from dgam_core.system.files import whole_file
from dgam_core.system.workers import side_by_side
from dgam_core.training.train import Checkpoints

CHOICES = ("last", "label_only", "test_oracle")

# The code that the score of a trained model depends on.
SCORING = (METHOD, "evaluation/**/*.py", "experiments/inference.py", "experiments/model_choice.py")


def scoring_of_rival(method: str) -> tuple[str, ...]:
    """Return patterns of the modules that the score of a rival depends on."""
    return (*SCORING, "experiments/rival_inference.py", *rival_code(method))


def label_only(checkpoints: Checkpoints) -> int:
    """Return the checkpoint with the least loss on held-out videos.

    Raises:
        InputError: none were held out.
    """
    if not len(checkpoints.held_out):
        raise InputError("model_choice: label_only needs videos that training holds out; set held_out to 0.2")
    return int(checkpoints.held_out.argmin())


def choices_of(settings: LocalizationSettings, held_out: bool) -> tuple[str, ...]:
    """Return the choices that say something of a model: the last, and what its settings are made for.

    Args:
        settings: how to localize.
        held_out: whether its training held out videos.
    """
    asked = {"last": True, "label_only": held_out, "test_oracle": settings.model_choice == "test_oracle"}
    return tuple(choice for choice in CHOICES if asked[choice])


# Stream → index of a checkpoint; None for the untrained model.
Chosen = Mapping[str, int | None]
# The same as pairs, sorted → mAP at the thresholds and at `main_tiou`, and which streams have collapsed.
Judge = Callable[[tuple[tuple[str, int | None], ...]], tuple[NDArray[np.float64], dict[str, str]]]


def oracle(streams: Sequence[str], count: int, score: Callable[[Chosen], float]) -> Chosen:
    """Choose a checkpoint for each stream by their score together, as the released code does.

    Args:
        streams: names of the streams, in the order in which they take turns.
        count: number of checkpoints per stream.
        score: maps stream → checkpoint to a score; higher is better.
    """
    best: Chosen = dict.fromkeys(streams)
    highest = 0.0
    for index in tqdm(range(count), unit="checkpoint", desc="test_oracle", disable=None, leave=False):
        for stream in streams:
            candidate = {**best, stream: index}
            value = score(candidate)
            if value > highest:
                best, highest = candidate, value
    return best


@dataclass(frozen=True)
class Score:
    """The score of a model, of one or two streams, at the checkpoints that one choice falls on.

    Attributes:
        checkpoints: stream → index of the chosen checkpoint; None for the untrained model.
        epochs: stream → epochs of training at that checkpoint.
        map: mean average precision at each threshold, (K,), a fraction.
        main: its mean over `main_tiou`.
        collapsed: stream → how its model has collapsed; empty for most.
    """

    checkpoints: Chosen
    epochs: dict[str, int]
    map: list[float]
    main: float
    collapsed: dict[str, str]


class Scorer:
    """Chooses among the checkpoints of trained models and scores them on the test videos.

    Args:
        data: the data set.
        folder: cache of scores.
        device: where to compute.
        thresholds: tIoU thresholds of the scores, (K,).
        workers: processes that score models side by side.
        choices: the model choices to score; by default those of `choices_of`.
    """

    def __init__(
        self,
        data: DataSet,
        folder: Path,
        device: torch.device,
        thresholds: Sequence[float],
        workers: int = 1,
        choices: Sequence[str] | None = None,
    ) -> None:
        self.data, self.thresholds, self._choices = data, [round(float(t), 9) for t in thresholds], choices
        self._folder, self._device, self._workers = folder, device, workers
        self._features: dict[tuple[str, int, int], dict[str, torch.Tensor]] = {}

    def outputs(
        self, model: Mapping[str, Run], checkpoints: Chosen, settings: LocalizationSettings
    ) -> dict[str, dict[str, Outputs]]:
        """Return stream → test video → outputs of a model, one run per stream, at the given checkpoints."""
        outputs = {}
        for stream, run in model.items():
            features, index = self._test_features(stream, settings), checkpoints[stream]
            if index is None:
                sizes = self.data.dim(stream), len(self.data.classes)
                network = new_model(*sizes, run.settings, seed_of_stream(run.record["spec"]["seed"], stream))
            else:
                network = restore(run.trained.checkpoints.at(index), run.settings)
            outputs[stream] = predict(network.to(self._device), features)
        return outputs

    def answers(
        self, model: Mapping[str, Run], checkpoints: Chosen, settings: LocalizationSettings
    ) -> rival_inference.Answers:
        """Return stream → test video → what a rival says of it; see `outputs`."""
        return {
            stream: rival_inference.predict(
                self.data, run, stream, checkpoints[stream], self._test_features(stream, settings)
            )
            for stream, run in model.items()
        }

    def scores(self, model: Mapping[str, Run], settings: LocalizationSettings) -> dict[str, Score]:
        """Return choice → score of a model, one run per stream."""
        question = self._question(model, settings)
        path = self._folder / f"{digest_of(question)}.json"
        if path.is_file():
            cached = json.loads(path.read_text(encoding="utf-8"))["scores"]
            return {choice: Score(**values) for choice, values in cached.items()}
        judged = self._judge(model, settings)
        scores = {choice: self._score(model, settings, choice, judged) for choice in question["choices"]}
        with whole_file(path) as temporary:
            content = question | {"scores": {choice: asdict(score) for choice, score in scores.items()}}
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        return scores

    def _question(self, model: Mapping[str, Run], settings: LocalizationSettings) -> dict[str, Any]:
        """Return everything that a score depends on."""
        held_out = all(len(run.trained.checkpoints.held_out) for run in model.values())
        rival = rival_of(model)
        return {
            "runs": {stream: run.record["digest"] for stream, run in model.items()},
            "settings": {name: getattr(settings, name) for name in sorted(LocalizationSettings.model_fields)},
            "thresholds": self.thresholds,
            "choices": list(self._choices or choices_of(settings, held_out)),
            "code": code_digest(SCORING if rival is None else scoring_of_rival(name_of(rival))),
        }

    def chosen_outputs(
        self, model: Mapping[str, Run], settings: LocalizationSettings, choice: str
    ) -> dict[str, dict[str, Outputs]]:
        """Return stream → test video → outputs of the checkpoint that a choice falls on."""
        # What takes long may stand in the cache of scores.
        known = self.scores(model, settings) if choice == "test_oracle" else {}
        chosen = known[choice].checkpoints if choice in known else self.chosen(model, settings, choice)
        return self.outputs(model, chosen, settings)

    def table(
        self,
        models: Mapping[tuple[Any, int], Mapping[str, Run]],
        settings: Mapping[Any, LocalizationSettings],
    ) -> pd.DataFrame:
        """Score many models, with a line of progress on a terminal.

        Args:
            models: (row, seed) → model, one run per stream.
            settings: row → how to localize.
        Returns:
            Columns row, seed, choice, tiou, map, main (mAP, fractions), collapsed (whether a stream's model
            has collapsed) and provenance.
        """
        new = [
            (model, settings[row])
            for (row, _), model in models.items()
            if not (self._folder / f"{digest_of(self._question(model, settings[row]))}.json").is_file()
        ]
        scorer = Scorer(self.data, self._folder, self._device, self.thresholds, choices=self._choices)
        done = side_by_side(_fill_cache, scorer, new, self._workers)
        for _ in tqdm(done, total=len(new), unit="model", desc="scoring", disable=None if new else True):
            pass
        records = [
            (row, seed, choice, tiou, value, score.main, bool(score.collapsed), self.data.provenance)
            for (row, seed), model in models.items()
            for choice, score in self.scores(model, settings[row]).items()
            for tiou, value in zip(self.thresholds, score.map, strict=True)
        ]
        columns = ["row", "seed", "choice", "tiou", "map", "main", "collapsed", "provenance"]
        return pd.DataFrame(records, columns=columns)

    def collapsed(
        self,
        models: Mapping[tuple[Any, int], Mapping[str, Run]],
        settings: Mapping[Any, LocalizationSettings],
    ) -> dict[tuple[Any, int], str]:
        """Return (row, seed) → how the model of the last epoch has collapsed, of those that have."""
        found = {}
        for (row, seed), model in models.items():
            score = self.scores(model, settings[row])["last"]
            if score.collapsed:
                found[row, seed] = "; ".join(f"{stream}: {how}" for stream, how in score.collapsed.items())
        return found

    def chosen(
        self,
        model: Mapping[str, Run],
        settings: LocalizationSettings,
        choice: str,
        judged: Judge | None = None,
    ) -> Chosen:
        """Return stream → index of the checkpoint that a choice falls on.

        Args:
            model: one run per stream.
            settings: how to localize.
            choice: one of `CHOICES`.
            judged: what `_judge` returned, if it has been asked before.
        Raises:
            InputError: `test_oracle` has no annotated test video to score on.
        """
        checkpoints = {stream: run.trained.checkpoints for stream, run in model.items()}
        if choice == "last":
            return {stream: len(values) - 1 for stream, values in checkpoints.items()}
        if choice == "label_only":
            return {stream: label_only(values) for stream, values in checkpoints.items()}
        if not any(video.segments for video in self.data.subset("test")):
            raise InputError(f"{self.data.name}: test_oracle needs test videos with annotated segments")
        judge, count = judged or self._judge(model, settings), len(self.thresholds)

        def score(candidate: Chosen) -> float:
            return float(judge(tuple(candidate.items()))[0][count:].mean())

        # RGB first, as in the released code.
        streams = sorted(checkpoints, reverse=True)
        return oracle(streams, min(len(values) for values in checkpoints.values()), score)

    def _judge(self, model: Mapping[str, Run], settings: LocalizationSettings) -> Judge:
        """Return a function of checkpoints that remembers what it has evaluated."""
        tiou = [*self.thresholds, *settings.main_tiou]
        rival = rival_of(model)

        @lru_cache(maxsize=4)  # the candidate and the best checkpoint so far, of each stream
        def predicted(stream: str, index: int | None) -> dict[str, Any]:
            of_model = self.outputs if rival is None else self.answers
            return dict(of_model({stream: model[stream]}, {stream: index}, settings)[stream])

        @cache
        def judge(chosen: tuple[tuple[str, int | None], ...]) -> tuple[NDArray[np.float64], dict[str, str]]:
            by_stream = {stream: predicted(stream, index) for stream, index in chosen}
            if rival is not None:
                return rival_inference.evaluate(self.data, by_stream, rival, settings, tiou)
            found = localize_and_evaluate(self.data, by_stream, settings, tiou).map
            return found, collapses(by_stream, settings)

        return judge

    def _score(
        self, model: Mapping[str, Run], settings: LocalizationSettings, choice: str, judge: Judge
    ) -> Score:
        chosen = self.chosen(model, settings, choice, judge)
        values, collapsed = judge(tuple((stream, chosen[stream]) for stream in sorted(chosen, reverse=True)))
        count = len(self.thresholds)
        return Score(
            checkpoints=chosen,
            epochs={
                stream: 0 if index is None else int(model[stream].trained.checkpoints.epochs[index])
                for stream, index in chosen.items()
            },
            map=values[:count].tolist(),
            main=float(values[count:].mean()),
            collapsed=collapsed,
        )

    def _test_features(self, stream: str, settings: LocalizationSettings) -> dict[str, torch.Tensor]:
        key = (stream, settings.min_snippets, settings.max_snippets)
        if key not in self._features:
            data = with_joined(self.data, stream)
            self._features[key] = load_test_features(data, stream, settings, self._device)
        return self._features[key]


def _fill_cache(scorer: Scorer, task: tuple[Mapping[str, Run], LocalizationSettings]) -> None:
    scorer.scores(*task)
