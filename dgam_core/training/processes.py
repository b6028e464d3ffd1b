"""Training on several processes: each holds some of the videos, and their gradients are summed."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from dgam_core.errors import InputError


@dataclass(frozen=True)
class Part:
    """Which videos of a batch a process computes on.

    Attributes:
        rows: their places in the batch, (B',). A process that holds none of the videos computes on one video
            of weight zero, so that all processes draw the same random numbers.
        total: videos of the mini-batch, B.
        share: B' / B; 0 where the process holds none.
    """

    rows: Tensor
    total: int
    share: float


@dataclass(frozen=True)
class Group:
    """The processes that train together.

    Attributes:
        rank: number of this process; 0 is the leader, which writes the results.
        size: number of processes.
        on_host: number of processes that share this machine's memory.
    """

    rank: int = 0
    size: int = 1
    on_host: int = 1

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over the processes, in one exchange."""
        together = list(tensors)
        if self.size == 1 or not together:
            return
        flat = parameters_to_vector(together)
        torch.distributed.all_reduce(flat)
        vector_to_parameters(flat, together)

    def tell(self, value: Any) -> Any:
        """Return the leader's `value`."""
        if self.size == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, 0)
        return box[0]

    @contextmanager
    def agreeing(self) -> Iterator[None]:
        """Let an `InputError` that one process meets in the block stop all processes, with its sentence."""
        sentence = None
        try:
            yield
        except InputError as error:
            sentence = str(error)
        sentences = [sentence] * self.size
        if self.size > 1:
            torch.distributed.all_gather_object(sentences, sentence)
        if found := next(filter(None, sentences), None):
            raise InputError(found)


ALONE = Group()


@contextmanager
def processes(device: torch.device) -> Iterator[tuple[Group, torch.device]]:
    """Join the processes that torchrun started until the block ends.

    Args:
        device: where to train; of several GPUs, each process takes one.
    Yields:
        The group, of one process without torchrun, and this process's device.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE, device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    # The leader may wait for runs that others train, and these processes for it.
    patience = timedelta(days=7)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=patience)
    try:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
        yield Group(rank, size, here if device.type == "cpu" else 1), device
    finally:
        with suppress(RuntimeError):  # others may be gone already
            torch.distributed.destroy_process_group()
