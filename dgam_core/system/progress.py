"""Progress of long work: a bar on a terminal, a line per minute in a log file."""

import sys
import time
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

LOG_INTERVAL_S = 60.0


def progress(items: Iterable[Any] | None = None, **settings: Any) -> "tqdm[Any]":
    """Return tqdm's bar where standard error is a terminal; elsewhere one that writes a line per minute.

    The minutes count on from one bar to the next: many short pieces of work give a line per minute as well.
    Where standard error has been replaced, as by a notebook, whose pages show it, nothing is written.

    Args:
        items: what to count, or None to count by `update`.
        settings: tqdm's, such as total, unit and desc.
    """
    if sys.stderr.isatty():
        return tqdm(items, **settings)
    if sys.stderr is not sys.__stderr__:
        return tqdm(items, **settings | {"disable": True})
    line = "{desc}: {n_fmt} of {total_fmt} ({elapsed} so far, {remaining} left, {rate_fmt}){postfix}"
    return tqdm(items, file=_log, ascii=True, miniters=1, bar_format=line, **settings)


class _Log:
    """A file for tqdm that writes what the bar shows to standard error, a line per minute."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def write(self, text: str) -> None:
        line = text.strip()
        if line and time.monotonic() - self._last >= LOG_INTERVAL_S:
            print(line, file=sys.stderr, flush=True)
            self._last = time.monotonic()

    def flush(self) -> None:
        """Do nothing: each line is flushed as it is written."""


_log = _Log()
