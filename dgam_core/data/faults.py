"""What has the same fault, such as several videos, is refused together, so that all can be mended at once."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from dgam_core.errors import InputError

Entry = TypeVar("Entry")
T = TypeVar("T")
MAX_NAMES = 3  # of a message; more would hide what is wrong
MAX_LENGTH = 60  # of such a name


def refuse(faults: Iterable[tuple[str, str]], noun: str = "videos") -> None:
    """Raise an error if there are faults: what the first one is, and how many videos have such a fault.

    Args:
        faults: name of a video and a sentence, for each fault of one kind.
        noun: what the names are of.
    Raises:
        InputError: there is a fault.

    >>> refuse([])
    >>> refuse([("v0", "v0: has no label")])
    Traceback (most recent call last):
    dgam_core.errors.InputError: v0: has no label
    >>> refuse((f"v{i}", f"v{i}: has no label") for i in range(5))
    Traceback (most recent call last):
    dgam_core.errors.InputError: v0: has no label (5 such videos: v0, v1, v2 and 2 more)
    """
    sentences: dict[str, str] = {}
    for name, sentence in faults:
        sentences.setdefault(name, sentence)
    if not sentences:
        return
    names = list(sentences)
    first = [name if len(name) <= MAX_LENGTH else f"{name[:MAX_LENGTH]}…" for name in names[:MAX_NAMES]]
    others = len(names) - MAX_NAMES
    shown = ", ".join(first) + (f" and {others} more" if others > 0 else "")
    several = f" ({len(names)} such {noun}: {shown})" if len(names) > 1 else ""
    raise InputError(sentences[names[0]] + several)


class Fault(InputError):
    """What is wrong at one place of a file, a sentence.

    Attributes:
        kind: what it has in common with such faults at other places.
    """

    def __init__(self, sentence: str, kind: str) -> None:
        super().__init__(sentence)
        self.kind = kind


class Faults:
    """The faults of a file, gathered while it is read on, to be refused together.

    >>> faults = Faults()
    >>> for i in range(1, 6):
    ...     faults.add(Fault(f"line {i}: has no score", "no score"), f"{i}", "lines")
    >>> faults.add(Fault("line 6: has no video", "no video"), "6", "lines")
    >>> faults.refuse()
    Traceback (most recent call last):
    dgam_core.errors.InputError: line 1: has no score (5 such lines: 1, 2, 3 and 2 more)
    """

    def __init__(self) -> None:
        # Kind, and what has it → the first sentence, and the names of all. A file may have millions.
        self._found: dict[tuple[str, str], tuple[str, list[str]]] = {}

    def add(self, fault: Fault, name: str, noun: str) -> None:
        """Note a fault.

        Args:
            fault: what is wrong.
            name: where it is, in few words.
            noun: what the names are of, such as "videos".
        """
        _, names = self._found.setdefault((fault.kind, noun), (str(fault), []))
        names.append(name)

    def sound(
        self, noun: str, entries: Iterable[tuple[str, tuple[Any, ...]]], read: Callable[..., T]
    ) -> Iterator[tuple[str, T]]:
        """Yield the name of each entry and what `read` makes of it, but note those that have a fault.

        Args:
            noun: what the names are of, such as "videos".
            entries: name of each, and the arguments of `read`.
            read: raises `Fault` where an entry is wrong.
        """
        for name, entry in entries:
            try:
                found = read(*entry)
            except Fault as fault:
                self.add(fault, name, noun)
            else:
                yield name, found

    def refuse(self) -> None:
        """Raise an error if there are faults: the first one, and how many others of its kind there are.

        Raises:
            InputError: there is a fault.
        """
        for (_, noun), (sentence, names) in self._found.items():
            refuse(((name, sentence) for name in names), noun)


def read_each(
    path: Path, noun: str, entries: Iterable[Entry], read: Callable[[Entry, str], T]
) -> Iterator[T]:
    """Yield what `read` makes of each entry of a file, given the entry and where it stands.

    Args:
        path: the file.
        noun: what an entry is, such as "line"; they are numbered from 1.
        entries: the entries.
        read: raises `Fault` where one is wrong.
    Raises:
        InputError: some were wrong; at the end, of all with the fault of the first.
    """
    faults = Faults()
    numbered = ((f"{n}", (entry, f"{path}: {noun} {n}")) for n, entry in enumerate(entries, 1))
    for _, found in faults.sound(f"{noun}s", numbered, read):
        yield found
    faults.refuse()
