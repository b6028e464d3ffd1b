"""Products of a stack of runs with its weights, (R, O, I), and their gradients, by the quickest library."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

# oneDNN's float32 products, which `linear` does not use: from LARGE multiplications on, twice as fast on AMD.
ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")
LARGE = 2**22


def per_run(value: Tensor, like: Tensor) -> Tensor:
    """Append axes of length 1 to a value per run, (R,), up to those of `like`."""
    return value.view(-1, *(1,) * (like.ndim - 1))


def relu_gradient(gradient: Tensor, output: Tensor) -> Tensor:
    """Zero a gradient, in place, where a ReLU's output is zero."""
    torch.ops.aten.threshold_backward.grad_input(gradient, output, 0, grad_input=gradient)
    return gradient


def affine(h: Tensor, W: Tensor, b: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """h·Wᵀ + b of each run, (R, n, O), of (R, n, I); types as in `linear_of_one`."""
    if len(W) == 1:
        return linear_of_one(h[0], W[0], None if b is None else b[0], dtype).unsqueeze(0)
    if dtype is None or h.dtype == dtype:
        return torch.bmm(h, W.mT) if b is None else torch.baddbmm(b.unsqueeze(1), h, W.mT)
    product = torch.bmm(h, W.mT.to(h.dtype)).to(dtype)
    return product if b is None else product.add_(b.unsqueeze(1))


def weight_gradient(gradient: Tensor, h: Tensor) -> Tensor:
    """Σ over snippets of gradient·hᵀ, (R, O, I)."""
    if len(h) > 1:
        return torch.bmm(gradient.mT, h)
    return _transposed_product(gradient[0], h[0]).unsqueeze(0)


def products(x: Tensor, weights: Sequence[tuple[Tensor, Tensor | None]]) -> list[Tensor]:
    """x·W_iᵀ + b_i, (R, n, O_i), of what runs share or have, (S, ..., I); W_i is rounded to the type of x."""
    dtype, R = weights[0][0].dtype, len(weights[0][0])
    if len(x) == R:
        return [affine(x.flatten(1, -2), W, b, dtype) for W, b in weights]
    x = x.flatten(0, -2)
    rows = [W.flatten(0, 1) for W, _ in weights]
    product = linear_of_one(x, torch.cat(rows), None, dtype)
    outputs = []
    for part, (_, b) in zip(torch.split(product, [len(W) for W in rows], 1), weights, strict=True):
        values = part.view(len(x), R, -1)
        outputs.append((values.clone() if b is None else values + b).transpose(0, 1).contiguous())
    return outputs


def product_gradients(x: Tensor, gradients: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Gradients of `products` for its weights, (R, O_i, I)."""
    if len(x) == len(gradients[0]):
        x = x.flatten(1, -2)
        return [weight_gradient(gradient.to(x.dtype), x).to(dtype) for gradient in gradients]
    x = x.flatten(0, -2)
    columns = [gradient.transpose(0, 1).flatten(1) for gradient in gradients]
    rows = _transposed_product(torch.cat(columns, 1).to(x.dtype), x).to(dtype)
    parts = torch.split(rows, [values.shape[1] for values in columns])
    return [part.view(len(g), g.shape[-1], -1) for part, g in zip(parts, gradients, strict=True)]


def linear_of_one(h: Tensor, W: Tensor, b: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """h·Wᵀ + b, (n, O), of (n, I); W is rounded to the type of h, and the result has the type `dtype`."""
    if ONEDNN and h.dtype == torch.float32 and h.device.type == "cpu" and h.numel() * len(W) > LARGE:
        # Of arrays with gaps, as a block of columns is, oneDNN makes a hundred times slower products.
        h, W = (values if values.mT.is_contiguous() else values.contiguous() for values in (h, W))
        product: Tensor = torch.ops.mkldnn._linear_pointwise(h, W, b, "none", [], "")
        return product
    if dtype is None or h.dtype == dtype:
        return linear(h, W, b)
    product = linear(h, W.to(h.dtype)).to(dtype)
    return product if b is None else product.add_(b)


def _transposed_product(g: Tensor, h: Tensor) -> Tensor:
    """gᵀ·h, (O, I), of (n, O) and (n, I)."""
    if g.shape[1] > h.shape[1]:
        return linear_of_one(h.mT, g.mT).mT
    return linear_of_one(g.mT, h.mT)
