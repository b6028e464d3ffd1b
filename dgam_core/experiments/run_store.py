"""The run store: finished training runs, their settings and their results.

A run trains one stream of a data set, with one seed and one set of settings. Its folder is named after a
digest of everything that can change its numbers, so that a run is trained once and read afterwards. A
folder appears whole or not at all: work can be stopped at any moment and resumes with the missing runs.
"""

import ast
import hashlib
import json
import platform
import re
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
from dgam_core.data.feature_summary import FeatureSummary, mismatch, summarize_features
from dgam_core.errors import InputError
from dgam_core.rivals.loop import shared_settings, with_joined
from dgam_core.rivals.rival import RivalSettings, name_of, read_settings
from dgam_core.settings import LocalizationSettings, Settings, TrainingSettings
from dgam_core.snippets import DataSet
from dgam_core.system.checked import parse, read_as, read_yaml
from dgam_core.system.files import unreadable, whole_folder, write_text
from dgam_core.training.train import Checkpoints, Trained

PACKAGE = Path(__file__).parents[1]
METHOD = "*.py"
# The code that a training run depends on: the method, and the room that trains it.
TRAINING = (METHOD, "training/**/*.py")
CHECKSUMS = "checksums.json"
CHECKPOINTS, OLD_CHECKPOINTS = "checkpoints", "looks"  # the latter in runs of version 0.1.0


@dataclass(frozen=True)
class Spec:
    """Everything that the numbers of a run depend on.

    Attributes:
        data_digest: digest of the data set's contents.
        stream: the stream that is trained on.
        seed: seed of all randomness.
        settings: settings, resolved for the stream.
        device: "cpu" or "cuda"; their arithmetic differs in the last digits.
        imported: digest of the file that the weights were imported from; "" for weights that were trained.
        rival: settings of the rival that is trained; None for DGAM.
    """

    data_digest: str
    stream: str
    seed: int
    settings: TrainingSettings
    device: str
    imported: str = ""
    rival: RivalSettings | None = None

    @property
    def digest(self) -> str:
        """The name of the run, 20 hexadecimal digits of these fields, the code and PyTorch's version."""
        code = code_digest(TRAINING if self.rival is None else rival_code(name_of(self.rival)))
        return digest_of(self.describe() | {"code": code, "torch": torch.__version__})

    def describe(self) -> dict[str, Any]:
        """Return the specification as plain data; `read_rival` reads what it says of a rival."""
        described = vars(self) | {"settings": self.settings.model_dump()}
        if self.rival is None:
            del described["rival"]
        else:
            described["rival"] = {"method": name_of(self.rival), **self.rival.model_dump(mode="json")}
        return described


def read_rival(described: Mapping[str, Any]) -> RivalSettings | None:
    """Return the settings of the rival in the description of a `Spec`; None for DGAM."""
    values = dict(described.get("rival") or {})
    return read_settings(values.pop("method"), values) if values else None


@cache
def rival_code(method: str) -> tuple[str, ...]:
    """Return patterns of the modules that a run of a rival depends on, with those of rivals that it uses."""
    found: list[str] = []
    reached = ["loop", method]
    while reached:
        if (name := reached.pop()) not in found:
            found.append(name)
            text = (PACKAGE / "rivals" / f"{name}.py").read_text(encoding="utf-8")
            reached += re.findall(r"dgam_core\.rivals\.(\w+)", text)
    return (*TRAINING, *(f"rivals/{name}.py" for name in sorted(found)))


@dataclass(frozen=True)
class Run:
    """A finished run: its record, its settings and the result of training."""

    record: dict[str, Any]
    settings: TrainingSettings
    trained: Trained
    features: FeatureSummary | None = None  # of those it was trained on; None where they are unknown

    @property
    def rival(self) -> RivalSettings | None:
        """Settings of the rival that was trained; None for DGAM."""
        return read_rival(self.record["spec"])

    @property
    def dim(self) -> int:
        """Size of the features that it was trained on."""
        if self.features is not None:
            return int(self.features.mean.size)
        return int(self.trained.weights["attention.fc1.weight"].shape[1])


def specify(
    data: DataSet,
    stream: str,
    seed: int,
    settings: Settings,
    device: torch.device,
    rival: RivalSettings | None = None,
) -> Spec:
    """Specify a run; only the training settings among `settings` count, for a rival those that all share."""
    s = settings.training.for_stream(stream) if rival is None else shared_settings(settings.training)
    return Spec(data.digest, stream, seed, s, device.type, rival=rival)


def digest_of(content: Mapping[str, Any]) -> str:
    """Return a digest of plain data, 20 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]


@cache
def code_digest(patterns: tuple[str, ...], package: Path = PACKAGE) -> str:
    """Return a digest of the modules whose paths fit `patterns`, without their comments and docstrings.

    The patterns name whole rooms, so that no module is forgotten.
    """
    hashes = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in package.glob(pattern)}):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        hashes.update(f"{path.relative_to(package).as_posix()}\n{_plain(tree)}\n".encode())
    return hashes.hexdigest()


def _plain(node: Any) -> str:
    """Return a syntax tree as text that every version of Python makes alike, as those of `ast` are not.

    Newer versions have fields that older ones lack, and leave them empty in code that both can run; 3.12 ends
    a format with an empty text.
    """
    if isinstance(node, list):
        return f"[{', '.join(_plain(each) for each in node if not _is_docstring(each))}]"
    if not isinstance(node, ast.AST):
        return ascii(node)
    if isinstance(node, ast.JoinedStr):
        node.values = [part for part in node.values if not isinstance(part, ast.Constant) or part.value]
    fields = [f"{name}={_plain(value)}" for name, value in ast.iter_fields(node) if value not in (None, [])]
    return f"{type(node).__name__}({', '.join(fields)})"


def _is_docstring(node: Any) -> bool:
    """Return whether a text stands by itself: it says something of a module, class, function or attribute."""
    return isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str)


def differences(settings: TrainingSettings, stream: str) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Return preset → setting → (value, the preset's value), of the settings in which they differ."""
    by_preset = {}
    for benchmark in get_args(departures.Benchmark):
        for name in get_args(departures.Preset):
            other = departures.preset(name, benchmark).training
            # Presets know RGB and flow; on another stream their per-stream values differ as they are.
            other = other.for_stream(stream) if stream in ("rgb", "flow") else other
            by_preset[f"{name}/{benchmark}"] = departures.difference(settings, other)
    return by_preset


def write(folder: Path, data: DataSet, stack: Sequence[tuple[Spec, Trained]], train_s: float) -> None:
    """Write the runs of a stack into the run store `folder`, whole or not at all.

    The folders get their names together, when all are written: the rest of an interrupted stack would train
    as a smaller stack, which changes the last digits. Training took `train_s` seconds per run.
    """
    first = stack[0][0]
    features = None
    if not first.imported:
        features = summarize_features(with_joined(data, first.stream), first.stream, "train")
    with ExitStack() as together:
        for spec, trained in stack:
            temporary = together.enter_context(whole_folder(folder / spec.digest))
            _write(temporary, data, spec, trained, features, train_s)


def _write(
    folder: Path, data: DataSet, spec: Spec, trained: Trained, features: FeatureSummary | None, train_s: float
) -> None:
    record = {
        "digest": spec.digest,
        "spec": spec.describe(),
        "differences": differences(spec.settings, spec.stream) if spec.rival is None else {},
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
    settings = yaml.safe_dump(spec.settings.model_dump(), sort_keys=False)
    (folder / "settings.yaml").write_text(settings, encoding="utf-8")
    (folder / "record.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    for name, tensors in (("weights", trained.weights), (CHECKPOINTS, trained.checkpoints.weights)):
        # safetensors' own files are for nobody else to read, whatever the umask.
        (folder / f"{name}.safetensors").write_bytes(safetensors.torch.save(dict(tensors)))
    with h5py.File(folder / "curves.h5", "w") as file:
        losses = file.create_group("losses")
        for name, values in trained.curves.items():
            losses.create_dataset(name, data=values)
        file.create_dataset(f"{CHECKPOINTS}/epochs", data=trained.checkpoints.epochs)
        file.create_dataset(f"{CHECKPOINTS}/held_out", data=trained.checkpoints.held_out)
        if features is not None:
            file.create_dataset("features/mean", data=features.mean)
            file["features"].attrs.update({"network": features.network, "rms": features.rms})
    (folder / CHECKSUMS).write_text(json.dumps(_checksums(folder), indent=1), encoding="utf-8")


def _checksums(folder: Path) -> dict[str, str]:
    """Return file → SHA-256 of its contents."""
    paths = sorted(path for path in folder.iterdir() if path.name != CHECKSUMS)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def is_sound(folder: Path) -> bool:
    """Return whether a run exists and all its files are as they were written.

    Raises:
        InputError: it may not be read, which does not say that it is damaged.
    """
    try:
        known = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
        return bool(known == _checksums(folder))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return False
    except OSError as error:
        raise unreadable(error.filename or folder, error) from None


def read(folder: Path) -> Run:
    """Read a finished run.

    Raises:
        InputError: the folder is not a finished run, or one of its files is damaged.
    """
    if not (folder / "record.json").is_file():
        raise InputError(f"{folder}: is not a finished run; train it first")
    if not is_sound(folder):
        raise InputError(f"{folder}: is damaged, a file is not as it was written; delete it and train again")
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    weights = safetensors.torch.load_file(folder / "weights.safetensors")
    name = CHECKPOINTS if (folder / f"{CHECKPOINTS}.safetensors").is_file() else OLD_CHECKPOINTS
    snapshots = safetensors.torch.load_file(folder / f"{name}.safetensors")
    with h5py.File(folder / "curves.h5", "r", locking=False) as file:
        curves = {loss: values[:] for loss, values in file["losses"].items()}
        checkpoints = Checkpoints(file[f"{name}/epochs"][:], file[f"{name}/held_out"][:], snapshots)
        features = None
        if (group := file.get("features")) is not None:
            features = FeatureSummary(group.attrs["network"], group["mean"][:], float(group.attrs["rms"]))
    settings = read_as(TrainingSettings, folder / "settings.yaml")
    return Run(record, settings, Trained(weights, curves, checkpoints), features)


def write_pair(folder: Path, specs: Mapping[str, Spec], settings: Settings) -> None:
    """Note in a run store which runs, one per stream, localize together and how: `pair.yaml`."""
    localization = settings.localization.model_dump(mode="json")
    content = {"runs": {stream: spec.digest for stream, spec in specs.items()}, "localization": localization}
    write_text(folder / "pair.yaml", yaml.safe_dump(content, sort_keys=False))


def read_pair(folder: Path) -> tuple[dict[str, Run], LocalizationSettings]:
    """Read the note of `write_pair`: stream → run, and the settings of localization.

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
    """Return the data set with the classes of a run, among which must be those it has itself.

    Raises:
        InputError: it has a class that the run was not trained on, or the streams know different classes.
    """
    (first, run), *others = pair.items()
    classes = tuple(run.record["classes"])
    for stream, other in others:
        if tuple(other.record["classes"]) != classes:
            raise InputError(
                f"{folder}: {stream} was trained on other classes than {first}; train both again"
            )
    if strange := sorted(set(data.classes) - set(classes)):
        raise InputError(f"{data.name}: has the class {strange[0]!r}, which {folder} was not trained on")
    return replace(data, classes=classes)


def doubts_about(data: DataSet, pair: Mapping[str, Run], folder: Path) -> list[str]:
    """Return why the features of a data set may not be such as the runs of `folder` were trained on.

    Args:
        data: the data set with the test videos.
        pair: stream → run, of streams that the data set has.
    Raises:
        InputError: features have another size than those of the training.
    """
    doubts = []
    for stream in sorted(pair):
        run, of_stream = pair[stream], with_joined(data, stream)
        size = of_stream.dim(stream)
        if size != run.dim:
            raise InputError(
                f"{data.name}: its {stream} features have {size} dimensions, those of {folder} {run.dim}; "
                "extract them with the same network, or train on these"
            )
        if run.record["spec"]["imported"]:
            if network := of_stream.networks.get(stream):
                doubts.append(
                    f"{data.name}: its {stream} features were made by the network {network[:12]}; {folder} "
                    "is an imported checkpoint and expects those of the network that its authors used: if "
                    "little is found, take their features, or train on these"
                )
        elif run.features is not None:
            why = mismatch(run.features, summarize_features(of_stream, stream, "test"))
            if why is not None:
                doubts.append(
                    f"{data.name}: its {stream} features are not such as {folder} was trained on: {why}; "
                    "extract them with the same network and scale, or train on these"
                )
    return doubts
