"""Interchange with the authors' released code: its checkpoints, read and written.

A checkpoint is a PyTorch file with the weights of one stream's attention, `att_head.fc1` and
`att_head.fc2`, and classifier, `clf_head.fc1`, by their names, some with `module.` before them. The
background is the last class; the classifier has a bias.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dgam_core.data.pickles import read_torch
from dgam_core.errors import InputError
from dgam_core.experiments.run_store import Spec, write, write_pair
from dgam_core.model import new_model
from dgam_core.settings import Settings, TrainingSettings
from dgam_core.snippets import DataSet
from dgam_core.system.files import whole_file
from dgam_core.training.train import Checkpoints, Trained

Background = Literal["first", "last"]  # its place among the classes

# Name in a checkpoint of the released code → name in `model.Model`.
NAMES = {
    "att_head.fc1.weight": "attention.fc1.weight",
    "att_head.fc1.bias": "attention.fc1.bias",
    "att_head.fc2.weight": "attention.fc2.weight",
    "att_head.fc2.bias": "attention.fc2.bias",
    "clf_head.fc1.weight": "classifier.fc1.weight",
    "clf_head.fc1.bias": "classifier.fc1.bias",
}


def read_checkpoint(path: Path, background: Background = "last") -> tuple[Trained, TrainingSettings]:
    """Read a checkpoint as a trained model; anything else in it is ignored.

    Args:
        path: the file. Only tensors are read from it, never code.
        background: the background's place among its classes.
    Returns:
        The model, without CVAE, and the settings that fit it.
    Raises:
        InputError: the file is not such a checkpoint, or its shapes do not fit together.
    """
    theirs = _tensors(path)
    ours = {ours: theirs[name].float() for name, ours in NAMES.items() if name in theirs}
    for name in NAMES:
        if name not in theirs and name != "clf_head.fc1.bias":
            raise InputError(f"{path}: has no {name.rpartition('.')[0]}; it holds {_some(theirs)}")
    hidden, dim = ours["attention.fc1.weight"].shape
    settings = TrainingSettings(
        attention_hidden=hidden, background=background, classifier_bias="classifier.fc1.bias" in ours
    )
    expected = new_model(dim, len(ours["classifier.fc1.weight"]) - 1, settings, seed=0).state_dict()
    for name, value in ours.items():
        if value.shape != expected[name].shape:
            shape, fitting = tuple(value.shape), tuple(expected[name].shape)
            raise InputError(f"{path}: {name} is {shape}; it should be {fitting}")
        if not torch.isfinite(value).all():
            raise InputError(f"{path}: {name} holds a value that is not finite")
    checkpoints = Checkpoints(
        np.array([0]), np.zeros(0, dtype=np.float32), {n: v[None] for n, v in ours.items()}
    )
    return Trained(ours, {}, checkpoints), settings


def import_checkpoints(
    folder: Path, data: DataSet, paths: Mapping[str, Path], background: Background, settings: Settings
) -> None:
    """Write checkpoints into a run store, so that they localize like trained models.

    Args:
        folder: the run store.
        data: a data set whose classes the checkpoints know, in its order.
        paths: stream → checkpoint.
        background: the background's place among their classes.
        settings: how to localize.
    Raises:
        InputError: a file is not such a checkpoint, it has another number of classes or of dimensions, or
            the data set has no features for any.
    """
    if not set(paths) & set(data.streams):
        stream, path = next(iter(paths.items()))
        raise InputError(
            f"{data.name}: has no {stream} features, which {path} takes; it has {', '.join(data.streams)}"
        )
    checkpoints = {stream: read_checkpoint(path, background) for stream, path in paths.items()}
    for stream, (trained, _) in checkpoints.items():
        classes = len(trained.weights["classifier.fc1.weight"]) - 1
        if classes != len(data.classes):
            raise InputError(f"{paths[stream]}: knows {classes} classes, {data.name} has {len(data.classes)}")
        dim = trained.weights["attention.fc1.weight"].shape[1]
        if stream in data.streams and (size := data.dim(stream)) != dim:
            raise InputError(
                f"{paths[stream]}: takes {dim} dimensions, {data.name} has {size} in {stream}; "
                "extract features with the network that the checkpoint was trained with"
            )
    specs = {}
    for stream, (trained, training) in checkpoints.items():
        digest = hashlib.sha256(paths[stream].read_bytes()).hexdigest()
        specs[stream] = Spec(data.digest, stream, 0, training, "cpu", digest)
        write(folder, data, [(specs[stream], trained)], 0.0)
    # How the authors chose a checkpoint is unknown; this store has no other to choose.
    write_pair(folder, specs, settings.model_copy(update={"model_choice": "last"}))


def write_checkpoint(path: Path, weights: Mapping[str, Tensor], background: Background) -> None:
    """Write a model's attention and classifier as such a checkpoint, the background last, with a bias.

    `background` is its place among the model's classes. A file that exists is replaced.
    """
    weights = dict(weights)
    rows = weights["classifier.fc1.weight"]
    weights.setdefault("classifier.fc1.bias", rows.new_zeros(len(rows)))
    if background == "first":
        for name in ("classifier.fc1.weight", "classifier.fc1.bias"):
            weights[name] = weights[name].roll(-1, 0)
    theirs = {name: weights[ours].contiguous() for name, ours in NAMES.items()}
    with whole_file(path) as temporary:
        torch.save(theirs, temporary)


def _tensors(path: Path) -> dict[str, Tensor]:
    """Read a file's tensors by name, without `module.`."""
    content = read_torch(path, "is not a PyTorch file of tensors alone; nothing else is read")
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}; it should hold weights by name")
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    return {str(name).removeprefix("module."): value for name, value in tensors.items()}


def _some(theirs: Mapping[str, Tensor]) -> str:
    names = sorted(theirs)
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "") if names else "no tensor"
