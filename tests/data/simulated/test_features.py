import os
import subprocess
import sys

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
PERCENTS, REAL_PERCENTILES = (5, 25, 50, 75, 95), (0.041, 0.123, 0.213, 0.340, 0.688)


@pytest.mark.parametrize("stream", ["flow", "rgb"])
@pytest.mark.parametrize("name", NAMES)
def test_features_have_the_size_of_real_ones(name, stream):
    """On average over 40 videos; 5 % is five times the standard error, for the constants are rounded."""
    data = features.DATA_SETS[name]("paper")
    videos = [data.load(stream, video.name) for video in data.subset("train")[:40]]
    norm = [np.linalg.norm(x, axis=1).mean() / np.sqrt(1024) for x in videos]
    found = np.mean([(x.mean(), x.std(), size) for x, size in zip(videos, norm, strict=True)], axis=0)
    assert found == pytest.approx(REAL, rel=0.05)
    values = np.concatenate([x[:50].ravel() for x in videos])
    assert values.min() >= 0
    assert (values == 0).mean() <= 0.005  # that of the clip
    assert np.percentile(values, PERCENTS) == pytest.approx(REAL_PERCENTILES, rel=0.15)


def test_the_real_size_is_that_of_the_clip(shared_data):
    with np.load(shared_data / "i3d" / "v_GGSY1Qvo990_reference.npz") as clip:
        x = clip["feat"].astype(np.float64)
    size = np.linalg.norm(x, axis=1).mean() / np.sqrt(1024)
    assert (x.mean(), x.std(), size) == pytest.approx(REAL, abs=5e-4)
    assert np.percentile(x, PERCENTS) == pytest.approx(REAL_PERCENTILES, abs=5e-4)
    assert (x == 0).mean() == pytest.approx(0.005, abs=5e-4)


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


DIGESTS = """
from dgam_core.data.simulated import features
from dgam_core.data.store import contents_digest

print(*(contents_digest(simulate(dim=128)) for simulate in features.DATA_SETS.values()))
"""


def test_the_same_seed_gives_the_same_bits_on_every_processor():
    """Other threads, other kernels of OpenBLAS, and other vector instructions in NumPy."""
    environments = (
        {"OMP_NUM_THREADS": "1"},
        {"OMP_NUM_THREADS": "2"},
        {"OPENBLAS_CORETYPE": "Prescott", "NPY_DISABLE_CPU_FEATURES": "AVX2,FMA3,AVX512F,AVX512_SKX"},
    )
    digests = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", DIGESTS],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for environment in environments
    }
    assert digests == {" ".join(contents_digest(features.DATA_SETS[name](dim=128)) for name in NAMES) + "\n"}


def test_unknown_scale():
    with pytest.raises(InputError, match="scale 'big' is unknown; there are demo, paper"):
        features.thumos14("big")


def test_cliff_diving_looks_half_like_diving():
    classes = tuple(THUMOS14_CLASSES)
    similar = []
    for seed in range(20):  # of single pairs the similarity varies by 1/√LATENT_DIM = 0.125
        shares = np.ones(3) / 3
        stream = features._StreamSimulator("rgb", classes, 64, seed, features.Appearance(), shares)
        of_classes = [classes.index(name) for name in ("CliffDiving", "Diving", "HighJump")]
        similar.append(np.corrcoef(stream._class_scenes[of_classes])[0, 1:])
    # (its own + Diving's) / √2, and a class that has nothing to do with it
    assert np.mean(similar, axis=0) == pytest.approx([np.sqrt(0.5), 0], abs=0.1)


def shares_of(data):
    kinds = np.concatenate([data.kinds[video.name] for video in data.videos])
    return np.bincount(kinds, minlength=3) / len(kinds)


def plain_latent(stream, number, schedule):
    """u_t of the module's formula for one video, snippet by snippet, with the same draws."""
    a, g = stream._appearance, stream._gains
    random = np.random.default_rng([*stream._seed, 1 + number])
    m = np.exp(a.strength * random.standard_normal(4) - a.strength**2 / 2)
    scene, *o = features._patterns(random, 5)
    d = features._drift(random, len(schedule.kinds))
    n = random.standard_normal(d.shape, dtype=np.float32)
    points = []
    for t, kind in enumerate(schedule.kinds):
        y = schedule.class_idx[t] if kind != Kind.BACKGROUND else schedule.actions[0].class_idx
        e = {Kind.ACTION: 1, Kind.CONTEXT: a.confusion, Kind.BACKGROUND: a.venue}[Kind(kind)]
        u = a.scene * g.scene * scene + a.drift * d[t] + a.noise * n[t]
        u = u + a.evidence * g.class_scene * m[0] * e * (stream._class_scenes[y] + a.deviation * o[0])
        if kind == Kind.ACTION:
            u = u + a.motion * g.motion * m[1] * (stream._motions[y] + a.deviation * o[1])
            u = u + a.separation * m[2] * (stream._any_action + a.deviation * o[2])
        if kind == Kind.CONTEXT:
            u = u + a.separation * m[3] * (stream._any_context + a.deviation * o[3])
        points.append(u)
    return np.array(points)


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_the_formula(name, data):
    data = features.DATA_SETS[name](dim=128)
    for stream in data.streams:
        simulator = data.features[stream]._load.__self__
        source = data.features[stream].data[data.videos[3].name]
        u = plain_latent(simulator, *source)
        assert simulator._latent(*source) == pytest.approx(u, abs=1e-5)
        x = simulator._scale * np.log1p(np.exp(features.OFFSET + u @ simulator._views))
        # the nearest multiple of 2⁻¹², here tie-free but for the float32 arithmetic of `plain_latent`
        assert data.load(stream, data.videos[3].name) == pytest.approx(x, abs=2**-13 + 1e-5)


def test_distances_are_the_same_at_every_size():
    """Before the rectification, distances between snippets do not depend on D, but for its square root."""
    latent = None
    for dim in (64, 256, 1024):
        data = features.thumos14(dim=dim)
        simulator = data.features["rgb"]._load.__self__
        source = data.features["rgb"].data[data.videos[0].name]
        u = simulator._latent(*source)
        assert latent is None or (u == latent).all()
        latent, views = u, u @ simulator._views
        slope = features.WIDTH / simulator._gains.spread(simulator._appearance, shares_of(data))
        between = np.linalg.norm(views[1:] - views[:-1], axis=1)
        expected = slope * np.sqrt(dim / features.LATENT_DIM) * np.linalg.norm(u[1:] - u[:-1], axis=1)
        assert between == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_spread_that_the_link_divides_by_is_that_of_the_points(name):
    data = features.DATA_SETS[name]()
    for stream in data.streams:
        simulator = data.features[stream]._load.__self__
        points = np.concatenate(
            [simulator._latent(*source) for source in data.features[stream].data.values()]
        )
        spread = simulator._gains.spread(simulator._appearance, shares_of(data))
        # patterns of 20 classes in 64 dimensions, and 192 videos, leave a few percent to chance
        assert np.sqrt((points**2).mean()) == pytest.approx(spread, rel=0.05)
