import numpy as np
import pytest
import torch

from dgam_core import model as models
from dgam_core.errors import InputError
from dgam_core.experiments import inference
from dgam_core.settings import LocalizationSettings
from dgam_core.system import machine
from dgam_core.training import train
from dgam_core.training.train import Job

CPU = torch.device("cpu")


@pytest.fixture
def s(settings):
    return settings.for_stream("rgb")


def test_first_weights_depend_on_the_seed_and_leave_the_global_state_alone(s):
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    a, b, c = (models.new_model(5, 2, s, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_stages_share_the_weights_between_them(s):
    model = models.new_model(5, 2, s, 0)
    with model.only_updating("b"):
        assert all(p.requires_grad == name.startswith("cvae") for name, p in model.named_parameters())
    with model.only_updating("a"):
        assert all(p.requires_grad != name.startswith("cvae") for name, p in model.named_parameters())
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("change", [{}, {"background": "last", "classifier_bias": True}])
def test_what_is_restored_predicts_the_same(tiny, s, change):
    s = s.model_copy(update=change)
    (trained,) = train.train(Job(tiny, "rgb", [s], [0], CPU))
    features = inference.load_test_features(tiny, "rgb", s, CPU)
    whole = inference.predict(models.restore(trained.weights, s), features)
    look = inference.predict(models.restore(trained.checkpoints.at(-1), s), features)
    assert {name: len(o.attention) for name, o in whole.items()} == {"v2": 8, "v3": 9}
    for name, outputs in whole.items():
        assert np.array_equal(outputs.attention, look[name].attention)
        assert np.array_equal(outputs.logits, look[name].logits)
    if not change:  # λ and w_cᵀx by hand: two layers with ReLU and sigmoid; one without
        x, w = features["v2"], {name: value.double() for name, value in trained.weights.items()}
        hidden = (x.double() @ w["attention.fc1.weight"].T + w["attention.fc1.bias"]).clamp(min=0)
        lam = 1 / (1 + torch.exp(-(hidden @ w["attention.fc2.weight"].T + w["attention.fc2.bias"])))
        assert np.allclose(whole["v2"].attention, lam[:, 0], atol=1e-6)
        assert np.allclose(whole["v2"].tcam, x.double() @ w["classifier.fc1.weight"].T, atol=1e-6)


@pytest.mark.parametrize("together", [1, 3, 4])  # of four videos
def test_videos_that_a_model_meets_together_come_out_as_alone(tiny, s, monkeypatch, together):
    monkeypatch.setattr(inference, "VIDEOS_AT_ONCE", together)
    x = {name: torch.from_numpy(values) for name, values in tiny.features["rgb"].items()}
    model = models.new_model(5, 2, s, 0)
    found = inference.predict(model, x)
    assert list(found) == list(x)
    for name, values in x.items():
        with torch.no_grad():
            alone = model.attention(values), model.classifier.tcam(values)
        torch.testing.assert_close(torch.from_numpy(found[name].attention), alone[0])
        torch.testing.assert_close(torch.from_numpy(found[name].tcam), alone[1])


def test_weights_of_other_settings_are_refused(tiny, s):
    weights = models.new_model(5, 2, s, 0).state_dict()
    with pytest.raises(ValueError, match="do not fit"):
        models.restore(weights, s.model_copy(update={"classifier_bias": True}))


def test_test_videos_are_sampled_down_and_up(tiny):
    few = inference.load_test_features(tiny, "rgb", LocalizationSettings(max_snippets=4), CPU)
    assert {len(x) for x in few.values()} == {4}
    many = inference.load_test_features(tiny, "rgb", LocalizationSettings(min_snippets=50), CPU)
    assert {len(x) for x in many.values()} == {50}
    assert np.array_equal(many["v2"][::25].numpy(), tiny.features["rgb"]["v2"][[0, 4]])  # ⌊25·8 / 50⌋ = 4


def test_device_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        assert machine.choose_device("auto").type == "cuda"
    else:
        assert machine.choose_device("auto").type == "cpu"
        with pytest.raises(InputError, match="no CUDA device"):
            machine.choose_device("cuda")


def test_reconstruction_error_is_the_squared_distance_a_feature(tiny, s):
    model = models.new_model(5, 2, s, 0)
    with torch.no_grad():  # a decoder that knows nothing but its last bias
        model.cvae.decoder.fc3.weight.zero_()
        model.cvae.decoder.fc3.bias.copy_(torch.arange(5.0))
    features = inference.load_test_features(tiny, "rgb", s, CPU)
    found = inference.reconstruction_error(model, features, s, seed=0)
    expected = ((tiny.features["rgb"]["v2"] - np.arange(5)) ** 2).mean(1)
    assert np.allclose(found["v2"], expected, rtol=1e-5)
    assert found["v3"].shape == (9,)
