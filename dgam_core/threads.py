"""How many CPU threads PyTorch uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Below this many elements of the input, a second thread gains nothing, and where other programs run,
# waiting for it takes longer than the work.
SMALL = 200_000


@contextmanager
def threads_for(elements: int) -> Iterator[None]:
    """Use one thread while the inputs are small; the number is as before afterwards.

    Args:
        elements: numbers in the features of a batch.
    """
    before = torch.get_num_threads()
    if elements < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
