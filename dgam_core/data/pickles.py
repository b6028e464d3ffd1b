"""Object arrays, weights and other pickles, read without trusting them.

They are pickles, and a pickle can name any function to be called. This reader knows the few names that
NumPy uses to rebuild its arrays and refuses all others before anything is called. Large arrays inside stay in
the file until they are asked for.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from dgam_core.errors import InputError

LARGE = 1 << 16  # bytes; what is smaller is read at once
DEEPEST = 8  # arrays and lists within one another


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
            found = _unpickled(file, path, dicts=False)
            return list(found) if isinstance(found, list | np.ndarray) else [found]
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
    return _resolve(_Unpickler(_Bounded(file, Path(path)), encoding="bytes").load(), Path(path), dicts)


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
        self._file, self.path = file, path
        self._end = path.stat().st_size
        self.readline = file.readline

    def read(self, size: int) -> bytes:
        """Read so many bytes."""
        self._check(size)
        return self._file.read(size)

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        return self._file.readinto(buffer)  # type: ignore[attr-defined,no-any-return]

    def skip(self, size: int) -> _Raw:
        """Leave so many bytes where they are."""
        self._check(size)
        raw = _Raw(self._file.tell(), size)
        self._file.seek(size, 1)
        return raw

    def _check(self, size: int) -> None:
        if size > self._end - self._file.tell():
            raise EOFError("it ends too early")


_Base: Any = pickle._Unpickler  # the one in Python, which can be extended


class _Unpickler(_Base):  # type: ignore[misc]
    """Python's own unpickler, with names that are known and large bytes left in the file."""

    dispatch: ClassVar = dict(_Base.dispatch)

    def __init__(self, file: _Bounded, encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self._bounded = file

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Return what stands for a name, if it is one of NumPy's."""
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise InputError(
                f"{self._bounded.path}: names {module}.{name}, which has no place in an array; it is not read"
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        """Refuse what a pickle only refers to."""
        raise ValueError("it refers to objects outside of it")

    def _bytes(self, size: int) -> bytes | _Raw:
        # Within a frame of protocol 4 the file is ahead of the reader; large bytes stand outside of frames.
        if size < LARGE or self._unframer.current_frame is not None:
            return bytes(self.read(size))
        return self._bounded.skip(size)

    def load_binbytes(self) -> None:
        """Read bytes with a length of four bytes."""
        self.append(self._bytes(int.from_bytes(self.read(4), "little")))

    def load_binbytes8(self) -> None:
        """Read bytes with a length of eight bytes."""
        self.append(self._bytes(int.from_bytes(self.read(8), "little")))

    dispatch[pickle.BINBYTES[0]] = load_binbytes
    dispatch[pickle.BINBYTES8[0]] = load_binbytes8
    dispatch[pickle.BINSTRING[0]] = load_binbytes  # Python 2's


def _resolve(value: Any, path: Path, dicts: bool, depth: int = 0) -> Any:
    """Turn what was unpickled into plain objects and arrays."""
    if depth > DEEPEST:
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
        raise ValueError(f"a {type(value).__name__} has no place in it")
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
