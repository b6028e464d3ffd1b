"""Videos with the same fault are refused together, so that all can be mended at once."""

from collections.abc import Iterable

from dgam_core.errors import InputError

MAX_NAMES = 3  # of a message; more would hide what is wrong


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
    first, others = names[:MAX_NAMES], len(names) - MAX_NAMES
    shown = ", ".join(first) + (f" and {others} more" if others > 0 else "")
    several = f" ({len(names)} such {noun}: {shown})" if len(names) > 1 else ""
    raise InputError(sentences[names[0]] + several)
