"""What surrounds CUDA graphs, without CUDA: a "recording" here does its body anew, from the same places.

That a graph does what its body does, `test_gpu.py` tests on a GPU.
"""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from dgam_core.training import fit as fitting
from dgam_core.training import graphs
from dgam_core.training.batches import TrainingData, load_training_data
from dgam_core.training.fit import Fit

CPU = torch.device("cpu")


@pytest.fixture
def said(monkeypatch):
    """Stand-ins for what needs CUDA; what they were asked to do, in turn."""
    said = []

    @contextmanager
    def aside():
        said.append("on_side_stream")
        yield

    def record(body, generator):
        said.append("record")

        def replay():
            said.append("replay")
            return body()

        return replay

    monkeypatch.setattr(graphs, "on_side_stream", aside)
    monkeypatch.setattr(graphs, "record", record)
    return said


def fit_of(tiny, settings, replayed):
    """Of four videos in batches of three: one whole, one of a single video."""
    data = replace(tiny, videos=tuple(replace(video, subset="train") for video in tiny.videos))
    s = settings.training.for_stream("rgb").model_copy(update={"batch_size": 3, "warmup_epochs": 8})
    fit = Fit(
        [load_training_data(data, "rgb", CPU)] * 2, [s, s.model_copy(update={"beta": 0.5})], [0, 0], CPU
    )
    if replayed:
        fit._steps = {
            stage: graphs.Replayed(step, fit.draws[0].noise) for stage, step in Fit._new_steps(fit).items()
        }
    return fit


def test_replayed_steps_see_each_batch_and_each_epochs_factors(tiny, settings, said):
    plain, replayed = (fit_of(tiny, settings, how) for how in (False, True))
    for _ in range(9):
        plain.epoch()
        replayed.epoch()
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, replayed.model.state_dict()[name]), name
    for name, values in plain.curves().items():
        assert (values == replayed.curves()[name]).all(), name
    # Two stages and two sizes, a step of each an epoch: the first three are launched one by one.
    assert (said.count("on_side_stream"), said.count("record"), said.count("replay")) == (12, 4, 24)


def test_what_was_restored_is_recorded_anew(tiny, settings, said):
    fit = fit_of(tiny, settings, True)
    for _ in range(5):
        fit.epoch()
    state, before = fit.state(), fit._steps
    fit.restore(state)
    assert all(fit._steps[stage] is not step for stage, step in before.items())


def test_an_epoch_asks_a_device_for_no_value(settings, monkeypatch):
    """PyTorch's device "meta" has shapes, no values: asking for one is an error, and so is mixing devices."""
    meta = torch.device("meta")
    monkeypatch.setattr(fitting, "_generator", lambda *_: torch.Generator())
    adam = torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda *a, fused, capturable, **k: adam(*a, **k))
    count = torch.tensor([6, 7, 8, 9])
    features, norm = (torch.empty(30, *size, device=meta) for size in ((5,), ()))
    target = torch.empty(4, 3, device=meta)
    data = TrainingData(features, norm, target, count.cumsum(0) - count, count, 5, 1, read=lambda i: None)
    s = settings.training.for_stream("rgb").model_copy(update={"batch_size": 3, "num_samples": 2})
    fit = Fit([data] * 2, [s, s.model_copy(update={"beta": 0.5})], [0, 0], meta)
    fit.epoch()
    assert {(value.device, value.shape) for value in fit.losses.values()} == {(meta, (2,))}
    with pytest.raises(RuntimeError, match="meta"):
        fit.losses["fg"].sum().item()
