"""A conditional random field as a layer that is trained with the network below it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from saccade.ops.dense_crf import crf_terms, mean_field

__all__ = ["CRFasRNN"]


class CRFasRNN(nn.Module):
    """Mean-field inference as a recurrent layer, between a network's logits and its loss.

    In every iteration the probabilities q of the labels are filtered with a Gaussian of the pixels' distance, and with
    one of their distance in place and colour, each divided by the filtered ones; the logits become
    ``logits + compatibility_matrix @ (spatial_ker_weights @ spatial(q) + bilateral_ker_weights @ bilateral(q))``.
    The three ``(num_classes, num_classes)`` matrices are learned; they start as the identity, three times and five
    times the identity, which makes neighbours agree.

    Args:
        num_classes: number of labels.
        iterations: of the mean field; may be changed later (``layer.iterations = 10`` for evaluation, as in the paper).
        alpha, beta: standard deviations of the bilateral filter, in pixels and in units of the image's colours.
        gamma: standard deviation of the spatial filter in pixels.

    ``forward(logits, image)``: ``(B, num_classes, H, W)`` and ``(B, C, H, W)``, without B too; returns logits of the
    same shape. Errors are those of `saccade.ops.dense_crf`.

    Source: Zheng et al., Conditional random fields as recurrent neural networks, ICCV 2015. Names and initial values of
    the parameters are those of its PyTorch version (crfasrnn_pytorch), whose checkpoints load; there they belong to the
    module ``crfrnn``.

    >>> layer = CRFasRNN(2)
    >>> layer(torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 4)).shape
    torch.Size([1, 2, 4, 4])
    """

    def __init__(
        self, num_classes: int, iterations: int = 5, alpha: float = 160.0, beta: float = 3.0, gamma: float = 3.0
    ) -> None:
        super().__init__()
        self.num_classes, self.iterations = num_classes, iterations
        self.alpha, self.beta, self.gamma = alpha, beta, gamma
        self.spatial_ker_weights = nn.Parameter(3 * torch.eye(num_classes))
        self.bilateral_ker_weights = nn.Parameter(5 * torch.eye(num_classes))
        self.compatibility_matrix = nn.Parameter(torch.eye(num_classes))

    def forward(self, logits: Tensor, image: Tensor) -> Tensor:
        """Refine ``logits`` where ``image`` tells them apart."""
        if logits.ndim in (3, 4) and logits.shape[-3] != self.num_classes:
            raise ValueError(
                f"CRFasRNN: logits must have {self.num_classes} classes, got a tensor of shape {tuple(logits.shape)}"
            )
        costs, lattices = crf_terms(
            "CRFasRNN", "logits", logits, image, "after", gaussian=self.gamma, bilateral=(self.alpha, self.beta)
        )
        weights: Sequence[Tensor] = (self.spatial_ker_weights, self.bilateral_ker_weights)
        compatibility = [(self.compatibility_matrix @ weight).to(costs.dtype) for weight in weights]
        refined = mean_field(costs.flatten(2), 1.0, lattices, compatibility, self.iterations, False)
        return refined.to(logits.dtype).view(logits.shape)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        widths = f"alpha={self.alpha}, beta={self.beta}, gamma={self.gamma}"
        return f"{self.num_classes}, iterations={self.iterations}, {widths}"
