"""Files that appear whole or not at all."""

import codecs
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dgam_core.errors import InputError

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def unreadable(path: Path | str, error: Exception) -> InputError:
    """Return the error that says why the system does not let a file be read; it may be sound all the same."""
    advice = "; its owner can allow it with `chmod -R a+rX`" if isinstance(error, PermissionError) else ""
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if number else str(error)
    return InputError(f"{path}: cannot be read: {reason}{advice}")


def is_refusal(error: Exception) -> bool:
    """Whether the system refuses to read a file, which does not say that it is damaged.

    A damaged zip file can name a position that is none, which is an invalid argument.
    """
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


def read_text(path: Path) -> str:
    """Read a text file, with or without the mark that Windows puts before UTF-8.

    Raises:
        InputError: the file cannot be read, or is not text in UTF-8.
    """
    try:
        content = path.read_bytes()
        if content.startswith(UTF16_MARKS):
            raise InputError(f"{path}: cannot be read: is text in UTF-16; save it as UTF-8")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: cannot be read: not text in UTF-8") from None


def read_names(path: Path) -> list[str]:
    """Read a list of names, one per line, which may have blanks within; blank lines are skipped.

    Raises:
        InputError: the file cannot be read.
    """
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


@contextmanager
def whole_file(path: Path, size: int = 0) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the name `path` only when the block succeeds.

    Where the disk has no room for `size` bytes, nothing is written.

    Raises:
        InputError: the folder of `path` does not exist.
        OSError: the file cannot be written: a full disk, a file system that is read-only.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if (free := shutil.disk_usage(path.parent).free) < size:
        message = f"needs {size / 1e9:.3g} GB, its disk has {free / 1e9:.3g} GB left"
        raise OSError(errno.ENOSPC, message, str(path))
    with _clear_disk_errors(path):
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{path.suffix}")
        temporary.touch(exist_ok=False)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file that appears whole or not at all, as by `whole_file`."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def whole_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it takes the name `path` only when the block succeeds.

    A folder `path` that is there by then, made by another process or before, stays and the new one is
    dropped; with `replace` it is the old one that goes.

    Raises:
        OSError: the folder cannot be written.
    """
    with _clear_disk_errors(path):
        temporary, old = (path.with_name(f".{path.name}.{secrets.token_hex(4)}") for _ in range(2))
        temporary.mkdir(parents=True)
        try:
            yield temporary
            if replace and path.is_dir():
                path.rename(old)
            try:
                temporary.rename(path)
            except OSError:
                if not path.is_dir():
                    raise
        finally:
            for folder in (temporary, old):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _clear_disk_errors(path: Path) -> Iterator[None]:
    """Raise the same OSError for a disk that is full or read-only, whichever library meets it."""
    try:
        yield
    except Exception as error:
        # HDF5's and safetensors' errors name the system's error only in their text.
        match = re.search(r"errno = (\d+)|os error (\d+)", str(error))
        number = int(match[1] or match[2]) if match else getattr(error, "errno", None)
        if number not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            raise
        raise OSError(number, f"cannot be written: {os.strerror(number)}", str(path)) from None
