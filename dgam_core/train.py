"""Training: the two alternating stages (sections 3.3 and 3.4, Fig. 3), one model a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dgam_core import losses
from dgam_core.attention import AttentionModule, pool_background, pool_foreground
from dgam_core.classifier import Classifier, background_tcam, foreground_tcam
from dgam_core.cvae import CVAE, prior_mean, sample
from dgam_core.errors import InputError
from dgam_core.outputs import Outputs, Trained
from dgam_core.params import TrainingSettings
from dgam_core.snippets import DataSet, checked_features, sample_test, sample_training


class Model(nn.Module):
    """The modules of Fig. 3: attention and classification, updated in stage (a), and the CVAE, in (b)."""

    def __init__(self, dim: int, num_classes: int, settings: TrainingSettings) -> None:
        super().__init__()
        self.attention = AttentionModule(dim, settings.attention_hidden)
        self.classifier = Classifier(dim, num_classes)
        self.cvae = CVAE(dim, settings.cvae_hidden, settings.latent_dim)

    def stage_parameters(self, stage: str) -> list[nn.Parameter]:
        """Weights that stage "a" or "b" updates."""
        if stage == "b":
            return list(self.cvae.parameters())
        return [*self.attention.parameters(), *self.classifier.parameters()]


@dataclass(frozen=True)
class TrainingData:
    """All training videos of one stream, end to end, on the training device.

    Attributes:
        features: snippets of all videos, (S, D) float32.
        start: index of each video's first snippet, (N,).
        count: snippets of each video, (N,).
        target: label distribution over background and classes, (N, C + 1).
    """

    features: Tensor
    start: Tensor
    count: Tensor
    target: Tensor


def choose_device(name: str) -> torch.device:
    """Return the device that "auto", "cpu" or "cuda" means on this machine."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device = 'cuda': this machine has no CUDA device; use 'auto' or 'cpu'")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def load_training_data(data: DataSet, stream: str, device: torch.device) -> TrainingData:
    """Load and check the training videos of one stream."""
    videos = data.subset("train")
    arrays = [
        torch.from_numpy(np.asarray(values, dtype=np.float32))
        for _, values in checked_features(data, stream, videos)
    ]
    count = torch.tensor([len(array) for array in arrays])
    # Column 0 is the background's; y / Σy for videos of several classes.
    target = torch.tensor(
        [[0, *(c in video.labels for c in data.classes)] for video in videos], dtype=torch.float32
    )
    target /= target.sum(1, keepdim=True)
    return TrainingData(
        torch.cat(arrays).to(device),
        (count.cumsum(0) - count).to(device),
        count.to(device),
        target.to(device),
    )


def new_model(dim: int, num_classes: int, settings: TrainingSettings, seed: int) -> Model:
    """Build a model whose first weights depend on `seed` alone; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Model(dim, num_classes, settings)


@contextmanager
def only_updating(model: Model, stage: str) -> Iterator[None]:
    """Freeze all weights but those of `stage`; gradients still pass through frozen modules."""
    model.requires_grad_(False)
    for parameter in model.stage_parameters(stage):
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        model.requires_grad_(True)


def stage_a_losses(
    model: Model, x: Tensor, target: Tensor, s: TrainingSettings, warmup: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Losses of stage (a), Eq. (16): attention and classifier learn, the CVAE is frozen.

    Args:
        x: snippet features, (B, T, D).
        target: label distribution, (B, C + 1).
        s: settings, resolved for the stream; a loss of weight 0 is not computed.
        warmup: factor of L_re in [0, 1] (section 4.2).
        generator: source of z.
    Returns:
        Each loss by name; "total" is the one to minimize.
    """
    lam = model.attention(x)
    out = {"fg": losses.foreground_loss(model.classifier(pool_foreground(x, lam)), target)}
    zero = x.new_zeros(())
    out["bg"] = losses.background_loss(model.classifier(pool_background(x, lam))) if s.alpha else zero
    out["re"] = _reconstruction(model, x, lam, s, generator) if s.gamma_re else zero
    out["guide"] = _guide(model, x, lam, target, s) if s.gamma_guide else zero
    l_d = losses.discriminative_loss(out["fg"], out["bg"], s.alpha)
    per = x.shape[-2] * x.shape[-1] if s.gamma_re_per == "element" else 1
    gamma_re = warmup * _scalar(s.gamma_re) / per
    out["total"] = losses.total_loss(l_d, out["re"], out["guide"], gamma_re, s.gamma_guide)
    return out


def _reconstruction(
    model: Model, x: Tensor, lam: Tensor, s: TrainingSettings, generator: torch.Generator
) -> Tensor:
    z = sample(prior_mean(lam, s.prior_shift, s.latent_dim), None, s.num_samples, generator)
    return losses.reconstruction_loss(losses.log_likelihood(x, model.cvae.decode(lam, z), s.sigma))


def _guide(model: Model, x: Tensor, lam: Tensor, target: Tensor, s: TrainingSettings) -> Tensor:
    logits = model.classifier(x)
    lam_fg = foreground_tcam(logits, target > 0, s.sigma_tcam)
    return losses.guide_loss(lam, lam_fg, background_tcam(logits, s.sigma_tcam))


def stage_b_losses(
    model: Model, x: Tensor, s: TrainingSettings, warmup: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Losses of stage (b), Eq. (10): the CVAE learns from the attention as a pseudo label.

    Arguments and result as in `stage_a_losses`.
    """
    with torch.no_grad():
        lam = model.attention(x)
    mu, log_var = model.cvae.encode(x, lam)
    z = sample(mu, log_var, s.num_samples, generator)
    log_p = losses.log_likelihood(x, model.cvae.decode(lam, z), s.sigma)
    kl = losses.kl_divergence(mu, log_var, prior_mean(lam, s.prior_shift, s.latent_dim))
    l_cvae = losses.cvae_loss(log_p, kl, s.beta)
    return {"log_likelihood": log_p.mean(), "kl": kl.mean(), "cvae": l_cvae, "total": warmup * l_cvae}


def train(
    data: DataSet,
    stream: str,
    settings: TrainingSettings,
    seed: int,
    device: torch.device,
    progress: Callable[[int], object],
) -> Trained:
    """Train one stream's model by the two stages in turn and apply it to the test videos.

    Args:
        data: the data set.
        stream: which of its streams.
        settings: settings, resolved for the stream.
        seed: seed of the first weights, the batches, the snippets drawn and z.
        device: where to compute.
        progress: called with the epochs done, after each.
    """
    train_data = load_training_data(data, stream, device)
    dim = train_data.features.shape[1]
    model = new_model(dim, len(data.classes), settings, seed).to(device)
    adams = {
        stage: torch.optim.Adam(model.stage_parameters(stage), lr=settings.learning_rate)
        for stage in ("a", "b")
    }
    generator = torch.Generator(device).manual_seed(seed)
    history: list[dict[str, Tensor]] = []
    with _threads_for(settings.batch_size * settings.num_snippets * dim):
        for epoch in range(1, settings.epochs + 1):
            history.append(_epoch(model, adams, train_data, settings, epoch, generator))
            progress(epoch)
    curves = {name: torch.stack([row[name] for row in history]).cpu().numpy() for name in history[0]}
    if broken := [name for name, values in curves.items() if not np.isfinite(values).all()]:
        raise InputError(
            f"{data.name}, {stream}, seed {seed}: the loss {broken[0]!r} is infinite or undefined after "
            f"{int(np.argmin(np.isfinite(curves[broken[0]])))} epochs; lower learning_rate"
        )
    outputs = predict(model, data, stream, settings.max_snippets, device)
    return Trained({name: value.cpu() for name, value in model.state_dict().items()}, curves, outputs)


@contextmanager
def _threads_for(batch_elements: int) -> Iterator[None]:
    """Use one CPU thread for small batches: a second one gains nothing there and, where other
    programs run, waiting for it takes longer than the work."""
    before = torch.get_num_threads()
    if batch_elements < 200_000:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _epoch(
    model: Model,
    adams: dict[str, torch.optim.Adam],
    data: TrainingData,
    s: TrainingSettings,
    epoch: int,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """One pass of stage (b), then one of stage (a), over the same batches; mean losses by name."""
    warmup = min(1.0, epoch / s.warmup_epochs) if s.warmup_epochs else 1.0
    index = data.start[:, None] + sample_training(data.count, s.num_snippets, generator)
    order = torch.randperm(len(index), generator=generator, device=index.device)
    sums: dict[str, Tensor] = {}
    # Without L_re in Eq. (16) the CVAE touches nothing, and Table 4's rows leave it out.
    for stage in ("b", "a") if s.gamma_re else ("a",):
        with only_updating(model, stage):
            for batch in torch.split(order, s.batch_size):
                x = data.features[index[batch]]
                if stage == "b":
                    out = stage_b_losses(model, x, s, warmup, generator)
                else:
                    out = stage_a_losses(model, x, data.target[batch], s, warmup, generator)
                adams[stage].zero_grad()
                out.pop("total").backward()  # type: ignore[no-untyped-call]
                adams[stage].step()
                for name, value in out.items():
                    sums[name] = sums.get(name, 0) + value.detach() * len(batch) / len(order)
    return sums


def restore(weights: dict[str, Tensor], settings: TrainingSettings) -> Model:
    """Rebuild a trained model; the sizes that settings do not hold are those of the weights."""
    num_classes_and_background, dim = weights["classifier.fc1.weight"].shape
    model = Model(dim, num_classes_and_background - 1, settings)
    model.load_state_dict(weights)
    return model


@torch.no_grad()
def predict(
    model: Model, data: DataSet, stream: str, max_snippets: int, device: torch.device
) -> dict[str, Outputs]:
    """Apply a model to the test videos: all their snippets, or `max_snippets` of them (section 4.2)."""
    outputs = {}
    dim = model.classifier.fc1.in_features
    for video, values in checked_features(data, stream, data.subset("test"), dim):
        index = sample_test(len(values), max_snippets)
        x = torch.from_numpy(np.asarray(values[index], dtype=np.float32)).to(device)
        outputs[video.name] = Outputs(model.attention(x).cpu().numpy(), model.classifier(x).cpu().numpy())
    return outputs


def _scalar(value: float | dict[str, float]) -> float:
    if isinstance(value, dict):
        raise TypeError("per-stream settings must be resolved with `for_stream` first")
    return value
