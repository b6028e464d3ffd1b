"""Training steps as CUDA graphs: what a step launches is recorded once and from then on started as a whole.

A step is some hundred kernels, of which most take a GPU less time than a program needs to launch one.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields

import torch
from torch import Tensor

from dgam_core.training.fused import Batch, Factors

# Steps of each shape before one is recorded, in which libraries choose and set up what they launch.
WARM_UP = 3

Losses = dict[str, Tensor]
Take = Callable[[Batch, Factors], Losses]


class Replayed:
    """A training step that does what `take` does, but launches it as a graph, one for each size of batch.

    Args:
        take: takes the step and returns its losses; from one call to the next, all that it reads and writes
            besides its arguments stays at the same place.
        generator: the source of what is random in it.
    """

    def __init__(self, take: Take, generator: torch.Generator) -> None:
        self._take, self._generator = take, generator
        self._taken: Counter[int] = Counter()
        self._recorded: dict[int, _Recorded] = {}

    def __call__(self, batch: Batch, factors: Factors) -> Losses:
        """Take a step.

        Args:
            batch: as `take` wants it.
            factors: as `take` wants it; what is in it does not change from call to call.
        Returns:
            The losses; the next call may write over them.
        """
        size = len(batch.x)
        if self._taken[size] < WARM_UP:
            self._taken[size] += 1
            with aside():
                return self._take(batch, factors)
        if size not in self._recorded:
            self._recorded[size] = _Recorded(self._take, batch, factors, self._generator)
        return self._recorded[size](batch, factors)


class _Recorded:
    def __init__(self, take: Take, batch: Batch, factors: Factors, generator: torch.Generator) -> None:
        # A graph reads from where it read when it was recorded.
        self._batch = Batch(batch.x.clone(), batch.norm.clone(), batch.target.clone())
        self._factors = Factors(**{name: value.clone() for name, value in _tensors(factors).items()})
        self._latest: Factors | None = None
        self._replay = record(lambda: take(self._batch, self._factors), generator)

    def __call__(self, batch: Batch, factors: Factors) -> Losses:
        for own, value in zip(_tensors(self._batch).values(), _tensors(batch).values(), strict=True):
            own.copy_(value)
        if factors is not self._latest:  # they change once an epoch
            for own, value in zip(_tensors(self._factors).values(), _tensors(factors).values(), strict=True):
                own.copy_(value)
            self._latest = factors
        return self._replay()


def _tensors(of: Batch | Factors) -> dict[str, Tensor]:
    found = {field.name: getattr(of, field.name) for field in fields(of)}
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


@contextmanager
def aside() -> Iterator[None]:
    """Launch what is in the block on a stream of its own, between what was launched before and what will be.

    CUDA wants it of what comes before a recording.
    """
    stream, main = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(main)
    with torch.cuda.stream(stream), warnings.catch_warnings():
        # An optimizer that can be recorded warns of steps that are not.
        warnings.filterwarnings("ignore", message=".*capturable=True")
        yield
    main.wait_stream(stream)


def record(body: Callable[[], Losses], generator: torch.Generator) -> Callable[[], Losses]:
    """Record what `body` launches, without doing it, and return a function that does it."""
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    # A reader of the next batch may meanwhile ask for memory in a thread of its own.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        losses = body()

    def replay() -> Losses:
        graph.replay()
        return losses

    return replay
