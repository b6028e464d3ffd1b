"""The run store: what was run, with which settings, what came out.

A run is one training: a data set, a stream, a seed, settings. Its folder is named after a digest of
everything that can change its numbers, so asking again for the same run reads it. A folder appears
whole or not at all: work can be stopped at any moment and goes on with the runs that are missing.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import safetensors
import safetensors.torch
import torch
import yaml
from tqdm import tqdm

from dgam_core.errors import InputError
from dgam_core.files import whole_file, whole_folder
from dgam_core.outputs import Outputs, Trained
from dgam_core.params import (
    Experiment,
    LocalizationSettings,
    Settings,
    TrainingSettings,
    parse,
    project_root,
    read_yaml,
)
from dgam_core.snippets import DataSet

# The modules whose code decides what a training computes.
CODE = ("attention", "classifier", "cvae", "losses", "snippets", "train")

Trainer = Callable[[DataSet, str, TrainingSettings, int, torch.device, Callable[[int], object]], Trained]


@dataclass(frozen=True)
class Spec:
    """One training: everything that decides its numbers.

    Attributes:
        data_digest: digest of the data set's contents.
        stream: the stream that is trained on.
        seed: seed of all randomness.
        settings: settings, resolved for the stream.
        device: "cpu" or "cuda"; their arithmetic differs in the last digits.
    """

    data_digest: str
    stream: str
    seed: int
    settings: TrainingSettings
    device: str

    @property
    def digest(self) -> str:
        """The name of the run, 20 hexadecimal digits that stand for this, the code and PyTorch's version."""
        content = self.describe() | {"code": code_digest(), "torch": torch.__version__}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]

    def describe(self) -> dict[str, Any]:
        """Return the specification as plain data."""
        return {
            "data_digest": self.data_digest,
            "stream": self.stream,
            "seed": self.seed,
            "settings": self.settings.model_dump(),
            "device": self.device,
        }


@dataclass(frozen=True)
class Run:
    """A finished run: its record and what training left behind."""

    record: dict[str, Any]
    settings: TrainingSettings
    trained: Trained


def specify(data: DataSet, stream: str, seed: int, settings: Settings, device: torch.device) -> Spec:
    """Specify a run; of `settings`, only what training depends on counts."""
    values = {name: getattr(settings, name) for name in TrainingSettings.model_fields}
    return Spec(data.digest, stream, seed, TrainingSettings(**values).for_stream(stream), device.type)


@cache
def code_digest() -> str:
    """Digest of the code that decides a training's numbers, without its comments and docstrings."""
    hashes = hashlib.sha256()
    for name in CODE:
        found = importlib.util.find_spec(f"dgam_core.{name}")
        assert found is not None
        assert found.origin is not None
        tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
                and ast.get_docstring(node) is not None
            ):
                node.body = node.body[1:] or [ast.Pass()]
        hashes.update(ast.unparse(tree).encode())
    return hashes.hexdigest()


def obtain(folder: Path, data: DataSet, specs: Sequence[Spec], trainer: Trainer) -> list[Run]:
    """Return the runs of `specs`, reading those that exist in `folder` and training the others.

    Shows a line of progress on a terminal. What is finished stays when this is interrupted.
    """
    missing = [spec for spec in dict.fromkeys(specs) if not (folder / spec.digest).is_dir()]
    epochs = sum(spec.settings.epochs for spec in missing)
    with tqdm(total=epochs, unit="epoch", desc="training", disable=None if missing else True) as line:
        for spec in missing:
            line.set_postfix_str(f"{spec.stream}, seed {spec.seed}")
            _train_and_write(folder / spec.digest, data, spec, trainer, lambda _: line.update())
    return [read(folder / spec.digest) for spec in specs]


def obtain_models(
    folder: Path,
    data: DataSet,
    variants: Mapping[str, Settings],
    seeds: Sequence[int],
    device: torch.device,
    trainer: Trainer,
) -> dict[tuple[str, int], dict[str, Run]]:
    """Return a model, one run a stream, for each variant of the settings and each seed; see `obtain`."""
    grid = [(name, seed, stream) for name in variants for seed in seeds for stream in data.streams]
    specs = [specify(data, stream, seed, variants[name], device) for name, seed, stream in grid]
    models: dict[tuple[str, int], dict[str, Run]] = {}
    for (name, seed, stream), run in zip(grid, obtain(folder, data, specs, trainer), strict=True):
        models.setdefault((name, seed), {})[stream] = run
    return models


def _train_and_write(
    folder: Path, data: DataSet, spec: Spec, trainer: Trainer, progress: Callable[[int], object]
) -> None:
    """Train one run and write its folder, whole or not at all."""
    before = time.perf_counter()
    trained = trainer(data, spec.stream, spec.settings, spec.seed, torch.device(spec.device), progress)
    record = {
        "digest": spec.digest,
        "spec": spec.describe(),
        "data": {"name": data.name, "source": data.source, "provenance": data.provenance},
        "classes": data.classes,
        "last_losses": {name: float(values[-1]) for name, values in trained.curves.items()},
        "train_s": round(time.perf_counter() - before, 3),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
    with whole_folder(folder) as temporary:
        _write(temporary, record, spec.settings, trained)


def _write(folder: Path, record: dict[str, Any], settings: TrainingSettings, trained: Trained) -> None:
    (folder / "settings.yaml").write_text(
        yaml.safe_dump(settings.model_dump(), sort_keys=False), encoding="utf-8"
    )
    (folder / "record.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    safetensors.torch.save_file(trained.weights, folder / "weights.safetensors")
    with h5py.File(folder / "curves.h5", "w") as file:
        for name, values in trained.curves.items():
            file.create_dataset(f"losses/{name}", data=values)
        for video, outputs in trained.outputs.items():
            file.create_dataset(f"test/{video}/attention", data=outputs.attention)
            file.create_dataset(f"test/{video}/logits", data=outputs.logits)


def read(folder: Path) -> Run:
    """Read a finished run.

    Raises:
        InputError: the folder is no run, or a file of it is damaged.
    """
    if not (folder / "record.json").is_file():
        raise InputError(f"{folder}: is no finished run; train it first")
    try:
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        weights = safetensors.torch.load_file(folder / "weights.safetensors")
        with h5py.File(folder / "curves.h5", "r") as file:
            curves = {name: values[:] for name, values in file["losses"].items()}
            outputs = {
                name: Outputs(video["attention"][:], video["logits"][:])
                for name, video in file["test"].items()
            }
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise InputError(f"{folder}: is damaged ({error}); delete the folder and train again") from None
    settings = parse(TrainingSettings, read_yaml(folder / "settings.yaml"), str(folder / "settings.yaml"))
    return Run(record, settings, Trained(weights, curves, outputs))


def write_pair(folder: Path, specs: Mapping[str, Spec], settings: LocalizationSettings) -> None:
    """Note in a run store which runs, one a stream, localize together and how: `pair.yaml`."""
    localization = {name: getattr(settings, name) for name in LocalizationSettings.model_fields}
    content = {"runs": {stream: spec.digest for stream, spec in specs.items()}, "localization": localization}
    with whole_file(folder / "pair.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def read_pair(folder: Path) -> tuple[dict[str, Run], LocalizationSettings]:
    """Read what `write_pair` noted: stream → run, and the settings of localization.

    Raises:
        InputError: the folder holds no such note, or a run is missing or damaged.
    """
    path = folder / "pair.yaml"
    content = read_yaml(path)
    names, localization = content.get("runs"), content.get("localization")
    if not isinstance(names, dict) or not isinstance(localization, dict):
        raise InputError(f"{path}: is damaged; write it again with `dgam train`")
    settings = parse(LocalizationSettings, localization, str(path))
    return {stream: read(folder / str(name)) for stream, name in names.items()}, settings


@dataclass(frozen=True)
class Results:
    """Where an experiment's results go: `results/<profile>` in the project.

    Attributes:
        runs: the run store, shared by all notebooks of a profile.
        figures: tables and figures; those of a store given by its file have a folder of their own
            in it, so that a run on other data overwrites nothing.
    """

    runs: Path
    figures: Path

    @classmethod
    def of(cls, experiment: Experiment) -> Results:
        """Return the places of an experiment's results, made where they are missing."""
        root = project_root() / "results" / experiment.profile
        own = "" if experiment.dataset.startswith("simulated:") else Path(experiment.dataset).stem
        results = cls(root / "runs", root / "figures" / own)
        for folder in (results.runs, results.figures):
            folder.mkdir(parents=True, exist_ok=True)
        return results

    def save_table(self, name: str, csv: str) -> None:
        """Write a table as <name>.csv."""
        with whole_file(self.figures / f"{name}.csv") as temporary:
            temporary.write_text(csv, encoding="utf-8")

    def save_figure(self, name: str, figure: Any) -> None:
        """Write a Matplotlib figure as <name>.svg and <name>.png."""
        for kind in ("svg", "png"):
            with whole_file(self.figures / f"{name}.{kind}") as temporary:
                figure.savefig(temporary, format=kind)
