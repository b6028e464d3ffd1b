"""JSON files of any size, read piece by piece."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import ijson

from dgam_core.errors import InputError
from dgam_core.system.files import UTF16_MARKS, unreadable

BUFFER = 2**16  # bytes that are read at a time
MAX_DEPTH = 100  # levels of nesting; detections and annotations have five


def stream_object(path: Path, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the names and values of the object called `name` at the top of a JSON file, one by one.

    Only one value is in memory at a time. The rest of the file is skipped.

    Raises:
        InputError: the file cannot be read, is not JSON, has no such object, is nested too deeply, or has an
            object with the same name twice, of which most readers would silently drop one.
    """
    builder = _Builder(path, name)
    try:
        with Path(path).open("rb") as file:
            _skip_mark(path, file)
            try:
                for event, value in ijson.basic_parse(file, use_float=True, buf_size=BUFFER):
                    if (done := builder.take(event, value)) is not None:
                        yield done
            except ijson.JSONError as error:
                reason = _reason(error, file)
                raise InputError(f"{path}: is not valid JSON{builder.place()}: {reason}") from None
    except OSError as error:
        raise unreadable(path, error) from None
    if not builder.seen:
        raise InputError(f'{path}: "{name}" should be an object {{…}}, not missing')


def _skip_mark(path: Path, file: BinaryIO) -> None:
    """Skip the mark that Windows puts before UTF-8; refuse UTF-16 by its own."""
    start = file.read(len(codecs.BOM_UTF8))
    if start.startswith(UTF16_MARKS):
        raise InputError(f"{path}: is text in UTF-16; save it as UTF-8")
    if start != codecs.BOM_UTF8:
        file.seek(0)


def _reason(error: Exception, file: BinaryIO) -> str:
    """Return the first line of the parser's message, whose other lines quote the file, or what says more."""
    file.seek(max(0, file.tell() - 2 * BUFFER))  # what the parser has just read
    if re.search(rb"[:,\[]\s*-?(NaN|Infinity)\b", file.read(2 * BUFFER)):
        return "it holds NaN or Infinity, which are not numbers of JSON; leave them out"
    message = error.args[0] if error.args else ""
    text = message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
    return text.partition("\n")[0].strip() or "it ends too early"


class _Builder:
    """Builds values from the events of a parser."""

    def __init__(self, path: Path, name: str) -> None:
        self.seen = False
        self._path, self._name = path, name
        self._stack: list[Any] = []  # containers that are open
        self._keys: list[str] = []  # the last name in each, "" in a list

    def take(self, event: str, value: Any) -> tuple[str, Any] | None:
        """Take an event; return the name and value that it completes, if it does."""
        if event == "map_key":
            if value in self._stack[-1]:
                raise InputError(f"{self._path}: {excerpt(value)} occurs twice in one object{self.place()}")
            self._stack[-1][value] = None
            self._keys[-1] = value
            return None
        if event in ("end_map", "end_array"):
            self._keys.pop()
            value = self._stack.pop()
        elif event in ("start_map", "start_array"):
            value = {} if event == "start_map" else []
            self._add(value)
            if len(self._stack) == MAX_DEPTH:
                raise InputError(f"{self._path}: is nested too deeply to be detections or annotations")
            self._stack.append(value)
            self._keys.append("")
            return None
        else:
            self._add(value)
        wanted = len(self._stack) == 2 and self._keys[0] == self._name
        return (self._keys[1], value) if wanted else None

    def place(self) -> str:
        """Say where the parser is, as far as that helps."""
        if self._keys[:1] != [self._name] or len(self._keys) < 2:
            return ""
        entries = self._stack[2] if len(self._stack) > 2 else None
        if not isinstance(entries, list):
            return f" in {self._name}, {excerpt(self._keys[1])}"
        # An entry that is open is among them, the next is not.
        number = len(entries) if len(self._stack) > 3 else len(entries) + 1
        return f" in {self._name}, {excerpt(self._keys[1])}, entry {number}"

    def _add(self, value: Any) -> None:
        """Add a value to the container around it, where it is wanted."""
        depth, wanted = len(self._stack), self._keys[:1] == [self._name]
        if depth == 0 and not isinstance(value, dict):
            raise InputError(f"{self._path}: the file should be an object {{…}}, not {excerpt(value)}")
        if depth == 1 and wanted:
            self.seen = True
            if not isinstance(value, dict):
                raise InputError(
                    f'{self._path}: "{self._name}" should be an object {{…}}, not {excerpt(value)}'
                )
        if depth > 2 and wanted:  # the objects around it only keep their names, to know them again
            if isinstance(self._stack[-1], dict):
                self._stack[-1][self._keys[-1]] = value
            else:
                self._stack[-1].append(value)


def excerpt(value: Any) -> str:
    """Return a value for an error message: short, on one line."""
    text = "missing" if value is None else ascii(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
