from dataclasses import replace

import h5py
import numpy as np
import pytest

from dgam_core.data import store
from dgam_core.errors import InputError


@pytest.fixture
def path(tmp_path, tiny):
    store.write(tmp_path / "tiny.h5", tiny)
    return tmp_path / "tiny.h5"


def test_what_is_written_is_read(path, tiny):
    data = store.read(path)
    assert (data.name, data.source, data.simulated) == (tiny.name, tiny.source, tiny.simulated)
    assert (data.fps, data.snippet_frames) == (tiny.fps, tiny.snippet_frames)
    assert data.videos == tiny.videos
    assert data.classes == tiny.classes
    for stream in tiny.streams:
        for video in tiny.videos:
            assert np.array_equal(data.load(stream, video.name), tiny.load(stream, video.name))


def test_features_stay_on_disk_until_asked_for(path):
    assert isinstance(store.read(path).features["rgb"]["v0"], h5py.Dataset)


def test_the_file_is_readable_with_plain_h5py(path):
    with h5py.File(path) as file:
        assert file["features/rgb/v0"].shape == (6, 5)
        assert file["videos"]["name"].tolist() == [b"v0", b"v1", b"v2", b"v3"]
        assert file["annotations"]["label"].tolist() == [b"jump", b"throw", b"jump", b"throw"]
        assert file["classes"].asstr()[:].tolist() == ["jump", "throw"]
        assert file["labels"][:].tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
        assert set(file.attrs) >= {"format", "version", "name", "fps", "snippet_frames", "source", "digest"}


def test_half_precision_stays_and_double_becomes_single(tmp_path, tiny):
    half = {name: x.astype(np.float16) for name, x in tiny.features["rgb"].items()}
    double = {name: x.astype(np.float64) for name, x in tiny.features["flow"].items()}
    store.write(tmp_path / "x.h5", replace(tiny, features={"rgb": half, "flow": double}))
    data = store.read(tmp_path / "x.h5")
    assert data.load("rgb", "v0").dtype == np.float16
    assert data.load("flow", "v0").dtype == np.float32
    store.verify(data)


def test_equal_contents_have_equal_digests_and_others_not(path, tmp_path, tiny):
    assert store.read(path).digest == store.contents_digest(tiny)
    changed = {**tiny.features["rgb"], "v0": tiny.features["rgb"]["v0"] + 1e-3}
    assert store.write(tmp_path / "b.h5", replace(tiny, features={"rgb": changed})) != store.read(path).digest


def test_the_digest_of_real_features_is_that_of_their_contents(tmp_path, tiny):
    real = replace(tiny, simulated=False)
    digest = store.write(tmp_path / "a.h5", real)
    assert store.write(tmp_path / "b.h5", replace(real, name="other")) == digest
    assert store.digest(tmp_path / "b.h5") == digest
    for changed in (replace(real, fps=17.0), replace(real, classes=("jump", "swim", "throw"))):
        assert store.contents_digest(changed) != digest
    assert store.contents_digest(replace(tiny, name="other")) != store.contents_digest(tiny)


def test_an_older_store_whose_digest_covers_the_name_is_sound_and_keeps_it(tmp_path, tiny):
    store.write(tmp_path / "x.h5", replace(tiny, simulated=False))
    # what such a store had
    old = "245dfdeb99c9e4ad2cffff3771b05dc657516dab5cb4bfaa7dcee2a0de6a68cd"
    edit(tmp_path / "x.h5", lambda file: file.attrs.__setitem__("digest", old))
    data = store.read(tmp_path / "x.h5")
    store.verify(data)
    assert data.digest == old
    with pytest.raises(InputError, match="differ from the digest"):
        store.verify(replace(data, name="other"))


def test_what_is_not_a_store_has_no_digest(tmp_path):
    assert store.digest(tmp_path / "none.h5") is None
    (tmp_path / "x.h5").write_text("no store")
    assert store.digest(tmp_path / "x.h5") is None


def bad(x, at, value):
    x = x.copy()
    x[at] = value
    return x


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: bad(x, (3, 1), np.nan), "v1: rgb features hold nan at snippet 3, dimension 1"),
        (lambda x: bad(x, (0, 0), np.inf), "v1: rgb features hold inf at snippet 0, dimension 0"),
        (lambda x: x[:-1], "v1: rgb features have 6 snippets; the video has 7"),
        (lambda x: x[:, :-1], "v1: rgb features have 4 dimensions; other videos have 5"),
        (lambda x: x[0], "v1: rgb features have the shape (5,); it should be (snippets, dimensions)"),
        (lambda x: x.astype(int), "v1: rgb features are int64; they should be float16 or float32"),
    ],
)
def test_unsound_features_are_refused_and_nothing_is_written(tmp_path, tiny, change, sentence):
    features = {**tiny.features["rgb"], "v1": change(tiny.features["rgb"]["v1"])}
    with pytest.raises(InputError) as error:
        store.write(tmp_path / "x.h5", replace(tiny, features={"rgb": features}))
    assert str(error.value) == sentence
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(path, tiny):
    before = path.read_bytes()

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write(path, tiny, progress=interrupt)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def edit(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def rename_annotated_video(file):
    table = file["annotations"][:]
    table["video"][0] = b"v9"
    file["annotations"][:] = table


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f.attrs.__setitem__("format", "else"), "is an HDF5 file, but not a store"),
        (lambda f: f.attrs.__setitem__("version", 9), "has version 9 of the store, this program reads 1"),
        (lambda f: f.__delitem__("videos"), "is damaged"),
        (lambda f: f.attrs.__delitem__("fps"), "is damaged"),
        (lambda f: f.__delitem__("features/rgb/v2"), "v2: has no rgb features"),
        (
            lambda f: f.copy("features/rgb/v2", "features/rgb/other"),
            "rgb features of an unknown video 'other'",
        ),
        (rename_annotated_video, "annotations of an unknown video 'v9'"),
    ],
)
def test_an_unsound_store_is_refused(path, change, sentence):
    edit(path, change)
    with pytest.raises(InputError) as error:
        store.read(path)
    assert sentence in str(error.value)


def test_changed_features_are_found_by_the_digest(path):
    edit(path, lambda file: file["features/rgb/v0"].write_direct(np.zeros((6, 5), dtype=np.float32)))
    with pytest.raises(InputError, match="differ from the digest"):
        store.verify(store.read(path))


def test_files_that_are_no_store(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        store.read(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(InputError, match="is not a readable HDF5 file"):
        store.read(tmp_path / "text.h5")


@pytest.mark.parametrize("name", ["thumos14", "activitynet12"])
def test_simulated_data_is_opened_by_name(name):
    data = store.open_data_set(f"simulated:{name}")
    assert data.simulated
    assert data.name == f"simulated_{name}"
    assert len(data.digest) == 64


def test_an_unknown_simulated_name():
    with pytest.raises(InputError, match="are called simulated:thumos14 and simulated:activitynet12"):
        store.open_data_set("simulated:thumos15")


def with_truth(data):
    """Background, context, action in turn; the classes in turn."""
    kinds = {video.name: np.arange(video.num_snippets, dtype=np.uint8) % 3 for video in data.videos}
    class_idx = {
        name: np.where(k > 0, np.arange(len(k)) % 2, -1).astype(np.int16) for name, k in kinds.items()
    }
    return replace(data, kinds=kinds, snippet_classes=class_idx)


def test_the_truth_of_simulated_snippets_is_kept(tmp_path, tiny):
    known = with_truth(tiny)
    store.write(tmp_path / "x.h5", known)
    data = store.read(tmp_path / "x.h5")
    store.verify(data)
    for video in tiny.videos:
        assert np.array_equal(data.kinds[video.name], known.kinds[video.name])
        assert np.array_equal(data.snippet_classes[video.name], known.snippet_classes[video.name])
        assert data.snippet_classes[video.name].dtype == np.int16


def test_a_changed_truth_is_found_by_the_digest(tmp_path, tiny):
    path = tmp_path / "x.h5"
    store.write(path, with_truth(tiny))
    edit(path, lambda file: file["snippet_classes/v0"].write_direct(np.zeros(6, dtype=np.int16)))
    with pytest.raises(InputError, match="differ from the digest"):
        store.verify(store.read(path))


def test_without_truth_there_is_none(path):
    data = store.read(path)
    assert data.kinds == data.snippet_classes == {}
    # what stores had before there was any truth in them
    assert data.digest.startswith("975fcdecc2c56be7")


@pytest.mark.parametrize(
    ("field", "values", "sentence"),
    [
        ("kinds", np.full(6, 3), "tiny: v0: each snippet needs a kind from 0 to 2"),
        ("kinds", np.zeros(5), "tiny: v0: each snippet needs a kind from 0 to 2"),
        ("snippet_classes", np.full(6, 2), "tiny: v0: each snippet needs a class from -1 to 1"),
        ("snippet_classes", np.full(6, -2), "tiny: v0: each snippet needs a class from -1 to 1"),
    ],
)
def test_an_unsound_truth_is_refused(tmp_path, tiny, field, values, sentence):
    known = with_truth(tiny)
    with pytest.raises(InputError) as error:
        store.write(tmp_path / "x.h5", replace(known, **{field: {**getattr(known, field), "v0": values}}))
    assert str(error.value) == sentence


def test_a_truth_of_some_videos_is_refused(tmp_path, tiny):
    with pytest.raises(InputError, match="v1: each snippet needs a kind"):
        store.write(tmp_path / "x.h5", replace(tiny, kinds={"v0": np.zeros(6, dtype=np.uint8)}))
