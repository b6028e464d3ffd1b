"""Training steps as CUDA graphs: the kernels of a step are recorded once and then launched together.

A step has some hundred kernels, and most of them run for less time than a program needs to launch one.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dgam_core.training.fused import Batch, Factors

# Steps of each batch size before one is recorded; in these, libraries choose and set up their kernels.
WARM_UP = 3

Losses = dict[str, Tensor]
Take = Callable[[Sequence[Batch], Factors], Losses]


class Replayed:
    """A training step that does the same as `take` but is launched as a graph, one for each batch size.

    Args:
        take: takes the step and returns its losses. What it reads and writes besides its arguments stays
            at the same addresses from call to call.
        generator: the source of its randomness.
    """

    def __init__(self, take: Take, generator: torch.Generator) -> None:
        self._take, self._generator = take, generator
        self._taken: Counter[int] = Counter()
        self._recorded: dict[int, _Recorded] = {}

    def __call__(self, batches: Sequence[Batch], factors: Factors) -> Losses:
        """Take a step with the one batch and return its losses, which the next call may overwrite.

        The values in one object of factors never change.
        """
        (batch,) = batches
        size = batch.size
        if self._taken[size] < WARM_UP:
            self._taken[size] += 1
            with on_side_stream():
                return self._take(batches, factors)
        if size not in self._recorded:
            self._recorded[size] = _Recorded(self._take, batch, factors, self._generator)
        return self._recorded[size](batch, factors)


class _Recorded:
    def __init__(self, take: Take, batch: Batch, factors: Factors, generator: torch.Generator) -> None:
        # A graph reads from the addresses that it read from when it was recorded.
        copies: dict[str, Any] = {
            name: value.clone() for name, value in vars(batch).items() if isinstance(value, Tensor)
        }
        self._batch = replace(batch, **copies)
        self._factors = Factors(*map(torch.clone, _tensors(factors)))
        self._latest: Factors | None = None
        self._replay = record(lambda: take([self._batch], self._factors), generator)

    def __call__(self, batch: Batch, factors: Factors) -> Losses:
        _copy(self._batch, batch)
        if factors is not self._latest:  # they change once an epoch
            _copy(self._factors, factors)
            self._latest = factors
        return self._replay()


def _tensors(of: Batch | Factors) -> list[Tensor]:
    return [value for value in vars(of).values() if isinstance(value, Tensor)]


def _copy(to: Batch | Factors, of: Batch | Factors) -> None:
    for own, value in zip(_tensors(to), _tensors(of), strict=True):
        own.copy_(value)


@contextmanager
def on_side_stream() -> Iterator[None]:
    """Launch the work of the block on a side stream, in order with the work before and after it.

    CUDA requires warm-up work before a capture to run on a side stream.
    """
    stream, main = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(main)
    with torch.cuda.stream(stream), warnings.catch_warnings():
        # An optimizer that can be captured warns about steps that are not.
        warnings.filterwarnings("ignore", message=".*capturable=True")
        yield
    main.wait_stream(stream)


def record(body: Callable[[], Losses], generator: torch.Generator) -> Callable[[], Losses]:
    """Capture the kernels that `body` launches, without running them; return a function that does."""
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    # Meanwhile a thread that reads the next batch may allocate memory.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        losses = body()

    def replay() -> Losses:
        graph.replay()
        return losses

    return replay
