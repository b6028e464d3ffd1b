"""Layers of one run, or of a stack of R runs that see the same snippets and have weights of their own.

Weights are (O, I) in a single run and (R, O, I) in a stack; what follows from them has the same axis R
in front. So the same code trains one run or many, and one matrix product serves them all.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Module = TypeVar("Module", bound=nn.Module)


def stack(module: Module, runs: int) -> Module:
    """Return a stack of R copies of a module of a single run."""
    stacked = copy.deepcopy(module)
    for layer in stacked.modules():
        for name, values in layer.named_parameters(recurse=False):
            setattr(layer, name, nn.Parameter(values.detach().expand(runs, *values.shape).clone()))
    return stacked


def linear(h: Tensor, layer: nn.Linear) -> Tensor:
    """Apply a linear layer to what each run has of its own.

    Args:
        h: (..., I), in a stack (R, ..., I).
        layer: its weight and bias.
    Returns:
        (..., O), in a stack (R, ..., O).
    """
    if layer.weight.ndim == 2:
        return nn.functional.linear(h, layer.weight, layer.bias)
    flat = torch.baddbmm(layer.bias.unsqueeze(-2), h.flatten(1, -2), layer.weight.mT)
    return flat.view(*h.shape[:-1], -1)


def along(vector: Tensor, h: Tensor) -> Tensor:
    """View a run's vector, (O,), in a stack (R, O), so that it meets h, (..., O), in a stack (R, ..., O)."""
    return vector.view(*vector.shape[:-1], *(1,) * (h.ndim - vector.ndim), vector.shape[-1])


def over(value: Tensor, axes: int) -> Tensor:
    """Let a number of each run, (R,), meet `axes` axes more; that of a single run, (), meets any."""
    return value.view(-1, *(1,) * axes) if value.ndim else value


def products(x: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Multiply the snippets by all weights that meet them, in one matrix product.

    The features are the largest array of a training by far: they are read once. Only weights that
    want a gradient take part in the product of the way back.

    Args:
        x: features, (..., D), the same for all runs of a stack; they get no gradient.
        weights: (O_i, D) each, in a stack (R, O_i, D); for the product they are rounded to the type of x.
    Returns:
        x·W_iᵀ, (..., O_i) each, in a stack (R, ..., O_i), of the type of the weights.
    """
    found: tuple[Tensor, ...] = _Products.apply(x, *weights)  # type: ignore[no-untyped-call]
    return found


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        rows = [weight.reshape(-1, x.shape[-1]) for weight in weights]
        ctx.set_materialize_grads(False)
        ctx.own, ctx.shapes = weights[0].dtype, [weight.shape for weight in weights]
        ctx.save_for_backward(x)
        every = (x.flatten(0, -2) @ torch.cat(rows).to(x.dtype).T).to(ctx.own)
        found = []
        for part, weight in zip(torch.split(every, [len(row) for row in rows], 1), weights, strict=True):
            values = part.view(*x.shape[:-1], *weight.shape[:-1])
            found.append(values.movedim(-2, 0) if weight.ndim == 3 else values)
        return tuple(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        columns = {}
        for i, (values, shape) in enumerate(zip(gradients, ctx.shapes, strict=True)):
            if values is not None and ctx.needs_input_grad[1 + i]:
                values = values.movedim(0, -2) if len(shape) == 3 else values
                columns[i] = values.reshape(x.shape[:-1].numel(), -1)
        found: list[Tensor | None] = [None] * len(gradients)
        if columns:
            every = (torch.cat(list(columns.values()), 1).to(x.dtype).T @ x.flatten(0, -2)).to(ctx.own)
            parts = torch.split(every, [values.shape[1] for values in columns.values()])
            for i, rows in zip(columns, parts, strict=True):
                found[i] = rows.view(ctx.shapes[i])
        return None, *found


@contextmanager
def matmul(arithmetic: str) -> Iterator[None]:
    """Let products of matrices on CUDA be rounded to TF32 within the block if `arithmetic` is "tf32"."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = arithmetic == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
