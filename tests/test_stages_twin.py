"""A step of each stage with `released` against a plain twin, written from what the released code does."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from dgam_core.departures import preset
from dgam_core.model import new_model
from dgam_core.stages import stage_a, stage_b, warmup

B, T, D, C, H, Z = 3, 12, 7, 4, 6, 5
EPOCH = 137  # in the block of ten that begins at 130
GAMMA_RE = {"rgb": 0.5, "flow": 0.3}


def mlp(x, module):
    """Linear layers, with a ReLU after each but the last."""
    for name in ("fc1", "fc2", "fc3"):
        x = x @ module[f"{name}.weight"].T + module[f"{name}.bias"]
        x = x if name == "fc3" else torch.relu(x)
    return x


def part(weights, name):
    return {
        key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")
    }


def attention(x, weights):
    hidden = torch.relu(x @ weights["attention.fc1.weight"].T + weights["attention.fc1.bias"])
    return torch.sigmoid(hidden @ weights["attention.fc2.weight"].T + weights["attention.fc2.bias"])[..., 0]


def cross_entropy(logits, target):
    return -(target * torch.log_softmax(logits, -1)).sum(-1).mean()


def twin_a(weights, x, labels, noise, stream):
    """L_fg + 0.03·L_bg + γ1·min(e, 300)/300·L_re + 0.1·L_guide; the background is the last class."""
    W, b = weights["classifier.fc1.weight"], weights["classifier.fc1.bias"]
    lam = attention(x, weights)
    x_fg = torch.stack([(lam[i, :, None] * x[i]).sum(0) / (lam[i].sum() + 1) for i in range(B)])
    x_bg = torch.stack(
        [((1 - lam[i, :, None]) * x[i]).sum(0) / ((1 - lam[i]).sum() + 1e-6) for i in range(B)]
    )
    y = torch.cat([labels, torch.zeros(B, 1, dtype=x.dtype)], 1)
    background = torch.tensor([0.0] * C + [1.0], dtype=x.dtype)
    l_fg = cross_entropy(x_fg @ W.T + b, y / y.sum(1, keepdim=True))
    l_bg = cross_entropy(x_bg @ W.T + b, background)
    z = lam[..., None] + noise
    x_hat = mlp(torch.cat([lam[..., None], z], -1), part(weights, "cvae.decoder"))
    l_re = ((x - x_hat) ** 2).mean()
    p = torch.softmax(x @ W.T, -1).detach().numpy()  # without the bias, and without a gradient
    guides = []
    for i in range(B):
        smooth = gaussian_filter1d(p[i], 1.0, axis=0, mode="reflect", truncate=4.0)
        of_class = np.max([smooth[:, c] for c in range(C) if labels[i, c] > 0], axis=0)
        of_action = sum(smooth[:, c] for c in range(C))
        guides += [(lam[i] - torch.from_numpy(of_class)).abs(), (lam[i] - torch.from_numpy(of_action)).abs()]
    l_guide = 2 * torch.stack(guides).mean()  # the mean of each of the two
    return l_fg + 0.03 * l_bg + GAMMA_RE[stream] * 130 / 300 * l_re + 0.1 * l_guide


def twin_b(weights, x, noise):
    """10·min(e, 300)/300 times the mean square and a tenth of the mean KL divergence."""
    lam = attention(x, weights).detach()
    mean, log_var = mlp(torch.cat([x, lam[..., None]], -1), part(weights, "cvae.encoder")).chunk(2, -1)
    z = mean + torch.exp(0.5 * log_var) * noise
    x_hat = mlp(torch.cat([lam[..., None], z], -1), part(weights, "cvae.decoder"))
    kl = -0.5 * (1 + log_var - (mean - lam[..., None]) ** 2 - log_var.exp())
    return 10 * 130 / 300 * (((x - x_hat) ** 2).mean() + 0.1 * kl.mean())


@pytest.fixture
def case():
    """Weights, features and labels, one video with two of them; attention from nearly 0 to nearly 1."""
    sizes = {"attention_hidden": H, "cvae_hidden": H, "latent_dim": Z}
    settings = preset("released", "thumos14").training.model_copy(update=sizes)
    model = new_model(D, C, settings.for_stream("rgb"), seed=0).double()
    torch.manual_seed(2)
    with torch.no_grad():
        model.attention.fc2.weight.mul_(100)
        model.attention.fc2.bias.fill_(-8)
    labels = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]], dtype=torch.float64)
    return settings, model, torch.randn(B, T, D, dtype=torch.float64), labels


def gradients(loss, parameters):
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return {name: value for name, value in zip(parameters, found, strict=True) if value is not None}


@pytest.mark.parametrize("stream", ["rgb", "flow"])
@pytest.mark.parametrize("stage", ["a", "b"])
def test_a_step_of_released_is_that_of_its_plain_twin(case, stage, stream):
    settings, model, x, labels = case
    s = settings.for_stream(stream)
    lam = model.attention(x)
    assert lam.min() < 1e-6  # no margin keeps attention from its limits
    assert lam.max() > 1 - 1e-6
    y = labels / labels.sum(1, keepdim=True)
    target = torch.cat([torch.zeros(B, 1, dtype=x.dtype), y], 1)  # the background first
    ours = (stage_a if stage == "a" else stage_b)(
        model, x, target, s, warmup(s, EPOCH), torch.Generator().manual_seed(5)
    )
    noise = torch.randn((1, B, T, Z), generator=torch.Generator().manual_seed(5), dtype=x.dtype)[0]
    weights = dict(model.named_parameters())
    loss = twin_a(weights, x, labels, noise, stream) if stage == "a" else twin_b(weights, x, noise)
    updated = {
        name: weights[name]
        for name in weights
        if name.startswith("cvae." if stage == "b" else ("attention.", "classifier."))
    }
    mine, theirs = gradients(ours["total"], updated), gradients(loss, updated)
    assert set(mine) == set(theirs)
    for name, gradient in theirs.items():
        assert (mine[name] - gradient).abs().max() <= 1e-13 * max(1, gradient.abs().max()), name
    # −log p is the square with a constant, which stands once in each stage's loss
    weight = (GAMMA_RE[stream] if stage == "a" else 10) * 130 / 300
    constant = weight * np.log(np.pi) / 2
    assert ours["total"].item() == pytest.approx(loss.item() + constant, rel=1e-12)
