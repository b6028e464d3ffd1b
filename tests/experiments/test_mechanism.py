import numpy as np
import pytest
import torch

from dgam_core.experiments.mechanism import (
    attention_by_kind,
    divergence_per_dimension,
    errors_over_attention,
)
from dgam_core.model import new_model
from tests.conftest import outputs_of


@pytest.fixture
def s(settings):
    return settings.training.for_stream("rgb").model_copy(update={"latent_dim": 3, "prior_shift": 0.7})


@pytest.fixture
def model(s):
    return new_model(5, 2, s, seed=0)


@pytest.fixture
def features():
    torch.manual_seed(0)
    return {"u": torch.rand(4, 5), "v": torch.rand(2, 5)}


def test_errors_are_those_of_the_decoder_at_a_given_attention(model, features, s):
    found = errors_over_attention(model, features, s, [0.0, 0.25], seed=3, num_samples=2)
    assert {name: values.shape for name, values in found.items()} == {"u": (2, 4), "v": (2, 2)}
    noise = torch.randn((2, 1, 4, 3), generator=torch.Generator().manual_seed(3))
    for k, level in enumerate((0.0, 0.25)):
        lam = torch.full((2, 1, 4, 1), level)
        x_hat = model.cvae.decoder(torch.cat([lam, 0.7 * level + noise], -1))  # z = rλ + ε
        expected = ((features["u"] - x_hat) ** 2).mean(-1).mean((0, 1)).detach()
        assert found["u"][k] == pytest.approx(expected.numpy(), rel=1e-5)


def test_divergence_is_that_of_the_posterior_from_the_prior(model, features, s):
    found = divergence_per_dimension(model, features, s)
    x = torch.cat([features["u"], features["v"]])
    lam = model.attention(x)
    mu, log_var = (values.detach() for values in model.cvae.encode(x, lam))
    posterior = torch.distributions.Normal(mu, (0.5 * log_var).exp())
    prior = torch.distributions.Normal(0.7 * lam.detach()[:, None].expand(-1, 3), 1.0)
    expected = torch.distributions.kl_divergence(posterior, prior).mean(0)
    assert found == pytest.approx(expected.numpy(), rel=1e-5)


def test_a_posterior_that_is_the_prior_says_nothing(model, features, s):
    with torch.no_grad():
        model.cvae.encoder.fc3.weight.zero_()
        model.cvae.encoder.fc3.bias.zero_()
    found = divergence_per_dimension(model, features, s.model_copy(update={"prior_shift": 0.0}))
    assert found == pytest.approx(np.zeros(3), abs=1e-12)


def test_every_snippet_that_a_network_saw_has_its_kind(tiny):
    a = tiny.subset("test")[0]  # its action is [2 s, 4 s]: snippets 2 and 3
    outputs = {a.name: outputs_of(np.arange(8) / 8, np.zeros((8, 3)))}
    found = attention_by_kind(tiny, outputs)
    assert found == [("action" if t in (2, 3) else "not action", t / 8) for t in range(8)]
