"""Inference in fully connected conditional random fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from saccade.ops._library import call, require_tensor
from saccade.ops.permutohedral import Lattice, build_lattice, filter_moving, filter_rows

__all__ = ["crf_terms", "dense_crf", "mean_field"]

Width = float | Sequence[float]
# A lattice, what points are multiplied with before and after it filters, and features that need a gradient.
Scaled = tuple[Lattice, Tensor | None, Tensor | None, Tensor | None]
_NORMALIZATIONS = ("none", "before", "after", "symmetric")


def dense_crf(
    unary: Tensor,
    image: Tensor | None = None,
    *,
    iterations: int = 5,
    gaussian_sxy: float | Sequence[float] = 3.0,
    gaussian_compat: float | Tensor | None = 3.0,
    gaussian_kernel: Tensor | None = None,
    bilateral_sxy: float | Sequence[float] = 80.0,
    bilateral_srgb: float | Sequence[float] = 13.0,
    bilateral_compat: float | Tensor | None = 10.0,
    bilateral_kernel: Tensor | None = None,
    normalization: str = "symmetric",
) -> Tensor:
    """Mean field of a conditional random field in which every pair of pixels is connected.

    Two terms make labels of pixels agree: of those close to each other, and of those that are close and of similar
    colour. Each weighs a pair by a Gaussian, computed on the permutohedral lattice (`permutohedral_filter`), and what
    two labels mean to each other by its compatibility.

    Args:
        unary: ``(B, L, H, W)`` or ``(L, H, W)`` costs, the negative logarithms of the labels' probabilities (they need
            not be normalised: negated logits will do); float16, bfloat16, float32 or float64, finite.
        image: ``(B, C, H, W)`` or ``(C, H, W)``, up to six channels, of any dtype, for the bilateral term; without it
            there is none.
        iterations: of the mean field; 0 gives ``softmax(-unary)``.
        gaussian_sxy, bilateral_sxy: standard deviations in pixels, one number or ``(sx, sy)``.
        bilateral_srgb: standard deviations of the channels, in units of the image.
        gaussian_compat, bilateral_compat: a number or 0-d tensor w: labels that differ cost w (Potts). ``(L,)``: what
            label l costs where others are labelled l too, so that Potts is ``-w`` for each. ``(L, L)``: what every
            pair of labels costs; the mean of the matrix and its transpose counts. None: the term is left out.
        gaussian_kernel, bilateral_kernel: what a pixel's features ``x, y`` (and channels), in units of the standard
            deviations, are multiplied with: ``(d,)`` numbers or a ``(d, d)`` matrix. None: nothing.
        normalization: of the filters, by the filtered ones n: ``"symmetric"`` divides by the root of n before and
            after, ``"before"`` and ``"after"`` by n, ``"none"`` not at all.

    Returns:
        The labels' probabilities, like ``unary``. Differentiable, any number of times, in ``unary`` and in the
        compatibilities; once also in the kernels, by the derivative of the Gaussians that the lattices stand for.
        Without a gradient to compute, the whole inference is one operator.

    Raises:
        ValueError: for wrong shapes, values or devices, a unary that is not finite, and for an image or widths of which
            colours or positions are too large (`permutohedral_filter`). TypeError: for other dtypes.

    The results are those of pydensecrf up to rounding, whose ``addPairwiseGaussian`` and ``addPairwiseBilateral`` have
    the same parameters; `saccade.classic.dense_crf` names its calls one by one.

    Source: Krähenbühl and Koltun, Efficient inference in fully connected CRFs with Gaussian edge potentials, NIPS 2011.

    >>> image = torch.zeros(3, 1, 6)
    >>> image[:, :, 3:] = 255
    >>> noisy = torch.tensor([[2.0, -1, 2, -2, -2, -2]])
    >>> dense_crf(torch.stack([noisy, -noisy])[:, None].flatten(1, 2), image).argmax(0)
    tensor([[1, 1, 1, 0, 0, 0]])
    """
    if normalization not in _NORMALIZATIONS:
        raise ValueError(
            f"dense_crf: normalization must be 'none', 'before', 'after' or 'symmetric', got {normalization!r}"
        )
    if image is None:
        bilateral_compat = None
    costs, lattices = crf_terms(
        "dense_crf",
        "unary",
        unary,
        image,
        normalization,
        gaussian=None if gaussian_compat is None else gaussian_sxy,
        bilateral=None if bilateral_compat is None else (bilateral_sxy, bilateral_srgb),
        kernels=(gaussian_kernel, bilateral_kernel),
    )
    compatibility = [
        _compatibility(name, compat, costs)
        for name, compat in (("gaussian_compat", gaussian_compat), ("bilateral_compat", bilateral_compat))
        if compat is not None
    ]
    q = mean_field(costs.flatten(2), -1.0, lattices, compatibility, iterations, True)
    return q.to(unary.dtype).view(unary.shape)


def crf_terms(
    op: str,
    name: str,
    unary: Tensor,
    image: Tensor | None,
    normalization: str,
    *,
    gaussian: Width | None,
    bilateral: tuple[Width, Width] | None,
    kernels: tuple[Tensor | None, Tensor | None] = (None, None),
) -> tuple[Tensor, list[Scaled]]:
    """``unary`` as ``(B, L, H, W)`` float32 or float64, and the lattices of the terms that have widths."""
    costs = _checked_unary(op, name, unary)
    batch, _, height, width = costs.shape
    points: list[Tensor] = []
    if gaussian is not None:
        places = _transformed(op, "gaussian_kernel", kernels[0], _positions(op, "gaussian_sxy", gaussian, costs))
        points.append(places.expand(batch, -1, -1))
    if image is not None and bilateral is not None:
        pixels = _checked_image(op, name, unary, image)
        features = costs.new_empty((batch, height * width, 2 + pixels.shape[1]))
        features[..., :2] = _positions(op, "bilateral_sxy", bilateral[0], costs)
        # Channel by channel: the transposition of a whole image took 12 ms of 512 x 512 pixels, this takes 1.
        for c, of_colour in enumerate(_widths(op, "bilateral_srgb", bilateral[1], pixels.shape[1])):
            features[..., 2 + c] = pixels[:, c].detach().flatten(1) / of_colour
        points.append(_transformed(op, "bilateral_kernel", kernels[1], features))
    return costs, [normalized_lattice(features, normalization) for features in points]


def mean_field(
    unary: Tensor, sign: float, lattices: list[Scaled], compatibility: list[Tensor], iterations: int, normalize: bool
) -> Tensor:
    """``(B, L, points)`` probabilities, or their logits, after so many steps (csrc/ops/dense_crf.h)."""
    moving = [features for *_, features in lattices if features is not None]
    tracked = torch.is_grad_enabled() and any(t.requires_grad for t in (unary, *compatibility, *moving))
    if not tracked:
        flat = [tensor for lattice in lattices for tensor in _flat(lattice)]
        return call(torch.ops.saccade._mean_field, unary, sign, flat, compatibility, iterations, normalize)
    if iterations < 0:
        raise ValueError(f"dense_crf: iterations must be at least 0, got {iterations}")
    batch, labels, points = unary.shape
    base = (sign * unary).mT.reshape(batch * points, labels)
    current = base
    for _ in range(iterations):
        q = current.softmax(1)
        current = base
        for (lattice, before, after, features), matrix in zip(lattices, compatibility, strict=True):
            message = _filtered(q if before is None else q * before[:, None], lattice, features)
            if after is not None:
                message = message * after[:, None]
            current = current + (message * matrix if matrix.ndim == 1 else message @ matrix.mT)
    rows = current.softmax(1) if normalize else current
    return rows.view(batch, points, labels).mT.contiguous()


def normalized_lattice(features: Tensor, normalization: str) -> Scaled:
    """The lattice of ``(B, N, d)`` features, and the factors of its normalisation."""
    lattice = build_lattice(features.detach())
    moving = features.flatten(0, 1) if features.requires_grad and torch.is_grad_enabled() else None
    if normalization == "none":
        return lattice, None, None, moving
    ones = lattice.weights.new_ones((lattice.vertices.shape[0], 1))
    total = _filtered(ones, lattice, moving)[:, 0]
    factor = (total + 1e-20).rsqrt() if normalization == "symmetric" else 1 / (total + 1e-20)
    before, after = None if normalization == "after" else factor, None if normalization == "before" else factor
    return lattice, before, after, moving


def _filtered(values: Tensor, lattice: Lattice, moving: Tensor | None) -> Tensor:
    return filter_rows(values, lattice) if moving is None else filter_moving(values, lattice, moving)


def _flat(scaled: Scaled) -> tuple[Tensor, ...]:
    """As the operator takes it: no elements for a factor of one."""
    lattice, *factors, _ = scaled
    return *lattice, *(lattice.weights.new_empty((0,)) if factor is None else factor for factor in factors)


def _checked_unary(op: str, name: str, unary: Tensor) -> Tensor:
    """As ``(B, L, H, W)`` float32 or float64."""
    require_tensor(op, **{name: unary})
    if unary.ndim not in (3, 4):
        raise ValueError(f"{op}: {name} must have shape (B, L, H, W) or (L, H, W), got {tuple(unary.shape)}")
    if not unary.is_floating_point():
        raise TypeError(
            f"{op}: {name} must be float16, bfloat16, float32 or float64, got {str(unary.dtype).removeprefix('torch.')}"
        )
    # A finite sum has finite terms, and takes a tenth of the time of isfinite.
    seen = unary.detach()
    if not torch.compiler.is_compiling() and not seen.sum().isfinite() and not seen.isfinite().all():
        raise ValueError(f"{op}: {name} must be finite, got NaN or an infinity")
    costs = unary if unary.ndim == 4 else unary[None]
    return costs if costs.dtype == torch.float64 else costs.float()


def _checked_image(op: str, beside: str, unary: Tensor, image: Tensor) -> Tensor:
    """As ``(B, C, H, W)``."""
    require_tensor(op, image=image)
    rule = "(C, H, W)" if unary.ndim == 3 else "(B, C, H, W)"
    expected = (*unary.shape[:-3], image.shape[-3] if image.ndim >= 3 else 0, *unary.shape[-2:])
    if tuple(image.shape) != expected or not 1 <= image.shape[-3] <= 6:
        raise ValueError(
            f"{op}: image must have shape {rule} beside {beside} of shape {tuple(unary.shape)}, with 1 to 6 channels, "
            f"got {tuple(image.shape)}"
        )
    if image.device != unary.device:
        raise ValueError(f"{op}: {beside} and image must be on the same device, got {unary.device} and {image.device}")
    return image if image.ndim == 4 else image[None]


def _widths(op: str, name: str, value: Width, count: int) -> list[float]:
    widths = [float(value)] * count if isinstance(value, (int, float)) else [float(v) for v in value]
    if len(widths) != count or not all(0 < width < float("inf") for width in widths):
        raise ValueError(f"{op}: {name} must be a finite number above 0, or {count} of them, got {value}")
    return widths


def _positions(op: str, name: str, sxy: Width, like: Tensor) -> Tensor:
    """``(1, H * W, 2)`` places x, y of the pixels."""
    height, width = like.shape[-2:]
    sx, sy = _widths(op, name, sxy, 2)
    x = torch.arange(width, dtype=like.dtype, device=like.device) / sx
    y = torch.arange(height, dtype=like.dtype, device=like.device) / sy
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], 2).view(1, -1, 2)


def _transformed(op: str, name: str, kernel: Tensor | None, points: Tensor) -> Tensor:
    if kernel is None:
        return points
    require_tensor(op, **{name: kernel})
    d = points.shape[2]
    if tuple(kernel.shape) not in ((d,), (d, d)):
        raise ValueError(f"{op}: {name} must have shape ({d},) or ({d}, {d}), got {tuple(kernel.shape)}")
    if kernel.device != points.device:
        raise ValueError(f"{op}: unary and {name} must be on the same device, got {points.device} and {kernel.device}")
    matrix = kernel.to(points.dtype)
    return points * matrix if matrix.ndim == 1 else points @ matrix.mT


def _compatibility(name: str, value: float | Tensor, like: Tensor) -> Tensor:
    """What is added to the logits, for a message: ``(L,)`` or ``(L, L)``."""
    labels = like.shape[1]
    if isinstance(value, Tensor):
        if tuple(value.shape) not in ((), (labels,), (labels, labels)):
            raise ValueError(
                f"dense_crf: {name} must be a number, or have shape (), ({labels},) or ({labels}, {labels}), "
                f"got {tuple(value.shape)}"
            )
        if value.device != like.device:
            raise ValueError(
                f"dense_crf: unary and {name} must be on the same device, got {like.device} and {value.device}"
            )
        value = value.to(like.dtype)
        if value.ndim == 2:
            return -(value + value.mT) / 2
        return -value if value.ndim == 1 else value.expand(labels)
    return torch.full((labels,), float(value), dtype=like.dtype, device=like.device)


@torch.library.register_fake("saccade::_mean_field")
def _(
    unary: Tensor, sign: float, lattices: list[Tensor], compatibility: list[Tensor], iterations: int, normalize: bool
) -> Tensor:
    return unary.new_empty(unary.shape)


def _refuse(ctx: Any, grad: Tensor) -> None:
    raise RuntimeError("dense_crf: this operator has no gradient; saccade.ops.dense_crf takes others for one")


torch.library.register_autograd("saccade::_mean_field", _refuse)
