import os
import pickle
import tracemalloc
from mmap import mmap
from pathlib import Path

import numpy as np
import pytest

from dgam_core.data.pickles import read_object_array, read_pickle
from dgam_core.errors import InputError


def save(path: Path, array, protocol=None) -> Path:
    """Write an object array as NumPy does, in any of pickle's protocols."""
    if protocol is None:
        np.save(path, array, allow_pickle=True)
        return path
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|O", "fortran_order": False, "shape": array.shape}
        )
        pickle.dump(array, file, protocol=protocol)
    return path


def objects(*values):
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


def in_file(array):
    """Whether an array is a view of a file."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, memoryview) and isinstance(array.obj, mmap)


@pytest.mark.parametrize("protocol", [None, 2, 3, 4, 5])
def test_arrays_of_any_size_are_those_that_were_written(tmp_path, protocol):
    random = np.random.default_rng(0)
    arrays = [
        random.random((n, 64)).astype(dtype) for n, dtype in ((3, "f4"), (700, "f4"), (900, "f8"), (1, "f2"))
    ]
    arrays.append(np.asfortranarray(random.random((80, 900))))
    arrays.append(random.random((300, 300)).astype(">f4"))
    read = read_object_array(save(tmp_path / "x.npy", objects(*arrays), protocol))
    for value, array in zip(read, arrays, strict=True):
        assert value.dtype == array.dtype
        assert np.array_equal(value, array)
    if protocol not in (2, 5):  # which write bytes as text, or a copy of them
        assert [in_file(value) for value in read] == [False, True, True, False, True, True]


@pytest.mark.parametrize("protocol", [None, 2, 3, 4, 5])
def test_plain_objects_are_read(tmp_path, protocol):
    values = [
        [b"run", "jump"],
        [[1.5, 2.5], [3, 4]],
        np.float64(7),
        np.int64(3),
        "β",
        b"\xff",
        None,
        True,
        [],
    ]
    assert read_object_array(save(tmp_path / "x.npy", objects(*values), protocol)) == values


def test_an_array_of_numbers_needs_no_pickle(tmp_path):
    assert read_object_array(save(tmp_path / "x.npy", np.arange(3))) == [0, 1, 2]
    assert read_object_array(save(tmp_path / "x.npy", np.array([b"a", b"bc"]))) == [b"a", b"bc"]


class Call:
    """A pickle that calls a function when it is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, f"{os.system.__module__}.system"),
        (open, f"{open.__module__}.open"),  # io, or _io since Python 3.12
        (eval, "builtins.eval"),
        (np.load, "numpy.load"),
        (getattr, "builtins.getattr"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_that_would_call_something_is_refused_before_it_does(tmp_path, function, name, protocol):
    proof = tmp_path / "proof"
    argument = f"touch {proof}" if function is os.system else str(proof)
    path = save(tmp_path / "x.npy", objects([1, Call(function, argument, "w")]), protocol)
    if function is os.system:
        path = save(tmp_path / "x.npy", objects([1, Call(function, argument)]), protocol)
    with pytest.raises(InputError) as error:
        read_object_array(path)
    text = str(error.value).replace("__builtin__", "builtins")  # as protocol 2 calls them
    assert text == f"{path}: refers to {name}, which is not part of a NumPy array; the file is refused"
    assert not proof.exists()


def test_objects_of_a_class_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"refers to pathlib[.\w]*Path, which is not part"):
        read_object_array(save(tmp_path / "x.npy", objects(Path("/etc/passwd"), Call)))
    with pytest.raises(InputError, match=r"refers to builtins\.set,|a set does not belong"):
        read_object_array(save(tmp_path / "x.npy", objects({1, 2})))
    with pytest.raises(InputError, match="a dict does not belong in it"):
        read_object_array(save(tmp_path / "x.npy", objects({"a": 1})))


@pytest.mark.parametrize("cut", [0, 5, 60, 150, 1000, -1, -70_000])
def test_a_file_that_ends_too_early_is_damaged(tmp_path, cut):
    path = save(tmp_path / "x.npy", objects(np.zeros((3, 4)), np.zeros((300, 400))))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"x\.npy: is damaged or holds more than plain objects"):
        read_object_array(path)


def test_a_length_beyond_the_file_takes_no_memory(tmp_path):
    path = save(tmp_path / "x.npy", objects(b"x"), 3)
    header = path.read_bytes().partition(b"\x80\x03")[0]
    for opcode, size in ((pickle.BINBYTES, 4), (pickle.BINUNICODE, 4), (pickle.BINBYTES8, 8)):
        path.write_bytes(header + b"\x80\x03" + opcode + b"\xff" * (size - 1) + b"\x7f" + b".")
        with pytest.raises(InputError, match="it ends too early"):
            read_object_array(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"N" + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f.", "it numbers more objects than it has"),
        (pickle.PERSID + b"0 9\n.", "it refers to objects outside of it"),
        (b"I0\n" + pickle.BINPERSID + b".", "it refers to objects outside of it"),
    ],
)
def test_pickles_that_claim_what_they_do_not_have_are_refused(tmp_path, content, sentence):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x03" + content)
    with pytest.raises(InputError, match=sentence):
        read_pickle(path)


def test_large_arrays_take_memory_one_at_a_time(tmp_path):
    path = save(tmp_path / "x.npy", objects(*(np.full((1 << 20), i, "f4") for i in range(16))))  # 64 MiB
    tracemalloc.start()
    values = read_object_array(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * (4 << 20)
    assert [int(value[-1]) for value in values] == list(range(16))


def test_a_shape_that_does_not_fit_its_bytes_is_refused(tmp_path):
    path = save(tmp_path / "x.npy", objects(np.zeros((3, 4), dtype="f8"), np.zeros((300, 4), dtype="f8")), 3)
    content = path.read_bytes()
    for small, wrong in ((b"K\x03K\x04", b"K\x05K\x04"), (b"M,\x01K\x04", b"M,\x02K\x04")):
        assert small in content
        path.write_bytes(content.replace(small, wrong))
        with pytest.raises(InputError, match="an array of the shape"):
            read_object_array(path)


def test_arrays_within_arrays_have_a_bottom(tmp_path):
    value = [1]
    for _ in range(50):
        value = [value]
    with pytest.raises(InputError, match="it is nested too deeply"):
        read_object_array(save(tmp_path / "x.npy", objects(value)))


def test_real_annotations(shared_data):
    folder = shared_data / "thumos14" / "Thumos14reduced-Annotations"
    for path in sorted(folder.glob("*.npy")):
        expected = np.load(path, allow_pickle=True, encoding="bytes")
        for value, array in zip(read_object_array(path), expected, strict=True):
            assert np.array_equal(np.asarray(value, dtype=object), np.asarray(array, dtype=object))


def test_a_pickle_of_dictionaries_and_arrays(tmp_path):
    large = np.random.default_rng(0).random((300, 300)).astype(np.float32)
    content = {"params": {"layer": {"kernel": large, "bias": np.zeros(3)}}, "step": 7, "names": ["a", "b"]}
    (tmp_path / "w.ckpt").write_bytes(pickle.dumps(content))
    values = read_pickle(tmp_path / "w.ckpt")
    assert np.array_equal(values["params"]["layer"]["kernel"], large)
    assert values["params"]["layer"]["bias"].tolist() == [0, 0, 0]
    assert (values["step"], values["names"]) == (7, ["a", "b"])
    (tmp_path / "w.ckpt").write_bytes(pickle.dumps({"path": tmp_path}))
    with pytest.raises(InputError, match="which is not part of a NumPy array"):
        read_pickle(tmp_path / "w.ckpt")
