"""The losses of `stages` with their gradients, computed fast, for one run or for a stack of runs.

A stack of R runs has weights of its own for each run, (R, O, I). All runs see one batch, S = 1, or each run
sees one of its own, S = R. A step computes the losses and, by the chain rule written out, the gradients
together, without a graph of operations:

- Whatever multiplies shared features does so in as few products as possible. Pooling and classifier are both
  linear, so the pooled w_cᵀx_t stand for w_cᵀx_fg, and no x_fg is computed.
- With the decoder's last layer x̂ = W·h + b, the losses need ‖x − x̂‖², not x̂. Where D is large,
  ‖x − W·h − b‖² = ‖x‖² − 2·bᵀx + ‖b‖² + hᵀ(WᵀW·h + 2·Wᵀb − 2·Wᵀx) replaces arrays as large as the features.
- In stage (a), W_z·z = W_z·ε + λ·r·W_z·1: the gradient reaches λ without passing z.
- A batch passes in pieces of a few videos, whose activations stay in the processor's cache.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Self, TypeVar

import torch
from torch import Tensor, nn

from dgam_core.attention import LEAST_WEIGHT
from dgam_core.classifier import Classifier, gaussian_matrix
from dgam_core.model import Model
from dgam_core.settings import TrainingSettings, scalar
from dgam_core.training.processes import Part
from dgam_core.training.products import (
    affine,
    per_run,
    product_gradients,
    products,
    relu_gradient,
    weight_gradient,
)

# Settings in which the runs of a stack may differ; they enter the losses as factors.
PER_RUN = (
    "alpha", "beta", "cvae_per", "cvae_weight", "fg_weight", "gamma_guide", "gamma_re", "gamma_re_per",
    "pool_offset_bg", "pool_offset_fg", "prior_shift", "sigma", "warmup_epochs", "warmup_re", "warmup_step",
)  # fmt: skip
# Hidden activations of a piece of a batch on the CPU: its arrays then fit in the second-level caches.
PIECE = 2**20

Module = TypeVar("Module", bound=nn.Module)


def stack_key(settings: TrainingSettings) -> TrainingSettings:
    """Return what runs must have in common to train as a stack: equal keys may."""
    plain = {name: TrainingSettings.model_fields[name].default for name in PER_RUN}
    # A run without L_re has no stage (b).
    return settings.model_copy(update=plain | {"gamma_re": float(bool(settings.gamma_re))})


def stack(modules: Sequence[Module]) -> Module:
    """Return a stack of R modules, each of a single run, as copies."""
    stacked = copy.deepcopy(modules[0])
    for values, *of_runs in zip(stacked.parameters(), *(m.parameters() for m in modules), strict=True):
        values.data = torch.stack([parameter.detach() for parameter in of_runs])
    return stacked


def copy_runs(to: Module, of: Module, runs: Sequence[int]) -> None:
    """Make `to`, a stack of any size, a copy of some runs of a stack."""
    for parameter, values in zip(to.parameters(), of.parameters(), strict=True):
        parameter.data = values.detach()[runs]


def send(values: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on a device, without waiting for it to arrive there."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


@contextmanager
def matmul(arithmetic: str) -> Iterator[None]:
    """Let products of matrices on CUDA be rounded to TF32 within the block if `arithmetic` is "tf32"."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = arithmetic == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@dataclass(frozen=True)
class Factors:
    """What `PER_RUN` comes to in an epoch: a number per run, (R,).

    Attributes:
        fg_weight: weight of L_fg.
        alpha: α, weight of L_bg.
        gamma_re: γ1 with its warm-up.
        gamma_guide: γ2.
        offset_fg: what is added to the denominator of Eq. (4).
        offset_bg: what is added to the denominator of Eq. (5).
        r: r of the prior.
        sigma: σ.
        log_p_weight: weight of −log p in Eq. (10).
        beta: β, weight of the KL divergence in Eq. (10).
        cvae_weight: weight of L_CVAE, its warm-up.
    """

    fg_weight: Tensor
    alpha: Tensor
    gamma_re: Tensor
    gamma_guide: Tensor
    offset_fg: Tensor
    offset_bg: Tensor
    r: Tensor
    sigma: Tensor
    log_p_weight: Tensor
    beta: Tensor
    cvae_weight: Tensor

    @classmethod
    def of(cls, s: TrainingSettings, warmup: float, T: int, D: int) -> Self:
        """Return the factors of a single run, (); some settings weigh means over T snippets or D features.

        Args:
            s: settings, resolved for the stream.
            warmup: what `stages.warmup` returns.
            T: snippets drawn from a video.
            D: size of the features.
        """
        gamma_re = (warmup if s.warmup_re else 1.0) * scalar(s.gamma_re)
        elements = s.cvae_per == "element"
        values = {
            "fg_weight": scalar(s.fg_weight),
            "alpha": s.alpha,
            "gamma_re": gamma_re / (T * D if s.gamma_re_per == "element" else 1),
            "gamma_guide": s.gamma_guide,
            "offset_fg": s.pool_offset_fg,
            "offset_bg": s.pool_offset_bg,
            "r": s.prior_shift,
            "sigma": s.sigma,
            "log_p_weight": 1 / D if elements else 1.0,
            "beta": s.beta / (s.latent_dim if elements else 1),
            "cvae_weight": warmup * s.cvae_weight,
        }
        return cls(**{name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()})

    @classmethod
    def stack(cls, runs: Sequence[Self], like: Tensor) -> Self:
        """Put the factors of single runs together, (R,), with the type and the device of `like`."""
        rows = [torch.stack([getattr(run, field.name) for run in runs]) for field in fields(cls)]
        return cls(*send(torch.stack(rows).to(like.dtype), like.device))

    def of_runs(self, runs: Sequence[int]) -> Self:
        """Return the factors of some runs."""
        return type(self)(*torch.stack([getattr(self, field.name) for field in fields(self)])[:, runs])


@dataclass(frozen=True)
class Batch:
    """A batch of videos for all runs of a stack, S = 1, or a batch for each run, S = R.

    Attributes:
        x: snippet features, (S, B, T, D), rounded or not.
        norm: ‖x‖² of each snippet, (S, B, T).
        target: label distribution, (S, B, C + 1).
        max_labels: most classes that any training video has.
        part: which videos of a batch on several processes these are; None on one.
        noise: ε, (S, L, B, T, Z); None where no z is needed.
        snippet_target: class distribution of each snippet, (S, B, T, C + 1); None where training is told the
            labels of a video alone.
    """

    x: Tensor
    norm: Tensor
    target: Tensor
    max_labels: int
    part: Part | None = None
    noise: Tensor | None = None
    snippet_target: Tensor | None = None

    @property
    def size(self) -> int:
        """B."""
        return self.x.shape[1]

    @classmethod
    def join(cls, batches: Sequence[Self]) -> Self:
        """Put batches of one size together, each for single runs; one batch alone stays for all runs."""
        if len(batches) == 1:
            return batches[0]
        noises = [batch.noise for batch in batches if batch.noise is not None]
        told = [batch.snippet_target for batch in batches if batch.snippet_target is not None]
        return cls(
            torch.cat([batch.x for batch in batches]),
            torch.cat([batch.norm for batch in batches]),
            torch.cat([batch.target for batch in batches]),
            batches[0].max_labels,
            noise=torch.cat(noises) if noises else None,
            snippet_target=torch.cat(told) if told else None,
        )


Losses = dict[str, Tensor]
Gradients = list[Tensor]


def stage_a_losses(model: Model, batch: Batch, s: TrainingSettings, f: Factors) -> Losses:
    """Compute the losses of `stages.stage_a` for each run of a stack, and set the gradients of their sum.

    No run's loss depends on the weights of another, so these are the gradients of each run.

    Args:
        model: a stack of runs; attention and classifier get gradients, in place of those they had.
        batch: what they learn from; with noise, unless s.gamma_re is 0.
        s: settings, resolved for the stream; of those in `PER_RUN` it only counts which weights are zero.
            A loss of weight zero counts as zero.
        f: the factors of each run.
    Returns:
        Each loss by name, (R,); "total" is the one to minimize.
    """
    with torch.no_grad():
        decoder = _Decoder(model, trains=False) if s.gamma_re else None
        losses, gradients = _sum(
            _stage_a(model, decoder, piece, s, f, batch.size) for piece in _pieces(model, batch)
        )
        l_d = f.fg_weight * losses["fg"] + f.alpha * losses["bg"]  # Eq. (6)
        loss = l_d + f.gamma_re * losses["re"] + f.gamma_guide * losses["guide"]  # Eq. (16)
    set_gradients(model, "a", gradients)
    return losses | {"total": loss}


def stage_b_losses(model: Model, batch: Batch, s: TrainingSettings, f: Factors) -> Losses:
    """Compute the losses of `stages.stage_b` for each run of a stack; the CVAE gets the gradients.

    Arguments and result as in `stage_a_losses`.
    """
    snippets = batch.norm[0].numel()
    with torch.no_grad():
        decoder = _Decoder(model, trains=True)
        losses, gradients = _sum(
            _stage_b(model, decoder, piece, f, snippets) for piece in _pieces(model, batch)
        )
        losses["cvae"] = -f.log_p_weight * losses["log_likelihood"] + f.beta * losses["kl"]  # Eq. (10)
        loss = f.cvae_weight * losses["cvae"]
        scale = f.cvae_weight * f.log_p_weight / (snippets * s.num_samples * f.sigma**2)
        gradients = [per_run(scale, gradient) * gradient for gradient in gradients]
    set_gradients(model, "b", gradients)
    return losses | {"total": loss}


@torch.no_grad()
def classification_losses(model: Model, batch: Batch) -> Tensor:
    """L_fg of Eq. (6), (R,), of each run of a stack, pooled without an offset as in a test."""
    hidden, tcam = products(batch.x, attention_and_classifier(model))
    lam = _attention(model, hidden.relu_())
    _, b, T = batch.norm.shape
    lam, tcam = lam.view(-1, b, 1, T), tcam.reshape(len(tcam), b, T, -1)
    logits = (lam @ tcam / lam.sum(-1, keepdim=True).clamp_min(LEAST_WEIGHT)).squeeze(2)
    bias = model.classifier.fc1.bias
    log_p = (logits if bias is None else logits + bias[:, None]).log_softmax(-1)
    return -(as_stored(model.classifier, batch.target) * log_p).sum(-1).mean(-1)


# ---- one piece of a batch ----


def _pieces(model: Model, batch: Batch) -> Iterator[Batch]:
    """Cut a batch on the CPU into pieces of a few videos."""
    runs, hidden, _ = model.attention.fc1.weight.shape
    count = 1
    if batch.x.device.type == "cpu":
        count = min(batch.size, -(-runs * hidden * batch.norm[0].numel() // PIECE))
    parts = [values.chunk(count, 1) for values in (batch.x, batch.norm, batch.target)]
    noises = [None] * len(parts[0]) if batch.noise is None else batch.noise.chunk(count, 2)
    for x, norm, target, noise in zip(*parts, noises, strict=True):
        yield replace(batch, x=x, norm=norm, target=target, noise=noise)


def set_gradients(model: Model, stage: str, gradients: Sequence[Tensor]) -> None:
    """Give the weights of a stage their gradients, in the order in which the fused Adam reads memory."""
    for parameter, gradient in zip(model.stage_parameters(stage), gradients, strict=True):
        parameter.grad = gradient.contiguous()


def _sum(pieces: Iterator[tuple[Losses, Gradients]]) -> tuple[Losses, Gradients]:
    """Add up losses and gradients of the pieces of a batch."""
    losses, gradients = next(pieces)
    for more_losses, more in pieces:
        losses = {name: value + more_losses[name] for name, value in losses.items()}
        for gradient, another in zip(gradients, more, strict=True):
            gradient.add_(another)
    return losses, gradients


class _Decoder:
    """f_ψ(λ, z) = W·h + b, and the squared distance of the features from it.

    Args:
        model: a stack of runs; its weights stay as they are while this is used.
        trains: whether the decoder itself gets gradients.
    """

    def __init__(self, model: Model, trains: bool) -> None:
        self.trains = trains
        self.fc1, self.fc2 = model.cvae.decoder.fc1, model.cvae.decoder.fc2
        self.W, self.b = model.cvae.decoder.fc3.weight, model.cvae.decoder.fc3.bias  # (R, D, K), (R, D)
        self.of_lam, self.of_z = self.fc1.weight[..., 0], self.fc1.weight[..., 1:]
        _, D, K = self.W.shape
        # The expanded square replaces one product with W by two with K×K matrices if W learns, else by one.
        self.expands = (2 * K if trains else K) < D
        if self.expands:
            self.gram = self.W.mT @ self.W  # (R, K, K)
            self.wb = (self.b.unsqueeze(1) @ self.W).squeeze(1)  # Wᵀb, (R, K)

    def weights(self) -> list[tuple[Tensor, Tensor | None]]:
        """Return the weights that the features are multiplied by, if any."""
        return [(self.W.mT, None)] if self.expands else []

    def train(
        self, piece: Batch, lam: Tensor, z: Tensor, xw: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Gradients]:
        """Return Σ‖x − x̂‖², (R,), and half its gradients for z, (R, L, n, Z), and the decoder's weights."""
        L = z.shape[1]
        flat = z.flatten(1, 2)
        lams = lam.repeat(1, L).unsqueeze(-1)
        g1 = affine(flat, self.of_z, self.fc1.bias)
        g1.addcmul_(lams, self.of_lam[:, None]).relu_()
        g2 = affine(g1, self.fc2.weight, self.fc2.bias).relu_()
        squared, d_g2, of_last = self._distance(piece, g2, L, xw)
        d_g2 = relu_gradient(d_g2, g2)
        d_g1 = relu_gradient(affine(d_g2, self.fc2.weight.mT), g1)
        d_z = affine(d_g1, self.of_z.mT)
        d_first = torch.cat([weight_gradient(d_g1, lams), weight_gradient(d_g1, flat)], -1)
        of_second = [weight_gradient(d_g2, g1), d_g2.sum(1)]
        return squared.sum((1, 2)), d_z.view(z.shape), [d_first, d_g1.sum(1), *of_second, *of_last]

    def reconstruction(
        self, piece: Batch, lam: Tensor, xw: Sequence[Tensor], f: Factors, B: int, d_lam: Tensor
    ) -> Tensor:
        """Return L_re of Eq. (11), (R,), and add its gradient to `d_lam`, (R, n)."""
        noise = piece.noise
        assert noise is not None
        L, D = noise.shape[1], piece.x.shape[-1]
        v = f.r[:, None] * self.of_z.sum(-1) + self.of_lam  # what λ is multiplied by, through z and directly
        (g1,) = products(noise, [(self.of_z, self.fc1.bias)])
        g1.addcmul_(lam.repeat(1, L).unsqueeze(-1), v[:, None]).relu_()
        g2 = affine(g1, self.fc2.weight, self.fc2.bias).relu_()
        squared, d_g2, _ = self._distance(piece, g2, L, xw)
        log_p = -squared / per_run(2 * f.sigma**2, squared)
        constant = math.log(L) + D / 2 * (2 * math.pi * f.sigma**2).log()
        l_re = (constant * lam.shape[1] - log_p.logsumexp(1).sum(-1)) / B
        if L > 1:
            d_g2 *= log_p.softmax(1).view(len(lam), -1, 1)
        d_g1 = relu_gradient(affine(relu_gradient(d_g2, g2), self.fc2.weight.mT), g1)
        d_lams = (d_g1 @ v.unsqueeze(-1)).view(len(lam), L, -1)
        d_lam += d_lams.sum(1) * (f.gamma_re / (B * f.sigma**2))[:, None]
        return l_re

    def _distance(
        self, piece: Batch, h: Tensor, L: int, xw: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Gradients]:
        """Return ‖x − x̂‖², (R, L, n), and half its gradients for h and, where it trains, for W and b."""
        x, W, b = piece.x.flatten(1, 2), self.W, self.b
        R, n = len(h), x.shape[1]
        if not xw:
            error = affine(h, W, b)
            error.view(R, L, n, -1).sub_(x.unsqueeze(1))
            squared = torch.linalg.vector_norm(error, dim=-1).square().view(R, L, n)
            of_last = [weight_gradient(error, h), error.sum(1)] if self.trains else []
            return squared, affine(error, W.mT), of_last
        offset = (self.wb[:, None] - xw[0]).unsqueeze(1)  # (R, 1, n, K)
        d_h = affine(h, self.gram).view(R, L, n, -1).add_(offset)  # Wᵀ(W·h + b − x)
        squared = ((d_h + offset) * h.view(d_h.shape)).sum(-1)
        total = x.sum(1, dtype=b.dtype)  # Σx, of which only Σ‖x‖² − 2·bᵀΣx + n‖b‖² is needed
        outer = piece.norm.sum((1, 2)) - 2 * (b * total).sum(-1) + n * b.square().sum(-1)
        squared += per_run(outer / n, squared)
        of_last = []
        if self.trains:
            sums = h.sum(1)
            (xh,) = product_gradients(x, [h.view(R, L, n, -1).sum(1)], b.dtype)  # (R, K, D)
            of_last = [
                W @ weight_gradient(h, h) + b.unsqueeze(-1) * sums.unsqueeze(1) - xh.mT,
                (W @ sums.unsqueeze(-1)).squeeze(-1) + L * (n * b - total),
            ]
        return squared, d_h.view(h.shape), of_last


def _stage_a(
    model: Model, decoder: _Decoder | None, piece: Batch, s: TrainingSettings, f: Factors, B: int
) -> tuple[Losses, Gradients]:
    """Contribution of some videos to the losses of stage (a) and their gradients."""
    _, b, T = piece.norm.shape
    weights = attention_and_classifier(model) + (decoder.weights() if decoder else [])
    hidden, tcam, *xw = products(piece.x, weights)
    lam = _attention(model, hidden.relu_())
    R = len(lam)
    target = as_stored(model.classifier, piece.target)
    videos = lam.view(R, b, T), tcam.reshape(R, b, T, -1)
    l_d, d_lam, d_tcam, d_bias = _discriminative(*videos, model.classifier, target, f, B)
    zero = lam.new_zeros(R)
    losses = {"fg": l_d[0], "bg": torch.where(f.alpha == 0, zero, l_d[1]), "re": zero, "guide": zero}
    if s.gamma_guide:
        labels = target.topk(piece.max_labels)
        losses["guide"] = _guide(*videos, model.classifier, labels, s, f, B, d_lam, d_tcam)
    d_lam = d_lam.view(R, -1)
    if decoder and piece.noise is not None:
        losses["re"] = decoder.reconstruction(piece, lam, xw, f, B, d_lam)
    d_logit = d_lam.mul_(lam).mul_(1 - lam)  # of the sigmoid
    return losses, gradients_of_stage_a(model, piece.x, hidden, d_logit, d_tcam.flatten(1, 2), d_bias)


def gradients_of_stage_a(
    model: Model, x: Tensor, hidden: Tensor, d_logit: Tensor, d_tcam: Tensor, d_bias: Tensor | None
) -> Gradients:
    """Return the gradients of both modules that stage (a) updates, in the order of their weights.

    Args:
        model: a stack of runs.
        x: features, (S, ..., D).
        hidden: hidden layer of the attention module, (R, n, H).
        d_logit: gradient for the logit of λ, (R, n).
        d_tcam: gradient for w_cᵀx_t, (R, n, C + 1).
        d_bias: gradient for b_c, (R, C + 1); None where the classifier has none.
    """
    fc1, fc2 = model.attention.fc1, model.attention.fc2
    d_logit = d_logit.unsqueeze(-1)
    d_w2, d_b2 = weight_gradient(d_logit, hidden), d_logit.sum(1)
    d_hidden = relu_gradient(d_logit * fc2.weight, hidden)
    d_w1, d_w = product_gradients(x, [d_hidden, d_tcam], fc1.weight.dtype)
    return [d_w1, d_hidden.sum(1), d_w2, d_b2, d_w, *([] if d_bias is None else [d_bias])]


def _discriminative(
    lam: Tensor, tcam: Tensor, classifier: Classifier, target: Tensor, f: Factors, B: int
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """L_fg and L_bg of Eq. (6), (2, R), and gradients of L_d for λ, w_cᵀx_t and b_c."""
    weights = torch.stack([lam, 1 - lam], 2)  # (R, b, 2, T): of foreground and background
    total = weights.sum(-1, keepdim=True)
    total = total + torch.stack([f.offset_fg, f.offset_bg], -1)[:, None, :, None]
    is_mean = total >= LEAST_WEIGHT
    total = total.clamp_min(LEAST_WEIGHT)
    pooled = weights @ tcam / total  # Eq. (4, 5), times w_c
    bias = classifier.fc1.bias
    log_p = (pooled if bias is None else pooled + bias[:, None, None]).log_softmax(-1)
    background = torch.zeros_like(target)
    background[..., _background(classifier)] = 1
    targets = torch.stack([target, background], 2)  # (S, b, 2, C + 1)
    l_d = -(targets * log_p).sum((1, 3)).T / B
    d_logits = log_p.exp().mul_(targets.sum(-1, keepdim=True)).sub_(targets)
    d_logits *= torch.stack([f.fg_weight, f.alpha], -1)[:, None, :, None] / B
    d_sums = d_logits / total
    d_weights = d_sums @ tcam.mT - (d_sums * pooled).sum(-1, keepdim=True) * is_mean  # (R, b, 2, T)
    d_bias = None if bias is None else d_logits.sum((1, 2))
    return l_d, d_weights[:, :, 0] - d_weights[:, :, 1], weights.mT @ d_sums, d_bias


def _guide(
    lam: Tensor,
    tcam: Tensor,
    classifier: Classifier,
    labels: tuple[Tensor, Tensor],
    s: TrainingSettings,
    f: Factors,
    B: int,
    d_lam: Tensor,
    d_tcam: Tensor,
) -> Tensor:
    """L_guide of Eq. (15), (R,); its gradients are added to `d_lam` and `d_tcam`.

    `labels` are the largest entries of the label distribution and their columns, (S, b, max_labels) each.
    """
    T, background = lam.shape[-1], _background(classifier)
    G = gaussian_matrix(T, s.sigma_tcam, lam.dtype, lam.device)
    p = tcam.softmax(-1)
    weight, label = labels
    column = label.unsqueeze(2).expand(*p.shape[:-1], -1)
    of_label, of_background = p.gather(-1, column), p[..., background, None]
    smooth = torch.cat([of_label, 1 - of_background], -1).mT @ G.T  # (R, b, labels + 1, T)
    of_class, chosen = (smooth[:, :, :-1] * (weight > 0).unsqueeze(-1)).max(2, keepdim=True)
    maps = torch.cat([of_class, smooth[:, :, -1:]], 2)  # Eq. (13, 14)
    distance = lam.unsqueeze(2) - maps
    l_guide = distance.abs().sum((1, 2, 3)) / (B * T)
    d_distance = distance.sign_() * per_run(f.gamma_guide / (B * T), distance)
    d_lam += d_distance.sum(2)
    if not s.guide_detach:
        d_smooth = torch.zeros_like(smooth).scatter_(2, chosen, -d_distance[:, :, :1])
        d_smooth[:, :, -1] = -d_distance[:, :, 1]
        d_maps = (d_smooth @ G).mT
        d_label, d_background = d_maps[..., :-1] * of_label, d_maps[..., -1:] * of_background
        d_tcam.addcmul_(p, d_background - d_label.sum(-1, keepdim=True))
        d_tcam[..., background] -= d_background.squeeze(-1)
        d_tcam.scatter_add_(-1, column, d_label)
    return torch.where(f.gamma_guide == 0, 0.0, l_guide)


def _stage_b(
    model: Model, decoder: _Decoder, piece: Batch, f: Factors, snippets: int
) -> tuple[Losses, Gradients]:
    """Contribution of some videos to the losses of stage (b) and their gradients.

    The gradients are those of the total divided by the factor of ½‖x − x̂‖² in it; σ²·L·β is then that of KL.
    """
    D, encoder = piece.x.shape[-1], model.cvae.encoder
    attention = model.attention.fc1
    assert piece.noise is not None
    noise = piece.noise.flatten(2, 3)  # (S, L, n, Z)
    L = noise.shape[1]
    first = encoder.fc1.weight
    weights = [(attention.weight, attention.bias), (first[..., :-1], encoder.fc1.bias)]
    hidden, h1, *xw = products(piece.x, weights + decoder.weights())
    lam = _attention(model, hidden.relu_())
    h1.addcmul_(lam.unsqueeze(-1), first[:, None, :, -1]).relu_()
    h2 = affine(h1, encoder.fc2.weight, encoder.fc2.bias).relu_()
    mu, log_var = (posterior := affine(h2, encoder.fc3.weight, encoder.fc3.bias)).chunk(2, -1)
    scale = (0.5 * log_var).exp_()
    z = torch.addcmul(mu.unsqueeze(1), scale.unsqueeze(1), noise)  # (R, L, n, Z)
    squared, d_z, of_decoder = decoder.train(piece, lam, z, xw)

    shift = mu - per_run(f.r, mu) * lam.unsqueeze(-1)
    variance = scale.square()
    kl = 0.5 * (variance.sum((1, 2)) + shift.square().sum((1, 2)) - (1 + log_var).sum((1, 2)))
    ratio = per_run(f.beta * f.sigma**2 * L / f.log_p_weight, mu)
    d_posterior = torch.empty_like(posterior)
    d_mu, d_log_var = d_posterior.chunk(2, -1)
    torch.addcmul(d_z.sum(1), shift, ratio, out=d_mu)
    variance.sub_(1).mul_(ratio).addcmul_(d_z.mul_(noise).sum(1), scale)
    torch.mul(variance, 0.5, out=d_log_var)
    d_h2 = relu_gradient(affine(d_posterior, encoder.fc3.weight.mT), h2)
    d_h1 = relu_gradient(affine(d_h2, encoder.fc2.weight.mT), h1)
    (d_x_column,) = product_gradients(piece.x, [d_h1], first.dtype)
    d_first = torch.cat([d_x_column, weight_gradient(d_h1, lam.unsqueeze(-1))], -1)
    constant = D / 2 * (2 * math.pi * f.sigma**2).log() * lam.shape[1]
    log_p = -squared / (2 * f.sigma**2 * L) - constant
    return {"log_likelihood": log_p / snippets, "kl": kl / snippets}, [
        d_first,
        d_h1.sum(1),
        weight_gradient(d_h2, h1),
        d_h2.sum(1),
        weight_gradient(d_posterior, h2),
        d_posterior.sum(1),
        *of_decoder,
    ]


# ---- modules as products ----


def attention_and_classifier(model: Model) -> list[tuple[Tensor, Tensor | None]]:
    """Return the weights and biases that the features are multiplied by in both modules."""
    fc1 = model.attention.fc1
    return [(fc1.weight, fc1.bias), (model.classifier.fc1.weight, None)]


def _attention(model: Model, hidden: Tensor) -> Tensor:
    """λ, (R, n), of the hidden layer, (R, n, H)."""
    return affine(hidden, model.attention.fc2.weight, model.attention.fc2.bias).squeeze(-1).sigmoid_()


def _background(classifier: Classifier) -> int:
    return -1 if classifier.background == "last" else 0


def as_stored(classifier: Classifier, target: Tensor) -> Tensor:
    """Labels, the background first, in the order of the classifier's weights."""
    return target.roll(-1, -1) if classifier.background == "last" else target
