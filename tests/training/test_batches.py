from dataclasses import replace

import numpy as np
import pytest
import torch
from pytest import approx

from dgam_core.data import store
from dgam_core.snippets import checked_features
from dgam_core.training import batches, train
from dgam_core.training.batches import hold_out, load_training_data
from dgam_core.training.train import Job

CPU = torch.device("cpu")


@pytest.fixture(params=["memory", "store"])
def place(request, monkeypatch):
    """Where the features are."""
    if request.param == "store":
        monkeypatch.setattr(batches, "MAX_MEMORY_SHARE", 0.0)
    return request.param


def taken(data, videos, index):
    (batch,) = data.batches([(torch.tensor(videos), torch.tensor(index))])
    return batch


def test_training_data_holds_the_videos_end_to_end(tiny):
    data = load_training_data(tiny, "rgb", CPU)
    assert data.count.tolist() == [6, 7]
    assert data.start.tolist() == [0, 6]
    assert np.array_equal(data.features[6:].numpy(), tiny.features["rgb"]["v1"])
    assert data.target.tolist() == [[0, 1, 0], [0, 0, 1]]  # the background first, then jump and throw


def test_snippets_are_taken_from_the_right_video(tiny, place):
    data = load_training_data(tiny, "rgb", CPU)
    assert (data.features is None) == (place == "store")
    found = taken(data, [1, 0], [[0, 6], [5, 2]])
    assert np.array_equal(found.x[0, 0].numpy(), tiny.features["rgb"]["v1"][[0, 6]])
    assert np.array_equal(found.x[0, 1].numpy(), tiny.features["rgb"]["v0"][[5, 2]])
    assert found.norm[0, 1, 0].item() == approx((tiny.features["rgb"]["v0"][5] ** 2).sum())
    assert found.target.tolist() == [[[0, 0, 1], [0, 1, 0]]]
    second = taken(data.take(np.array([1])), [0], [[3]])
    assert second.target.tolist() == [[[0, 0, 1]]]
    assert np.array_equal(second.x[0, 0].numpy(), tiny.features["rgb"]["v1"][[3]])


def test_batches_come_in_order(tiny, place):
    data = load_training_data(tiny, "rgb", CPU)
    wanted = [(torch.tensor([i % 2]), torch.tensor([[i % 6]])) for i in range(20)]
    for i, batch in enumerate(data.batches(iter(wanted))):
        assert np.array_equal(batch.x[0, 0, 0].numpy(), tiny.features["rgb"][f"v{i % 2}"][i % 6])
    assert i == 19


@pytest.mark.parametrize("matmul", ["float32", "bfloat16"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_training_from_the_store_gives_the_same_bits(tiny, settings, tmp_path, monkeypatch, dtype, matmul):
    narrow = {s: {v: x.astype(dtype) for v, x in own.items()} for s, own in tiny.features.items()}
    store.write(tmp_path / "x.h5", replace(tiny, features=narrow))
    data = store.read(tmp_path / "x.h5")
    s = settings.training.for_stream("rgb").model_copy(update={"matmul": matmul})
    (resident,) = train.train(Job(data, "rgb", [s], [0], CPU))
    monkeypatch.setattr(batches, "MAX_MEMORY_SHARE", 0.0)
    (streamed,) = train.train(Job(data, "rgb", [s], [0], CPU))
    assert all(torch.equal(resident.weights[name], value) for name, value in streamed.weights.items())
    assert np.array_equal(resident.checkpoints.held_out, streamed.checkpoints.held_out)


def test_features_take_their_own_size_and_no_more(tiny):
    half = {s: {v: x.astype(np.float16) for v, x in own.items()} for s, own in tiny.features.items()}
    data = load_training_data(replace(tiny, features=half), "rgb", CPU)
    assert data.features.dtype == torch.float16
    (_, first), *_ = checked_features(replace(tiny, features=half), "rgb", tiny.subset("train"))
    assert data.norm[0].item() == approx(float((first[0].astype(np.float64) ** 2).sum()), rel=1e-5)
    assert taken(data, [0], [[0]]).x.dtype == torch.float32


def test_features_that_are_rounded_are_kept_so_and_their_norm_is_exact(tiny):
    data = load_training_data(tiny, "rgb", CPU, rounded=torch.bfloat16)
    assert data.features.dtype == torch.bfloat16
    batch = taken(data, [1], [[3]])
    exact = tiny.features["rgb"]["v1"][3]
    assert batch.x.dtype == torch.bfloat16
    assert batch.x[0, 0, 0].float().numpy() == approx(exact, rel=2**-8)  # 8 bits
    assert batch.norm.item() == approx(float((exact.astype(np.float64) ** 2).sum()), rel=1e-6)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_videos_are_held_out_from_all_classes_alike(share):
    target = torch.eye(5)[torch.arange(100) % 4 + 1]  # 25 videos of each of 4 classes
    kept, out = hold_out(target, share, 0)
    assert sorted([*kept, *out]) == list(range(100))
    assert len(out) == round(100 * share)
    per_class = np.bincount(out % 4, minlength=4)
    assert per_class.max() - per_class.min() <= 1


def test_which_videos_are_held_out_depends_on_the_seed():
    target = torch.eye(5)[torch.arange(100) % 4 + 1]
    (_, a), (_, b), (_, c) = (hold_out(target, 0.2, seed) for seed in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
