"""Object arrays, weights and other pickles, read without trusting them.

A pickle can name any function to be called. This reader knows the few names that NumPy uses to rebuild its
arrays and refuses all others before anything is called. Large arrays stay in the file, which is mapped into
memory, until they are used: `pickle.Unpickler` reads a copy of the pickle that refers to them by number.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dgam_core.errors import InputError
from dgam_core.system.files import is_refusal, unreadable

LARGE = 1 << 16  # bytes; smaller arrays are read at once
BYTES_OPCODES = ("BINBYTES", "BINBYTES8", "BINSTRING")  # with a length of four or eight bytes
MAX_DEPTH = 8  # of arrays and lists within one another


def read_object_array(path: Path) -> list[Any]:
    """Read a .npy file that may hold objects, as nested lists.

    Returns:
        Its elements along the first axis: numbers, bytes, strings, lists and arrays of numbers; large
        arrays are read from the file when they are used.
    Raises:
        InputError: the file cannot be read, is damaged, or holds anything but these.
    """
    with _opened(path) as file:
        version = np.lib.format.read_magic(file)
        read_header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        _, _, dtype = read_header(file)
        if dtype.hasobject:
            values = _resolve(_Unpickler(file, path).load(), dicts=False)
            return list(values) if isinstance(values, list | np.ndarray) else [values]
        return list(np.load(path, allow_pickle=False))


def read_pickle(path: Path) -> Any:
    """Read a pickle of dictionaries, lists, text, numbers and arrays, such as weights of Flax.

    Returns:
        What it holds; large arrays are read from the file when they are used.
    Raises:
        InputError: the file cannot be read, is damaged, or holds anything but these.
    """
    with _opened(path) as file:
        return _resolve(_Unpickler(file, path).load(), dicts=True)


def read_torch(path: Path, refusal: str) -> Any:
    """Read a file of PyTorch that holds tensors, plain objects and nothing else.

    Args:
        refusal: what to say of a file that is something else, after its name.
    Raises:
        InputError: the file is missing, cannot be read, or is something else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # it has no base class for what it raises
        if is_refusal(error):
            raise unreadable(path, error) from None
        raise InputError(f"{path}: {refusal}") from None


@contextmanager
def _opened(path: Path) -> Iterator["_Mapped"]:
    """Map a file into memory; what goes wrong in reading it becomes a sentence."""
    try:
        with path.open("rb") as file:
            yield _Mapped(file.fileno(), 0, access=ACCESS_READ)
    except InputError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(f"{path}: is damaged or holds more than plain objects ({error})") from None


class _DType:
    """A type of numbers or strings as NumPy pickles it."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = text_of(code), "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = text_of(state[1])

    def resolve(self) -> np.dtype[Any]:
        """Return the type itself, if its numbers are plain."""
        dtype = np.dtype(self.code)
        if dtype.kind not in "biufSUO" or dtype.fields:
            raise ValueError(f"arrays of {dtype} are not read")
        return dtype.newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """An array as NumPy pickles it: rebuilt empty, then given its state."""

    def __init__(self, *_: Any) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state


def _from_buffer(raw: Any, dtype: _DType, shape: tuple[Any, ...], order: str) -> _Array:
    """An array as pickles of protocol 5 have it."""
    array = _Array()
    array.state = (None, shape, dtype, order == "F", raw)
    return array


def _scalar(dtype: _DType, raw: bytes) -> np.generic:
    number: np.generic = np.frombuffer(raw, dtype.resolve(), 1)[0]
    return number


def _encoded(text: str, encoding: str) -> bytes:
    """Bytes, as pickles of protocol 2 write them."""
    if encoding not in ("latin1", b"latin1"):
        raise ValueError(f"encoding {encoding!r} is not read")
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encoded,
}


class _Mapped(mmap):
    """A file in memory that promises no more bytes than it has: too long a length is an error."""

    def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        """Read `size` bytes."""
        if size > len(self) - self.tell():
            raise EOFError("it ends too early")
        return super().read(size)


def _without_large_bytes(file: _Mapped) -> tuple[bytes, list[memoryview]]:
    """Return a pickle with numbers in place of its large bytes, and these bytes."""
    content, start = memoryview(file), file.tell()
    pieces: list[bytes | memoryview] = []
    large: list[memoryview] = []
    opcodes: Iterator[tuple[Any, Any, Any]] = pickletools.genops(file)  # type: ignore[arg-type]
    for count, (opcode, argument, position) in enumerate(opcodes):
        if opcode.name in ("PERSID", "BINPERSID"):
            raise ValueError("it refers to objects outside of it")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > count:
            # Memory would be taken for as many as it claims.
            raise ValueError("it numbers more objects than it has")
        is_large = opcode.name in BYTES_OPCODES and len(argument) >= LARGE
        if is_large or opcode.name == "FRAME":  # a frame's length is no longer right, and may be left out
            pieces.append(content[start:position])
            start = file.tell()
            if is_large:
                pieces.append(b"P%d\n" % len(large))
                large.append(content[start - len(argument) : start])
    return b"".join([*pieces, content[start : file.tell()]]), large


class _Unpickler(pickle.Unpickler):
    """Unpickles NumPy's names alone; large bytes stay in the file."""

    def __init__(self, file: _Mapped, path: Path) -> None:
        content, self._large = _without_large_bytes(file)
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._path = path

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Return what stands for a name, if it is one of NumPy's."""
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise InputError(
                f"{self._path}: refers to {module}.{name}, which is not part of a NumPy array; "
                "the file is refused"
            ) from None

    def persistent_load(self, number: str) -> memoryview:
        """Return large bytes."""
        return self._large[int(number)]


def _resolve(value: Any, dicts: bool, depth: int = 0) -> Any:
    """Turn what was unpickled into plain objects and arrays."""
    if depth > MAX_DEPTH:
        raise ValueError("it is nested too deeply")

    def inner(item: Any) -> Any:
        return _resolve(item, dicts, depth + 1)

    if isinstance(value, list | tuple):
        return [inner(item) for item in value]
    if dicts and isinstance(value, dict):
        return {inner(key): inner(item) for key, item in value.items()}
    if not isinstance(value, _Array):
        if value is None or isinstance(value, bool | int | float | bytes | str | np.generic):
            return value
        raise ValueError(f"a {type(value).__name__} does not belong in it")
    _, shape, dtype, fortran, raw = value.state
    shape, dtype = tuple(int(n) for n in shape), dtype.resolve()
    if dtype.hasobject:
        if not isinstance(raw, list) or len(raw) != prod(shape):
            raise ValueError(f"an array of {prod(shape)} objects holds something else")
        return [inner(item) for item in raw]
    if min(shape, default=0) < 0 or len(raw) != prod(shape) * dtype.itemsize:
        raise ValueError(f"an array of the shape {shape} holds {len(raw)} bytes")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")


def text_of(value: Any) -> str:
    """Return a text, which Python 2 pickled as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)
