"""Settings for features of one's own: sizes that follow from the store, for the profile `own`."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dgam_core.data import store
from dgam_core.departures import preset
from dgam_core.experiments.parameters import Experiment
from dgam_core.snippets import DataSet
from dgam_core.system.checked import parse, read_yaml

PROFILE = "own"
I3D_DIM = 1024  # for which the presets' sizes are
MAX_LEARNING_RATE = 0.016  # the demo's
# Steps times learning rate: as the held-out videos of SHREC 2021 ask for, half of the paper's.
TRAINING_LENGTH = 3.5
MIN_EPOCHS = 50


def sizes_for(data: DataSet) -> dict[str, Any]:
    """Return settings that follow from the size of the features, the lengths and the number of videos.

    They are the presets' for I3D features of long videos. Layers shrink with D, and the step grows as D
    shrinks, so as to move w_cᵀx as far; T is 400 or, where that is more than the median length, the largest
    power of two below; the released offset of 1 weighs against Σλ over 400 snippets. Few videos train for
    more epochs, but never for more than the presets'.
    """
    usual, train = preset("paper", "thumos14"), data.subset("train")
    dim = max(data.dim(stream) for stream in data.streams)
    median = float(np.median([video.num_snippets for video in train]))
    num_snippets = usual.num_snippets if median >= usual.num_snippets else 2 ** int(math.log2(median))
    batch_size = min(usual.batch_size, len(train))
    learning_rate = min(float(f"{usual.learning_rate * I3D_DIM / dim:.2g}"), MAX_LEARNING_RATE)
    steps = TRAINING_LENGTH / learning_rate / math.ceil(len(train) / batch_size)
    epochs = min(max(round(steps), MIN_EPOCHS), usual.epochs)
    return {
        "attention_hidden": min(usual.attention_hidden, _power_of_two(dim / 4, 16)),
        "cvae_hidden": min(usual.cvae_hidden, _power_of_two(dim / 8, 8)),
        "latent_dim": min(usual.latent_dim, _power_of_two(dim / 8, 8)),
        "num_snippets": num_snippets,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "pool_offset_fg": {"paper": 0.0, "released": num_snippets / usual.num_snippets},
        "epochs": epochs,
        "warmup_epochs": epochs // 5,
        "evaluation_interval": math.ceil(epochs / 4),
    }


def _power_of_two(value: float, least: int) -> int:
    """Return the nearest power of two by ratio, at least `least`."""
    return max(least, int(2 ** round(math.log2(value))))


def with_sizes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters; where they are of the profile `own`, with the sizes that they leave to the store.

    Raises:
        InputError: the store cannot be read, or has no training video.
    """
    dataset = values.get("dataset")
    if values.get("profile") != PROFILE or not isinstance(dataset, str):
        return dict(values)
    return sizes_for(store.open_data_set(dataset)) | dict(values)


def read_experiment(path: Path, overrides: Mapping[str, Any]) -> Experiment:
    """Read a parameter file, some of its values replaced, and the sizes that it leaves to the store."""
    return parse(Experiment, with_sizes(read_yaml(path) | dict(overrides)), str(path))


def describe(data: DataSet, experiment: Experiment) -> str:
    """Say which sizes are used and what they follow from."""
    train = data.subset("train")
    lengths = [video.num_snippets for video in train]
    dims = " and ".join(f"{stream} {data.dim(stream)}" for stream in data.streams)
    sizes = ", ".join(
        f"{name} {getattr(experiment, name):g}" for name in sizes_for(data) if name != "pool_offset_fg"
    )
    return (
        f"{len(train)} training videos of {min(lengths)} to {max(lengths)} snippets, dimensions {dims}; "
        f"hence {sizes}"
    )
