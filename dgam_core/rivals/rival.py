"""What a rival is: a network, its losses, and how its outputs become detections.

A module of this room has one method, a class derived from `Rival`, and its settings. What the methods share
is not theirs to say: the snippets that are drawn, batches, length of the training, choice of the checkpoint
and evaluation are those of DGAM's own runs, and so is the learning rate where a method is not given its own.
So a difference between two methods is one of their ideas. A docstring names the paper and, behind each
equation, its number there.
"""

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from dgam_core.errors import InputError
from dgam_core.localize import Floats, Proposals
from dgam_core.settings import Strict
from dgam_core.system.checked import parse

# Modules of this room that are no method.
SHARED = ("rival", "loop", "proposals")


class RivalSettings(Strict):
    """What a method's paper chooses, but for what all methods share."""

    learning_rate: float | None = Field(None, gt=0)
    """Learning rate of Adam, in place of the one that all methods share; None for that one."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay; none where a method does not say otherwise."""


@dataclass(frozen=True)
class Shape:
    """What a network's size depends on, apart from its settings.

    Attributes:
        dims: size of a snippet's features in each stream that the network takes; one, or those that it joins.
        num_classes: number of classes, C.
        length: T, snippets drawn from a training video; sums over a test video are brought to as many.
    """

    dims: tuple[int, ...]
    num_classes: int
    length: int

    @property
    def dim(self) -> int:
        """D, size of a snippet's features in all."""
        return sum(self.dims)


Own = TypeVar("Own", bound=RivalSettings)
# Of one test video of N snippets: name → what the network says of it, (N, ...) or of the video as a whole.
Answer = Mapping[str, Floats]


class Rival(nn.Module, ABC, Generic[Own]):
    """A method with its weights.

    Args:
        shape: sizes of its input and output.
        settings: the method's own.

    Attributes:
        title: its name in Tables 3 and 5.
        settings_class: class of its settings.
        joins_streams: whether RGB and flow are one input of size 2·D; if not, each has a model of its own.
    """

    title: ClassVar[str]
    settings_class: ClassVar[type[RivalSettings]]
    joins_streams: ClassVar[bool] = False

    def __init__(self, shape: Shape, settings: Own) -> None:
        super().__init__()
        self.shape, self.s = shape, settings

    @abstractmethod
    def losses(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the losses of a batch.

        Args:
            x: snippet features, (B, T, D).
            y: whether a video has a class, (B, C) of 0 and 1.
            generator: source of what is random, on the device of `x`; in evaluation mode nothing is.
        Returns:
            Each loss by name, (); "total" is the one to minimize, and "class" the one that says how well
            videos are classified, by which `label_only` chooses.
        """

    @abstractmethod
    def answer(self, x: Tensor) -> dict[str, Tensor]:
        """Return what the network says of a test video, given its features (N, D), by name."""

    @classmethod
    @abstractmethod
    def localize(cls, answers: Mapping[str, Answer], settings: Own) -> Proposals:
        """Return detections in a test video after NMS; a column of the classes is the class's index + 1.

        Args:
            answers: stream → what `answer` returned, of one stream or two.
            settings: the method's own.
        """


def names() -> list[str]:
    """Return the names of all methods, those of their modules."""
    found = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name for name in found if name not in SHARED)


def find(name: str) -> type[Rival[Any]]:
    """Return a method by its name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in names():
        raise InputError(f"{name!r} is no method; there are {', '.join(names())}")
    module = importlib.import_module(f"dgam_core.rivals.{name}")
    (method,) = (
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Rival) and value.__module__ == module.__name__
    )
    return method


def read_settings(name: str, values: Mapping[str, Any]) -> RivalSettings:
    """Return a method's settings.

    Raises:
        InputError: there is no such method, or it refuses a setting.
    """
    return parse(find(name).settings_class, dict(values), name)


def name_of(settings: RivalSettings) -> str:
    """Return the name of the method whose settings these are."""
    return type(settings).__module__.rpartition(".")[2]


def new_rival(shape: Shape, settings: RivalSettings, seed: int) -> Rival[Any]:
    """Build a model whose initial weights depend on `seed` alone; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return find(name_of(settings))(shape, settings)


def dropout(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Set a share of the elements of `x` to zero, and scale the others so that the mean stays."""
    kept = torch.rand(x.shape, generator=generator, device=x.device) >= share
    return x * kept / (1 - share)
