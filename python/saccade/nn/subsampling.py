"""Sub-sampling with trainable coefficients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from saccade import ops

__all__ = ["Subsampling2d"]


class Subsampling2d(nn.Module):
    """The sum of each window, times a coefficient and plus a bias of its channel.

    Args:
        channels: of the input and of the output.
        kernel_size: side of a window; windows do not overlap.

    Source: LeCun et al., Gradient-based learning applied to document recognition, 1998, layers S2 and S4.

    >>> layer = saccade.nn.Subsampling2d(1)
    >>> _ = torch.nn.init.constant_(layer.weight, 2), torch.nn.init.constant_(layer.bias, 1)
    >>> layer(torch.ones(1, 1, 2, 4)).detach()
    tensor([[[[9., 9.]]]])
    """

    def __init__(self, channels: int, kernel_size: int = 2) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.weight = nn.Parameter(torch.full((channels,), 1 / kernel_size**2))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, input: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, C, H // kernel_size, W // kernel_size)``."""
        coefficient = (self.weight * self.kernel_size**2)[:, None, None]
        return ops.avg_pool2d(input, self.kernel_size) * coefficient + self.bias[:, None, None]

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"{len(self.weight)}, kernel_size={self.kernel_size}"
