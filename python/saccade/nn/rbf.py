"""Units that measure the distance to a centre."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["GaussianRBF"]


class GaussianRBF(nn.Module):
    """Radial basis functions: the squared distance of the input to each centre.

    It is the negative logarithm of a Gaussian around the centre (variance 1/2, not normalised); the nearest centre has
    the smallest output.

    Args:
        centers: ``(K, D)``, one row for each unit.
        trainable: whether the centres move in training.

    Source: LeCun et al., Gradient-based learning applied to document recognition, 1998, equation 7.

    >>> saccade.nn.GaussianRBF(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))(torch.zeros(1, 2))
    tensor([[ 0., 25.]])
    """

    def __init__(self, centers: Tensor, trainable: bool = False) -> None:
        super().__init__()
        if centers.dim() != 2 or not centers.is_floating_point():
            raise ValueError(
                f"GaussianRBF: centers must be floats of shape (K, D), got {centers.dtype}, {tuple(centers.shape)}"
            )
        if not centers.is_meta and not centers.isfinite().all():
            raise ValueError("GaussianRBF: centers must be finite")
        self.centers = nn.Parameter(centers.detach().clone(), requires_grad=trainable)

    def forward(self, input: Tensor) -> Tensor:
        """``(N, D)`` to ``(N, K)``."""
        return (input[:, None] - self.centers).square().sum(2)

    def extra_repr(self) -> str:
        """The sizes."""
        units, features = self.centers.shape
        return f"{features}, {units}, trainable={self.centers.requires_grad}"
