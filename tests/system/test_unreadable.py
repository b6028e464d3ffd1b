"""A file that the system does not let one read is not called damaged."""

import errno
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from dgam_core.data import store
from dgam_core.data.json_stream import stream_object
from dgam_core.data.layouts import common
from dgam_core.data.pickles import read_object_array, read_pickle, read_torch
from dgam_core.errors import InputError
from dgam_core.experiments import records, run_store
from dgam_core.extraction import i3d_weights, video
from dgam_core.system.files import read_text

READERS = {
    "a.txt": read_text,
    "a.json": lambda path: list(stream_object(path, "database")),
    "a.npy": common.open_npy,
    "b.npy": read_object_array,
    "a.npz": common._load,
    "a.pt": common._load,
    "b.pt": lambda path: read_torch(path, "is something else"),
    "a.pkl": read_pickle,
    "a.h5": store.read,
    "w.npz": i3d_weights._read,
    "a.mp4": lambda path: list(video._decoded(path, 25)),
    "a/checksums.json": lambda path: run_store.is_sound(path.parent),
    "record.json": lambda path: records._read_json(path, "make it again"),
}


@pytest.mark.parametrize("name", READERS)
def test_what_may_not_be_read_is_not_called_damaged(tmp_path, as_another_user, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"anything")
    path.chmod(0)
    as_another_user()
    with pytest.raises(InputError) as error:
        READERS[name](path)
    reason = "Permission denied; its owner can allow it with `chmod -R a+rX`"
    assert str(error.value) == f"{path}: cannot be read: {reason}"


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.pt", "a.pkl", "a.h5", "w.npz", "a.mp4", "record.json"])
def test_what_is_damaged_can_be_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(InputError) as error:
        READERS[name](tmp_path / name)
    assert "cannot be read:" not in str(error.value)


def test_archives_that_name_positions_they_do_not_have_are_damaged(tmp_path):
    """Whether cut or changed anywhere near the list of their contents, for which Python has many errors."""
    np.savez(tmp_path / "a.npz", feats=np.zeros((9, 8)))
    torch.save(torch.zeros(9, 8), tmp_path / "a.pt")
    random = np.random.default_rng(0)
    for path in (tmp_path / "a.npz", tmp_path / "a.pt"):
        whole = path.read_bytes()
        for _ in range(100):
            content = bytearray(whole)
            for position in random.integers(len(whole) - 200, len(whole), 4):
                content[position] = random.integers(256)
            path.write_bytes(content)
            with pytest.raises(InputError, match="holds no array of features"):
                common._load(path)
                raise InputError("holds no array of features")  # it is whole all the same


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EAGAIN])
def test_a_disk_or_a_lock_that_fails_is_not_a_damaged_file(tmp_path, monkeypatch, number):
    def fail(path, *_, **__):
        raise OSError(number, "a library's words", str(path))

    (tmp_path / "a.h5").touch()
    monkeypatch.setattr(h5py, "File", fail)
    with pytest.raises(InputError, match=f"a.h5: cannot be read: {os.strerror(number)}$"):
        store.read(tmp_path / "a.h5")
    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(InputError, match=f"checksums.json: cannot be read: {os.strerror(number)}$"):
        run_store.is_sound(tmp_path)
