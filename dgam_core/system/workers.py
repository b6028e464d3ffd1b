"""Work on several processes that end with the one that started them."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch

Context = TypeVar("Context")
Task = TypeVar("Task")
Result = TypeVar("Result")

_function: Callable[[Any], Any]  # in a worker: what it applies to its tasks


def side_by_side(
    function: Callable[[Context, Task], Result], context: Context, tasks: Sequence[Task], workers: int
) -> Iterator[tuple[Task, Result]]:
    """Apply a function to each of several tasks, in several processes where that helps.

    Args:
        function: a function of a module; it, its arguments and results must be picklable.
        context: shared by all tasks; each process gets it once.
        workers: processes; they share the CPU's threads. With one, all work is done in this process.
    Yields:
        A task and its result, in the order in which they are finished.
    """
    if workers == 1 or len(tasks) < 2:
        for task in tasks:
            yield task, function(context, task)
        return
    with _pool(min(workers, len(tasks)), function.__module__, partial(function, context)) as executor:
        waiting = {executor.submit(_apply, task): task for task in tasks}
        for done in as_completed(waiting):
            yield waiting[done], done.result()


def in_order(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """Apply a function to a stream of tasks, in several processes; a few tasks are taken in advance.

    Args:
        function: as in `side_by_side`.
        tasks: taken one by one, so that they need not fit into memory together.
        workers: as in `side_by_side`.
    Yields:
        The results, in the order of the tasks.
    """
    if workers == 1:
        yield from map(function, tasks)
        return
    with _pool(workers, function.__module__, function) as executor:
        yield from in_advance(executor, _apply, tasks, 2 * workers)


def in_advance(
    executor: Executor, function: Callable[[Task], Result], tasks: Iterable[Task], count: int
) -> Iterator[Result]:
    """Yield the results of tasks in their order, while an executor works on up to `count` later ones."""
    waiting: deque[Future[Result]] = deque()
    for task in tasks:
        waiting.append(executor.submit(function, task))
        if len(waiting) > count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextmanager
def _pool(workers: int, module: str, function: Callable[[Any], Any]) -> Iterator[ProcessPoolExecutor]:
    """Start processes that share the CPU's threads; they end with the block, at once if it fails."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    # Forked from a process that has imported this package and done nothing else.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([module])
    with ProcessPoolExecutor(workers, processes, _start, (threads, function)) as executor:
        try:
            yield executor
        except BaseException:
            children = multiprocessing.active_children()
            for process in children:
                process.terminate()
            executor.shutdown(wait=False, cancel_futures=True)
            for process in children:  # each removes its half-written files
                process.join()
            raise


def _start(threads: int, function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process decides
    signal.signal(signal.SIGTERM, _stop)
    torch.set_num_threads(threads)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End with the process that started this one, even if that was killed and could not say so."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _stop(signum: int, frame: object) -> None:
    raise SystemExit(1)  # unlike the signal alone, lets half-written files be removed


def _apply(task: Any) -> Any:
    try:
        return _function(task)
    except SystemExit:
        os._exit(1)  # the pool would take the exception for a result and continue
