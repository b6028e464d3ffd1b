"""Training that is told when actions happen: a ceiling for what video labels alone can teach.

Attention and classifier are the method's own, and are localized with in the same way. Only the losses are
others, those of any classification of snippets: the attention learns whether a snippet is action, the
classifier which action it is, or that it is background.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dgam_core.classifier import BACKGROUND
from dgam_core.model import Model
from dgam_core.settings import TrainingSettings
from dgam_core.training.fused import (
    Batch,
    Factors,
    as_stored,
    attention_and_classifier,
    gradients_of_stage_a,
    set_gradients,
)
from dgam_core.training.products import affine, products


def supervised_losses(model: Model, batch: Batch, s: TrainingSettings, f: Factors) -> dict[str, Tensor]:
    """Compute both losses for each run of a stack, means over the snippets, and set their gradients.

    Args:
        model: a stack of runs; attention and classifier get gradients, in place of those they had.
        batch: what they learn from, with `snippet_target`.
        s: settings; none of the weights of Eq. (16) plays a part.
        f: the factors of each run, as little.
    Returns:
        "attention", −a·log λ − (1 − a)·log(1 − λ) with a = 1 within action; "snippets", −log p_θ(y_t | x_t);
        and "total", (R,) each, in nats.
    """
    assert batch.snippet_target is not None
    with torch.no_grad():
        hidden, tcam = products(batch.x, attention_and_classifier(model))
        fc2, bias = model.attention.fc2, model.classifier.fc1.bias
        logit = affine(hidden.relu_(), fc2.weight, fc2.bias).squeeze(-1)  # of λ, (R, n)
        target = batch.snippet_target.flatten(1, 2)  # (S, n, C + 1)
        is_action = 1 - target[..., BACKGROUND].expand_as(logit)
        attention = binary_cross_entropy_with_logits(logit, is_action, reduction="none").mean(1)
        target = as_stored(model.classifier, target)
        log_p = (tcam if bias is None else tcam + bias[:, None]).log_softmax(-1)
        snippets = -(target * log_p).sum(-1).mean(1)
        count = logit.shape[1]
        d_logit, d_tcam = (logit.sigmoid() - is_action) / count, (log_p.exp() - target) / count
        d_bias = None if bias is None else d_tcam.sum(1)
        gradients = gradients_of_stage_a(model, batch.x, hidden, d_logit, d_tcam, d_bias)
    set_gradients(model, "a", gradients)
    return {"attention": attention, "snippets": snippets, "total": attention + snippets}
