from dataclasses import replace

import numpy as np
import pytest

from dgam_core.data import store
from dgam_core.data.feature_summary import FeatureSummary, mismatch, scale_doubts, summarize_features
from dgam_core.snippets import Video


def summary(x, network=""):
    x = np.asarray(x, dtype=np.float64)
    return FeatureSummary(network, x.mean(0), float(np.sqrt((x**2).mean())))


def test_a_summary_is_over_snippets(tiny):
    x = np.array([[1.0, 2.0], [3.0, 6.0]], dtype=np.float32)
    videos = (Video("a", "test", 1.0, 2, ("jump",)), Video("b", "test", 1.0, 1, ("jump",)))
    features = {"rgb": {"a": x, "b": np.array([[5.0, 1.0]], dtype=np.float32)}}
    data = replace(tiny, videos=videos, features=features, networks={"rgb": "n"})
    found = summarize_features(data, "rgb", "test")
    assert found.mean.tolist() == [3, 3]  # (1 + 3 + 5) / 3, (2 + 6 + 1) / 3
    assert found.rms == pytest.approx(np.sqrt((1 + 4 + 9 + 36 + 25 + 1) / 6))
    assert found.network == "n"


def test_of_many_videos_some_are_summarized(tiny):
    videos = tuple(Video(f"v{i}", "test", 1.0, 1, ("jump",)) for i in range(120))
    read = []

    class Features(dict):
        def __getitem__(self, name):
            read.append(name)
            return np.zeros((1, 2), dtype=np.float32)

    summarize_features(replace(tiny, videos=videos, features={"rgb": Features()}), "rgb", "test")
    assert read == [f"v{i}" for i in range(0, 120, 3)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: x, None),
        (lambda x: 2 * x, None),
        (lambda x: x[:3], None),
        (lambda x: 4 * x, "they are 4 times as large"),
        (lambda x: x / 10, "they are 0.1 times as large"),
        (lambda x: x[:, ::-1], "of another network or with dimensions in another order"),
    ],
)
def test_features_that_do_not_fit_are_told_from_those_that_do(change, sentence):
    random = np.random.default_rng(0)
    x = random.random(64) + 0.3 * random.random((50, 64))
    said = mismatch(summary(x), summary(change(x)))
    assert said is None if sentence is None else said.endswith(sentence)


def test_networks_are_compared_where_both_are_known():
    x = np.random.default_rng(0).random((5, 64))
    assert mismatch(summary(x, "a" * 64), summary(x, "b" * 64)) == (
        "they were made by the network bbbbbbbbbbbb, not by aaaaaaaaaaaa"
    )
    assert mismatch(summary(x, "a"), summary(x, "a")) is None
    assert mismatch(summary(x, "a"), summary(x)) is None


def test_two_real_networks_are_told_apart_and_two_halves_of_a_video_are_not(shared_data):
    theirs = np.load(shared_data / "clips/tennis26.npy")[:, :1024]
    ours = np.load(shared_data / "i3d/v_GGSY1Qvo990_reference.npz")["feat"]
    assert mismatch(summary(theirs[:45]), summary(theirs[45:])) is None
    assert "of another network" in mismatch(summary(theirs), summary(ours))


def test_a_store_keeps_the_networks_and_a_store_without_has_the_digest_of_before(tmp_path, tiny):
    known = replace(tiny, networks={"rgb": "ab" * 32})
    assert store.write(tmp_path / "known.h5", known) != store.write(tmp_path / "unknown.h5", tiny)
    assert store.read(tmp_path / "known.h5").networks == {"rgb": "ab" * 32}
    assert store.read(tmp_path / "unknown.h5").networks == {}
    store.verify(store.read(tmp_path / "known.h5"))


@pytest.mark.parametrize(
    ("factor", "advice"),
    [(1e4, "multiply them by 0.001"), (1e-5, "multiply them by 1e+06"), (0, "extract them again")],
)
def test_features_out_of_all_scale_are_told(tiny, factor, advice):
    assert scale_doubts(tiny) == []
    rgb = {name: factor * x for name, x in tiny.features["rgb"].items()}
    data = replace(tiny, features={**tiny.features, "rgb": rgb})
    rms = factor * summarize_features(tiny, "rgb", "train").rms
    assert scale_doubts(data) == [
        f"tiny: its rgb features are {rms:.2g} in size (root mean square), those of I3D about 0.5; if "
        f"training fails, this scale is the cause and not the learning rate: {advice}"
    ]


def test_features_that_are_all_zero_differ_from_others_and_not_from_one_another():
    x = np.random.default_rng(0).random((20, 4))
    assert mismatch(summary(0 * x), summary(0 * x)) is None
    assert mismatch(summary(x), summary(0 * x)) == "they are all zero"
    assert mismatch(summary(0 * x), summary(x)) == "those were all zero"
