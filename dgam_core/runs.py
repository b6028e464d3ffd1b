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
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import h5py
import numpy as np
import safetensors
import safetensors.torch
import torch
import yaml

from dgam_core import departures
from dgam_core.errors import InputError
from dgam_core.files import whole_file, whole_folder
from dgam_core.outputs import Looks, Trained
from dgam_core.params import Experiment, parse, project_root, read_yaml
from dgam_core.settings import LocalizationSettings, Settings, TrainingSettings
from dgam_core.snippets import DataSet

# The modules whose code decides what a training computes.
CODE = (
    "attention", "classifier", "cvae", "graphs", "losses", "model", "parallel", "snippets", "stages",
    "train", "training.fused", "training_data",
)  # fmt: skip
CHECKSUMS = "checksums.json"


@dataclass(frozen=True)
class Spec:
    """One training: everything that decides its numbers.

    Attributes:
        data_digest: digest of the data set's contents.
        stream: the stream that is trained on.
        seed: seed of all randomness.
        settings: settings, resolved for the stream.
        device: "cpu" or "cuda"; their arithmetic differs in the last digits.
        checkpoint: digest of the file that the weights were read from; "" for weights trained here.
    """

    data_digest: str
    stream: str
    seed: int
    settings: TrainingSettings
    device: str
    checkpoint: str = ""

    @property
    def digest(self) -> str:
        """The name of the run, 20 hexadecimal digits that stand for this, the code and PyTorch's version."""
        return digest_of(self.describe() | {"code": code_digest(CODE), "torch": torch.__version__})

    def describe(self) -> dict[str, Any]:
        """Return the specification as plain data."""
        return {
            "data_digest": self.data_digest,
            "stream": self.stream,
            "seed": self.seed,
            "settings": self.settings.model_dump(),
            "device": self.device,
            "checkpoint": self.checkpoint,
        }


@dataclass(frozen=True)
class Run:
    """A finished run: its record and what training left behind."""

    record: dict[str, Any]
    settings: TrainingSettings
    trained: Trained


def specify(data: DataSet, stream: str, seed: int, settings: Settings, device: torch.device) -> Spec:
    """Specify a run; of `settings`, only what training depends on counts."""
    return Spec(data.digest, stream, seed, settings.training.for_stream(stream), device.type)


def digest_of(content: Mapping[str, Any]) -> str:
    """Return 20 hexadecimal digits that stand for plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]


@cache
def code_digest(modules: tuple[str, ...]) -> str:
    """Digest of the code of some modules, without its comments and docstrings."""
    hashes = hashlib.sha256()
    for name in modules:
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


def differences(settings: TrainingSettings, stream: str) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Return preset → setting → (value here, value there), of the settings in which they differ."""
    found = {}
    for benchmark in get_args(departures.Benchmark):
        for name in get_args(departures.Preset):
            other = departures.preset(name, benchmark).training
            # Presets know RGB and flow; on another stream their per-stream values differ as they are.
            other = other.for_stream(stream) if stream in ("rgb", "flow") else other
            found[f"{name}/{benchmark}"] = departures.difference(settings, other)
    return found


def write(folder: Path, data: DataSet, stack: Sequence[tuple[Spec, Trained]], train_s: float) -> None:
    """Write the runs of a stack into the run store `folder`, whole or not at all.

    They get their names in one go, when all are written: what is left of a stack would train as a smaller
    one, and come out with other last digits.

    Args:
        folder: the run store.
        data: the data set that they were trained on.
        stack: the runs.
        train_s: seconds that each took.
    """
    with ExitStack() as together:
        for spec, trained in stack:
            temporary = together.enter_context(whole_folder(folder / spec.digest))
            _write(temporary, _record(data, spec, trained, train_s), spec.settings, trained)


def _record(data: DataSet, spec: Spec, trained: Trained, train_s: float) -> dict[str, Any]:
    return {
        "digest": spec.digest,
        "spec": spec.describe(),
        "differences": differences(spec.settings, spec.stream),
        "data": {"name": data.name, "source": data.source, "provenance": data.provenance},
        "classes": data.classes,
        "last_losses": {name: float(values[-1]) for name, values in trained.curves.items()},
        "train_s": round(train_s, 3),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }


def _write(folder: Path, record: dict[str, Any], settings: TrainingSettings, trained: Trained) -> None:
    (folder / "settings.yaml").write_text(
        yaml.safe_dump(settings.model_dump(), sort_keys=False), encoding="utf-8"
    )
    (folder / "record.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    safetensors.torch.save_file(trained.weights, folder / "weights.safetensors")
    safetensors.torch.save_file(trained.looks.weights, folder / "looks.safetensors")
    with h5py.File(folder / "curves.h5", "w") as file:
        losses = file.create_group("losses")
        for name, values in trained.curves.items():
            losses.create_dataset(name, data=values)
        file.create_dataset("looks/epochs", data=trained.looks.epochs)
        file.create_dataset("looks/held_out", data=trained.looks.held_out)
    (folder / CHECKSUMS).write_text(json.dumps(_checksums(folder), indent=1), encoding="utf-8")


def _checksums(folder: Path) -> dict[str, str]:
    """File → SHA-256 of what it holds."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.name != CHECKSUMS
    }


def is_sound(folder: Path) -> bool:
    """Return whether a run is there and all its files are as they were written."""
    try:
        known = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
        return bool(known == _checksums(folder))
    except (OSError, ValueError):
        return False


def read(folder: Path) -> Run:
    """Read a finished run.

    Raises:
        InputError: the folder is no run, or a file of it is damaged.
    """
    if not (folder / "record.json").is_file():
        raise InputError(f"{folder}: is no finished run; train it first")
    if not is_sound(folder):
        raise InputError(f"{folder}: is damaged, a file is not as it was written; delete it and train again")
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    weights = safetensors.torch.load_file(folder / "weights.safetensors")
    snapshots = safetensors.torch.load_file(folder / "looks.safetensors")
    with h5py.File(folder / "curves.h5", "r") as file:
        curves = {name: values[:] for name, values in file["losses"].items()}
        looks = Looks(file["looks/epochs"][:], file["looks/held_out"][:], snapshots)
    settings = parse(TrainingSettings, read_yaml(folder / "settings.yaml"), str(folder / "settings.yaml"))
    return Run(record, settings, Trained(weights, curves, looks))


def write_pair(folder: Path, specs: Mapping[str, Spec], settings: Settings) -> None:
    """Note in a run store which runs, one a stream, localize together and how: `pair.yaml`."""
    localization = settings.localization.model_dump(mode="json")
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


def fit_classes(data: DataSet, pair: Mapping[str, Run], folder: Path) -> DataSet:
    """Return the data set with the classes of a run, in which its own, if it has any, must be.

    Raises:
        InputError: it has a class that the run was not trained on.
    """
    classes = tuple(next(iter(pair.values())).record["classes"])
    if strange := sorted(set(data.classes) - set(classes)):
        raise InputError(f"{data.name}: has the class {strange[0]!r}, which {folder} was not trained on")
    return replace(data, classes=classes)


@dataclass(frozen=True)
class Results:
    """Where an experiment's results go: `results/<profile>` in the project.

    Attributes:
        runs: the run store, shared by all notebooks of a profile.
        verdicts: which looks were chosen, and what they score.
        figures: tables and figures; those of a store given by its file have a folder of their own
            in it, so that a run on other data overwrites nothing.
        sweeps: the same of sweeps.
    """

    runs: Path
    verdicts: Path
    figures: Path
    sweeps: Path

    @classmethod
    def of(cls, experiment: Experiment) -> Results:
        """Return the places of an experiment's results, made where they are missing."""
        root = project_root() / "results" / experiment.profile
        own = "" if experiment.dataset.startswith("simulated:") else Path(experiment.dataset).stem
        folders = (root / "runs", root / "verdicts", root / "figures" / own, root / "sweeps" / own)
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        return cls(*folders)

    def save_table(self, name: str, csv: str, folder: Path | None = None) -> None:
        """Write a table as <name>.csv, into `figures` or another folder."""
        with whole_file((folder or self.figures) / f"{name}.csv") as temporary:
            temporary.write_text(csv, encoding="utf-8")

    def save_figure(self, name: str, figure: Any, folder: Path | None = None) -> None:
        """Write a Matplotlib figure as <name>.svg and <name>.png, into `figures` or another folder."""
        for kind in ("svg", "png"):
            with whole_file((folder or self.figures) / f"{name}.{kind}") as temporary:
                figure.savefig(temporary, format=kind)
