"""Object arrays, weights and other pickles, read without trusting them.

A pickle can name any function to be called. This reader knows the few names that NumPy uses to rebuild its
arrays and refuses all others before anything is called. Large arrays stay in the file until they are asked
for: `pickle.Unpickler` reads a copy of the pickle that refers to them by their place in the file.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from dgam_core.errors import InputError

LARGE = 1 << 16  # bytes; smaller arrays are read at once
BYTES_OPCODES = ("BINBYTES", "BINBYTES8", "BINSTRING")  # with a length of four or eight bytes
MAX_DEPTH = 8  # of arrays and lists within one another


@dataclass(frozen=True)
class Stored:
    """An array of numbers inside a file, read by `load`."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    def load(self) -> NDArray[Any]:
        """Read the array."""
        flat = np.fromfile(self.path, self.dtype, prod(self.shape), offset=self.offset)
        return flat.reshape(self.shape, order="F" if self.fortran else "C")


def read_object_array(path: Path) -> list[Any]:
    """Read a .npy file that may hold objects, as nested lists.

    Returns:
        Its elements along the first axis: numbers, bytes, strings, lists and arrays of numbers; large
        arrays as `Stored`.
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
            values = _unpickled(file, path, dicts=False)
            return list(values) if isinstance(values, list | np.ndarray) else [values]
        return list(np.load(path, allow_pickle=False))


def read_pickle(path: Path) -> Any:
    """Read a pickle of dictionaries, lists, text, numbers and arrays, such as weights of Flax.

    Returns:
        What it holds; large arrays as `Stored`.
    Raises:
        InputError: the file cannot be read, is damaged, or holds anything but these.
    """
    with _opened(path) as file:
        return _unpickled(file, path, dicts=True)


def read_torch(path: Path, refusal: str) -> Any:
    """Read a file of PyTorch that holds tensors, plain objects and nothing else.

    Args:
        path: the file.
        refusal: what to say of a file that is something else, after its name.
    Raises:
        InputError: the file is missing or is something else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception:  # it has no base class for what it raises
        raise InputError(f"{path}: {refusal}") from None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file; what goes wrong in reading it becomes a sentence."""
    try:
        with Path(path).open("rb") as file:
            yield file
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        IndexError,
        KeyError,
        AttributeError,
    ) as error:
        raise InputError(f"{path}: is damaged or holds more than plain objects ({error})") from None


def _unpickled(file: BinaryIO, path: Path, dicts: bool) -> Any:
    path = Path(path)
    content = _without_large_bytes(_Bounded(file, path))
    return _resolve(_Unpickler(content, path).load(), path, dicts)


@dataclass
class _Raw:
    """Bytes that were left in the file."""

    offset: int
    size: int


class _DType:
    """A type of numbers or strings as NumPy pickles it."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code.decode() if isinstance(code, bytes) else str(code)
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        self.order = order.decode() if isinstance(order, bytes) else str(order)

    def resolve(self) -> np.dtype[Any]:
        """Return the type itself, if its numbers are plain."""
        dtype = np.dtype(self.code)
        if dtype.kind not in "biufSUO" or dtype.fields:
            raise ValueError(f"arrays of {dtype} are not read")
        return dtype if self.order == "|" else dtype.newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """An array as NumPy pickles it: rebuilt empty, then given its state."""

    def __init__(self, *_: Any) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state


class _Scalar:
    """A number as NumPy pickles it."""

    def __init__(self, dtype: _DType, raw: bytes) -> None:
        self.dtype, self.raw = dtype, raw


def _encoded(text: str, encoding: str) -> bytes:
    """Bytes, as pickles of protocol 2 write them."""
    if encoding not in ("latin1", b"latin1"):
        raise ValueError(f"encoding {encoding!r} is not read")
    return text.encode("latin1")


_NUMPY = {"_reconstruct": _Array, "scalar": _Scalar}
_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    **{
        (f"numpy.{core}.multiarray", name): made
        for core in ("core", "_core")
        for name, made in _NUMPY.items()
    },
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encoded,
}


class _Bounded:
    """A file that promises no more bytes than it has: a length is checked before memory is taken."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._end = file, path.stat().st_size
        self.readline, self.tell, self.seek = file.readline, file.tell, file.seek

    def read(self, size: int) -> bytes:
        """Read `size` bytes."""
        if size > self._end - self._file.tell():
            raise EOFError("it ends too early")
        return self._file.read(size)


def _without_large_bytes(file: _Bounded) -> bytes:
    """Return a pickle with references in place of its large bytes, which `persistent_load` is given."""
    pieces, start = [], file.tell()
    opcodes: Iterator[tuple[Any, Any, Any]] = pickletools.genops(file)  # type: ignore[arg-type]
    for count, (opcode, argument, position) in enumerate(opcodes):
        if opcode.name in ("PERSID", "BINPERSID"):
            raise ValueError("it refers to objects outside of it")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > count:
            # Memory would be taken for as many as it claims.
            raise ValueError("it numbers more objects than it has")
        large = opcode.name in BYTES_OPCODES and len(argument) >= LARGE
        if large or opcode.name == "FRAME":  # a frame's length is no longer right, and it may be left out
            end = file.tell()
            pieces.append(_slice(file, start, position))
            start = end
            if large:
                pieces.append(b"P%d %d\n" % (end - len(argument), len(argument)))
    return b"".join([*pieces, _slice(file, start, file.tell())])


def _slice(file: _Bounded, start: int, end: int) -> bytes:
    position = file.tell()
    file.seek(start)
    content = file.read(end - start)
    file.seek(position)
    return content


class _Unpickler(pickle.Unpickler):
    """Unpickles NumPy's names alone; large bytes stay in the file."""

    def __init__(self, content: bytes, path: Path) -> None:
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

    def persistent_load(self, reference: str) -> _Raw:
        """Return the place of large bytes."""
        offset, size = map(int, reference.split())
        return _Raw(offset, size)


def _resolve(value: Any, path: Path, dicts: bool, depth: int = 0) -> Any:
    """Turn what was unpickled into plain objects and arrays."""
    if depth > MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    if isinstance(value, _Scalar):
        return np.frombuffer(value.raw, value.dtype.resolve(), 1)[0]
    if isinstance(value, list | tuple):
        return [_resolve(item, path, dicts, depth + 1) for item in value]
    if dicts and isinstance(value, dict):
        return {
            _resolve(key, path, dicts, depth + 1): _resolve(item, path, dicts, depth + 1)
            for key, item in value.items()
        }
    if not isinstance(value, _Array):
        if value is None or isinstance(value, bool | int | float | bytes | str):
            return value
        raise ValueError(f"a {type(value).__name__} does not belong in it")
    _, shape, dtype, fortran, raw = value.state
    shape, dtype = tuple(int(n) for n in shape), dtype.resolve()
    if dtype.hasobject:
        if not isinstance(raw, list) or len(raw) != prod(shape):
            raise ValueError(f"an array of {prod(shape)} objects holds something else")
        return [_resolve(item, path, dicts, depth + 1) for item in raw]
    size = raw.size if isinstance(raw, _Raw) else len(raw)
    if min(shape, default=0) < 0 or size != prod(shape) * dtype.itemsize:
        raise ValueError(f"an array of the shape {shape} holds {size} bytes")
    if isinstance(raw, _Raw):
        return Stored(path, raw.offset, shape, dtype, bool(fortran))
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")
