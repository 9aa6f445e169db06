"""LeNet-5 in full, and its loss."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade._extras import require
from saccade.models._bitmaps import digit_bitmaps
from saccade.models._checks import check_images, positive
from saccade.models._registry import register
from saccade.nn import Conv2d, GaussianRBF, PartialConv2d, ScaledTanh, Subsampling2d

__all__ = ["C3_CONNECTIONS", "LeNet5", "lenet5", "map_loss"]

# Which maps of S2 each map of C3 sees: table I of the paper.
C3_CONNECTIONS = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # fmt: skip
FEATURES = 84


class LeNet5(nn.Module):
    """LeNet-5 as published: 60,000 trained parameters.

    C1 and C3 are convolutions (C3 by a partial table of connections), S2 and S4 sub-samplings with trainable
    coefficients, C5 a convolution over all that is left, F6 a full connection to 84 units, all through the scaled
    hyperbolic tangent; the output units measure the squared distance of F6 to a centre for each class.

    Args:
        num_classes: size of the output.
        in_channels: of the images.
        image_size: 32, or 28 with two pixels of border added inside.
        output: ``"rbf"``, or ``"linear"`` for a full connection.
        centers: ``(num_classes, 84)`` for ``"rbf"``: given; ``"bitmaps"`` (7 x 12 pictures of the ten digits, as in the
            paper); ``"random"`` (each value 1 or -1); None: bitmaps for ten classes, else random. See also
            :meth:`fit_centers`.
        trainable_centers: whether they move in training.

    Input: ``(N, in_channels, image_size, image_size)``; the paper's has its background at -0.1 and ink at 1.175, so
    that mean and variance are about 0 and 1. Output: logits, ``(N, num_classes)``: with ``"rbf"`` the negative squared
    distances, so that the largest is the nearest class and torch's cross-entropy is :func:`map_loss` without its ``j``.

    Source: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998.
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: int = 32,
        output: Literal["rbf", "linear"] = "rbf",
        centers: Tensor | Literal["bitmaps", "random"] | None = None,
        trainable_centers: bool = False,
    ) -> None:
        super().__init__()
        positive("lenet5", num_classes=num_classes, in_channels=in_channels)
        if image_size not in (28, 32):
            raise ValueError(f"lenet5: image_size must be 28 or 32, got {image_size!r}")
        if output not in ("rbf", "linear"):
            raise ValueError(f"lenet5: output must be 'rbf' or 'linear', got {output!r}")
        self.in_channels, self.image_size = in_channels, image_size
        self.c1 = Conv2d(in_channels, 6, 5, padding=2 if image_size == 28 else 0)
        self.s2 = Subsampling2d(6)
        self.c3 = PartialConv2d(6, C3_CONNECTIONS, 5)
        self.s4 = Subsampling2d(16)
        self.c5 = Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, FEATURES)
        self.squash = ScaledTanh()
        self.output: nn.Module
        if output == "rbf":
            self.output = GaussianRBF(_centers(centers, num_classes), trainable_centers)
        else:
            self.output = nn.Linear(FEATURES, num_classes)
        self._initialize()

    def _initialize(self) -> None:
        """Uniform within 2.4 / fan-in, the paper's appendix A; sub-sampling starts as the mean."""
        seen = [len(inputs) for inputs in C3_CONNECTIONS]
        with torch.no_grad():
            for layer in (self.c1, self.c5, self.f6, self.output):
                if isinstance(layer, (nn.Conv2d, nn.Linear)):
                    bound = 2.4 / math.prod(layer.weight.shape[1:])
                    layer.weight.uniform_(-bound, bound)
                    layer.bias.zero_()  # type: ignore[union-attr]
            bounds = torch.tensor([2.4 / (25 * count) for count in seen])[:, None, None, None]
            self.c3.weight.copy_((2 * torch.rand(self.c3.weight.shape) - 1) * bounds * self.c3.connections)
            self.c3.bias.zero_()  # type: ignore[union-attr]

    def features(self, images: Tensor) -> Tensor:
        """The activations of F6, ``(N, 84)``."""
        check_images("LeNet5", images, self.in_channels, side=self.image_size)
        maps = self.squash(self.s2(self.squash(self.c1(images))))
        maps = self.squash(self.s4(self.squash(self.c3(maps))))
        return self.squash(self.f6(self.squash(self.c5(maps)).flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits, ``(N, num_classes)``."""
        scores: Tensor = self.output(self.features(images))
        return -scores if isinstance(self.output, GaussianRBF) else scores

    @torch.no_grad()
    def fit_centers(self, images: Tensor, labels: Tensor | None = None, *, random_state: int = 0) -> LeNet5:
        """Set the centres of the output units to those of groups that k-means finds among the features of images.

        Args:
            images: as for the forward pass; at least as many as classes.
            labels: ``(N,)``. With them, each group is given to a class so that most images lie in their class's group;
                without, the order of the groups means nothing.
            random_state: seed of the k-means.

        Raises:
            ValueError: without output units that have centres; ImportError: without scikit-learn (extra ``classic``).
        """
        from saccade.classic.codebook import centroids

        if not isinstance(self.output, GaussianRBF):
            raise ValueError("LeNet5.fit_centers: output must be 'rbf', got 'linear'")
        centers = self.output.centers
        classes = len(centers)
        found, groups = centroids(self.features(images).float().cpu().numpy(), classes, random_state=random_state)
        if len(found) < classes:
            raise ValueError(f"LeNet5.fit_centers: images must form {classes} groups, got {len(found)}")
        if labels is not None:
            together = np.zeros((classes, classes))
            np.add.at(together, (labels.cpu().numpy(), groups), 1)
            _, order = require("scipy.optimize", "LeNet5.fit_centers", "classic").linear_sum_assignment(-together)
            found = found[order]
        centers.copy_(torch.from_numpy(found))
        return self


def _centers(centers: Tensor | str | None, num_classes: int) -> Tensor:
    if centers is None:
        centers = "bitmaps" if num_classes == 10 else "random"
    if isinstance(centers, Tensor):
        if centers.shape != (num_classes, FEATURES):
            raise ValueError(f"lenet5: centers must have shape ({num_classes}, {FEATURES}), got {tuple(centers.shape)}")
        return centers.float()
    if centers not in ("bitmaps", "random"):
        raise ValueError(f"lenet5: centers must be a tensor, 'bitmaps', 'random' or None, got {centers!r}")
    if centers == "random":
        return 2 * torch.randint(0, 2, (num_classes, FEATURES)).float() - 1
    if num_classes != 10:
        raise ValueError(f"lenet5: centers='bitmaps' needs num_classes=10, got {num_classes}")
    return digit_bitmaps()


def map_loss(logits: Tensor, labels: Tensor, j: float = 10.0) -> Tensor:
    """The maximum-a-posteriori loss of LeNet-5: ``y_d + log(exp(-j) + sum_i exp(-y_i))``, the mean over samples.

    ``y = -logits`` are the distances to the centres and ``d`` is the label. The first term pulls the features to the
    right centre, the second pushes the others away; those farther than ``j`` are left alone.

    Args:
        logits: ``(N, K)``, as :class:`LeNet5` gives them.
        labels: ``(N,)``, integers from 0 to ``K - 1``.
        j: distance from which a wrong centre is far enough; positive.

    Source: LeCun et al., 1998, equation 9.

    >>> map_loss(torch.tensor([[0.0, -25.0]]), torch.tensor([0]), j=2.0)  # log(exp(-2) + 1)
    tensor(0.1269)
    """
    if logits.dim() != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"map_loss: logits must be (N, K) and labels (N,), got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    if not j > 0:
        raise ValueError(f"map_loss: j must be positive, got {j!r}")
    far = torch.full_like(logits[:, :1], -j)
    return functional.nll_loss(logits, labels) + torch.cat([logits, far], 1).logsumexp(1).mean()


@register
def lenet5(
    *,
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: int = 32,
    output: Literal["rbf", "linear"] = "rbf",
    centers: Tensor | Literal["bitmaps", "random"] | None = None,
    trainable_centers: bool = False,
) -> LeNet5:
    """LeNet-5: :class:`LeNet5`, whose arguments these are.

    >>> model = saccade.models.lenet5()
    >>> sum(p.numel() for p in model.parameters() if p.requires_grad) - 36 * 25  # 36 of 96 connections are absent
    60000
    >>> model(torch.rand(2, 1, 32, 32)).shape
    torch.Size([2, 10])
    """
    return LeNet5(
        num_classes=num_classes,
        in_channels=in_channels,
        image_size=image_size,
        output=output,
        centers=centers,
        trainable_centers=trainable_centers,
    )
