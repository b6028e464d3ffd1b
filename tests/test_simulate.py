import numpy as np
import pytest

from dgam_core import simulate
from dgam_core.errors import InputError
from dgam_core.snippets import Kind, check, checked_features
from dgam_core.store import contents_digest


@pytest.fixture(scope="module")
def data():
    return simulate.thumos14()


def test_it_is_sound_and_called_simulated(data):
    check(data)
    assert all(len(list(checked_features(data, s, data.videos))) == len(data.videos) for s in ("flow", "rgb"))
    assert data.simulated
    assert "simulated" in data.name
    assert "simulated" in data.source


def test_the_same_seed_gives_the_same_data_and_another_another(data):
    assert contents_digest(data) == contents_digest(simulate.thumos14())
    assert contents_digest(data) != contents_digest(simulate.thumos14(seed=1))


def test_kinds_agree_with_the_annotations(data):
    for video in data.videos:
        kinds = data.kinds[video.name]
        middle_s = (np.arange(video.num_snippets) + 0.5) * data.snippet_s
        inside = np.zeros(video.num_snippets, dtype=bool)
        for segment in video.segments:
            inside |= (middle_s >= segment.start_s) & (middle_s < segment.end_s)
        assert np.array_equal(kinds == Kind.ACTION, inside)
        assert set(video.labels) == {segment.label for segment in video.segments}


def test_context_lies_beside_action(data):
    for video in data.videos[:20]:
        kinds = data.kinds[video.name]
        middle_s = (np.arange(video.num_snippets) + 0.5) * data.snippet_s
        for t in np.flatnonzero(kinds == Kind.CONTEXT):
            assert any(
                max(s.start_s - middle_s[t], middle_s[t] - s.end_s)
                < 0.75 * (s.end_s - s.start_s) + data.snippet_s
                or s.end_s >= video.duration_s  # cut off at the end: it was longer
                for s in video.segments
            )


def test_features_are_sparse_and_not_negative(data):
    x = np.concatenate([data.load("rgb", video.name) for video in data.subset("train")])
    assert x.min() == 0
    assert 0.2 < (x == 0).mean() < 0.8
    assert x.dtype == np.float32


def test_times_have_the_measured_statistics():
    """Against the real annotations; tolerances are about twice the standard error of 2000 videos."""
    videos = []
    for seed in range(20):
        videos += simulate.thumos14(seed=seed).subset("train")
    segments = [len(video.segments) for video in videos]
    lengths = np.array([s.end_s - s.start_s for video in videos for s in video.segments])
    durations = np.log([video.duration_s for video in videos])
    action = [sum(s.end_s - s.start_s for s in video.segments) / video.duration_s for video in videos]
    assert np.mean(segments) == pytest.approx(15.0, abs=2.0)
    assert np.log(lengths).mean() == pytest.approx(1.05, abs=0.1)
    assert np.log(lengths).std() == pytest.approx(0.83, abs=0.1)
    assert durations.mean() == pytest.approx(4.94, abs=0.05)
    assert np.mean(action) == pytest.approx(0.29, abs=0.04)


def test_appearance_is_as_the_formula_says():
    quiet = simulate.Appearance(noise=0.0, drift=0.0)
    data = simulate.thumos14(appearance=quiet)
    video = next(v for v in data.videos if len(v.labels) == 1 and set(data.kinds[v.name]) == {0, 1, 2})
    x, kinds = data.load("rgb", video.name), data.kinds[video.name]
    # without noise and drift, snippets of one kind and class look alike, and the kinds differ
    means = {kind: x[kinds == kind] for kind in Kind}
    assert all(np.ptp(values, axis=0).max() < 1e-6 for values in means.values())
    assert all(np.abs(means[a][0] - means[b][0]).max() > 0.1 for a, b in [(0, 1), (1, 2), (0, 2)])


def test_knobs_do_what_they_say():
    same = simulate.Appearance(confusion=1.0, separation=0.0, noise=0.0, drift=0.0)
    data = simulate.thumos14(appearance=same)
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
        simulate.thumos14("big")
