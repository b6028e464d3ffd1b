import numpy as np
import pytest

from dgam_core.data.simulated import features
from dgam_core.data.simulated.schedule import THUMOS14_CLASSES
from dgam_core.data.soundness import check
from dgam_core.data.store import contents_digest
from dgam_core.errors import InputError
from dgam_core.snippets import Kind, checked_features

NAMES = list(features.DATA_SETS)


@pytest.fixture(scope="module", params=NAMES)
def data(request):
    return features.DATA_SETS[request.param]()


def test_it_is_sound_and_called_simulated(data):
    check(data)
    assert all(len(list(checked_features(data, s, data.videos))) == len(data.videos) for s in ("flow", "rgb"))
    assert data.simulated
    assert "simulated" in data.name
    assert "simulated" in data.source


@pytest.mark.parametrize(
    ("name", "scale", "size"),
    [
        ("thumos14", "demo", (20, 96, 96, 64)),
        ("thumos14", "paper", (20, 200, 210, 1024)),
        ("activitynet12", "demo", (10, 96, 96, 64)),
        ("activitynet12", "paper", (100, 4441, 2198, 1024)),
    ],
)
def test_sizes(name, scale, size):
    data = features.DATA_SETS[name](scale)
    assert (len(data.classes), len(data.subset("train")), len(data.subset("test")), data.dim("rgb")) == size


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_data_and_another_another(name, data):
    make = features.DATA_SETS[name]
    assert contents_digest(make()) == contents_digest(make(seed=0))
    assert contents_digest(make()) != contents_digest(make(seed=1))


def test_every_class_has_training_and_test_videos(data):
    for subset in ("train", "test"):
        assert {label for video in data.subset(subset) for label in video.labels} == set(data.classes)


# Mean, standard deviation and root mean square of real I3D features: RGB, one clip of 22 snippets.
REAL = (0.265, 0.210, 0.336)


@pytest.mark.parametrize("stream", ["flow", "rgb"])
@pytest.mark.parametrize("name", NAMES)
def test_features_have_the_size_of_real_ones(name, stream):
    """On average over 40 videos; 5 % is five times the standard error, for the constants are rounded."""
    data = features.DATA_SETS[name]("paper")
    videos = [data.load(stream, video.name) for video in data.subset("train")[:40]]
    norm = [np.linalg.norm(x, axis=1).mean() / np.sqrt(1024) for x in videos]
    found = np.mean([(x.mean(), x.std(), size) for x, size in zip(videos, norm, strict=True)], axis=0)
    assert found == pytest.approx(REAL, rel=0.05)
    assert min(x.min() for x in videos) == 0
    # 0.19 of the real ones are below 0.1; the simulated ones, cut off at zero, are more often
    assert np.mean([(x < 0.1).mean() for x in videos]) == pytest.approx(0.25, abs=0.02)


def test_the_real_size_is_that_of_the_clip(shared_data):
    with np.load(shared_data / "i3d" / "v_GGSY1Qvo990_reference.npz") as clip:
        x = clip["feat"].astype(np.float64)
    size = np.linalg.norm(x, axis=1).mean() / np.sqrt(1024)
    assert (x.mean(), x.std(), size) == pytest.approx(REAL, abs=5e-4)
    assert (x < 0.1).mean() == pytest.approx(0.19, abs=5e-3)


def test_appearance_is_as_the_formula_says():
    quiet = features.Appearance(noise=0.0, drift=0.0)
    data = features.thumos14(appearance=quiet)
    video = next(v for v in data.videos if len(v.labels) == 1 and set(data.kinds[v.name]) == {0, 1, 2})
    x, kinds = data.load("rgb", video.name), data.kinds[video.name]
    # without noise and drift, snippets of one kind and class look alike, and the kinds differ
    means = {kind: x[kinds == kind] for kind in Kind}
    assert all(np.ptp(values, axis=0).max() < 1e-6 for values in means.values())
    assert all(np.abs(means[a][0] - means[b][0]).max() > 0.1 for a, b in [(0, 1), (1, 2), (0, 2)])


def test_knobs_do_what_they_say():
    same = features.Appearance(confusion=1.0, separation=0.0, noise=0.0, drift=0.0)
    data = features.thumos14(appearance=same)
    video = next(v for v in data.videos if len(v.labels) == 1 and set(data.kinds[v.name]) == {0, 1, 2})
    kinds = data.kinds[video.name]
    flow, rgb = data.load("flow", video.name), data.load("rgb", video.name)
    # with all class evidence in the context and no appearance of its own, only motion tells action apart
    difference = {
        name: np.abs(x[kinds == Kind.ACTION][0] - x[kinds == Kind.CONTEXT][0]).mean()
        for name, x in (("flow", flow), ("rgb", rgb))
    }
    assert difference["flow"] > difference["rgb"] > 0


def test_unknown_scale():
    with pytest.raises(InputError, match="scale 'big' is unknown; there are demo, paper"):
        features.thumos14("big")


def test_cliff_diving_looks_half_like_diving():
    classes = tuple(THUMOS14_CLASSES)
    patterns = features._StreamSimulator("rgb", classes, 1024, 0, features.Appearance())._class_scenes
    similar = np.corrcoef(patterns[[classes.index(name) for name in ("CliffDiving", "Diving", "HighJump")]])
    assert similar[0, 1] == pytest.approx(np.sqrt(0.5), abs=0.1)  # (its own + Diving's) / √2
    assert similar[0, 2] == pytest.approx(0, abs=0.1)
