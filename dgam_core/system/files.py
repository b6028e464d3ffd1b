"""Files that appear whole or not at all."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dgam_core.errors import InputError


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        InputError: the file cannot be read, or is not text in UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise InputError(f"{path}: cannot be read: {reason}") from None


@contextmanager
def whole_file(path: Path, size: int = 0) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the name `path` only when the block succeeds.

    Args:
        path: the file.
        size: its least size in bytes; where the disk has no room for them, nothing is written.
    Raises:
        InputError: the folder of `path` does not exist.
        OSError: the file cannot be written: a full disk, a file system that is read-only.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if (free := shutil.disk_usage(path.parent).free) < size:
        message = f"needs {size / 1e9:.3g} GB, its disk has {free / 1e9:.3g} GB left"
        raise OSError(errno.ENOSPC, message, str(path))
    with _clear_disk_errors(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it takes the name `path` only when the block succeeds.

    Where another process has made `path` in the meantime, its folder stays and the new one is dropped.

    Raises:
        OSError: the folder cannot be written.
    """
    path = Path(path)
    with _clear_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            try:
                temporary.rename(path)
            except OSError:
                if not path.is_dir():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


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


def _umask() -> int:
    # The umask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
