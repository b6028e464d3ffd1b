"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dgam_core.errors import InputError


@contextmanager
def whole_file(path: Path, size: int = 0) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the name `path` only when the block succeeds.

    Args:
        path: the file.
        size: bytes that it will have at least; where the disk has no room for them, nothing is begun.
    Raises:
        InputError: the folder of `path` does not exist.
        OSError: it cannot be written: a full disk, a file system that is read-only.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if (free := shutil.disk_usage(path.parent).free) < size:
        what = f"needs {size / 1e9:.3g} GB, its disk has {free / 1e9:.3g} GB left"
        raise OSError(errno.ENOSPC, what, str(path))
    with _plain_errors(path):
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

    Where another process has made `path` in the meantime, its folder stays and ours is dropped.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    with _plain_errors(path):
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
def _plain_errors(path: Path) -> Iterator[None]:
    """Let a disk that is full or read-only show as such, whichever library meets it."""
    try:
        yield
    except Exception as error:
        # HDF5's and safetensors' errors name the system's error in their text alone.
        found = re.search(r"errno = (\d+)|os error (\d+)", str(error))
        number = int(found[1] or found[2]) if found else getattr(error, "errno", None)
        if number not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            raise
        raise OSError(number, f"cannot be written: {os.strerror(number)}", str(path)) from None


def _umask() -> int:
    # The umask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
