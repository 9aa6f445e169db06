"""Gradients of single cells: what they say about receptive fields, and where they contradict them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from saccade.analysis._run import evaluation, named_outputs, watched

if TYPE_CHECKING:
    from saccade.analysis.receptive_field import ReceptiveFields

__all__ = ["check_fields", "outputs_of"]

# Of the largest gradient: Winograd's algorithm leaves that little where exact sums have zeros.
_ROUNDING = 1e-4


def outputs_of(model: nn.Module, image: Tensor, names: set[str] | None = None) -> dict[str, Tensor]:
    """What the layers return, by name, with their graph; all layers where ``names`` is None."""
    found: dict[str, Tensor] = {}

    def see(name: str, module: nn.Module, output: Any) -> None:
        for path, tensor in named_outputs(name, output):
            if names is None or path in names:
                found[path] = tensor + 0  # a later operation may write into the tensor itself

    with evaluation(model), watched(model, see):
        model(image)
    return found


def check_fields(model: nn.Module, image: Tensor, fields: ReceptiveFields, cells: int, seed: int) -> None:
    """Raise RuntimeError where a cell's gradient is not zero, up to rounding, outside of its support."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(image.shape, generator=random).to(image).requires_grad_()
    with torch.enable_grad():
        outputs = outputs_of(model, noise)
    for name, output in outputs.items():
        if output.dim() != 4 or not output.requires_grad or name not in fields:
            continue
        layer = fields[name]
        channels_last = output.shape[2:] != layer.grid
        for _ in range(cells):
            y, x = (int(torch.randint(size, (), generator=random)) for size in layer.grid)
            cell = output[0, y, x] if channels_last else output[0, :, y, x]
            signs = torch.randn(cell.shape, generator=random).to(cell)
            (gradient,) = torch.autograd.grad((cell * signs).sum(), noise, retain_graph=True, allow_unused=True)
            if gradient is None:
                continue
            size = gradient.abs().amax((0, 1))
            seen = size > _ROUNDING * size.max()
            x1, y1, x2, y2 = layer.support(y, x)
            seen[y1:y2, x1:x2] = False
            if seen.any():
                row, column = seen.nonzero()[0].tolist()
                raise RuntimeError(
                    f"receptive_field: cell ({y}, {x}) of {name!r} depends on pixel ({row}, {column}), outside of its "
                    f"field {layer.support(y, x)}; does the model choose its path by the image?"
                )
