"""A segmentation transformer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade.models._checks import check_images, positive
from saccade.models._registry import register
from saccade.models.segmentation._resize import resize
from saccade.models.vit import VisionTransformer, _Block

__all__ = ["Segmenter", "segmenter_tiny"]


class _Affine(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.full((classes,), 10.0)), nn.Parameter(torch.zeros(classes))

    def forward(self, input: Tensor) -> Tensor:
        return input * self.weight + self.bias


class _MaskTransformer(nn.Module):
    """Tokens of classes among those of patches; a score is how alike the two are after some blocks."""

    def __init__(self, dim: int, depth: int, heads: int, mlp_dim: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.proj_dec = nn.Linear(dim, dim)
        self.cls_emb = nn.Parameter(torch.empty(1, num_classes, dim))
        self.blocks = nn.Sequential(*(_Block(dim, heads, mlp_dim, dropout, dropout) for _ in range(depth)))
        self.decoder_norm = nn.LayerNorm(dim)
        self.proj_patch, self.proj_classes = (nn.Linear(dim, dim, bias=False) for _ in range(2))
        self.affine = _Affine(num_classes)
        nn.init.trunc_normal_(self.cls_emb, std=0.02)
        for layer in (self.proj_patch, self.proj_classes):
            nn.init.normal_(layer.weight, std=dim**-0.5)

    def forward(self, patches: Tensor) -> Tensor:
        """``(N, P, dim)`` to ``(N, P, num_classes)``."""
        count = patches.shape[1]
        tokens = torch.cat([self.proj_dec(patches), self.cls_emb.expand(patches.shape[0], -1, -1)], 1)
        tokens = self.decoder_norm(self.blocks(tokens))
        found = functional.normalize(self.proj_patch(tokens[:, :count]), dim=-1)
        classes = functional.normalize(self.proj_classes(tokens[:, count:]), dim=-1)
        return self.affine(found @ classes.transpose(1, 2))


class Segmenter(nn.Module):
    """A vision transformer, a transformer of patches and classes together, bilinear up-sampling.

    Args:
        depth, heads, dim, mlp_dim: blocks, heads of each, width of a token, width inside the perceptron.
        decoder_depth: blocks of the second transformer.
        num_classes: the background included.
        in_channels: of the images.
        image_size: side of the images, a multiple of ``patch_size``.
        patch_size: side of a patch.
        dropout: probability.

    Input: ``(N, in_channels, image_size, image_size)``. Output: logits, ``(N, num_classes, image_size, image_size)``.
    ``encoder`` has the keys of :class:`saccade.models.vit.VisionTransformer` without its classifier.

    Source: Strudel et al., Segmenter: Transformer for Semantic Segmentation, 2021, with the mask transformer. Its
    scores are cosines, which the paper normalises over the classes. Of two classes that leaves only which is the
    larger, and no gradient; here each class has a scale and a bias instead.
    """

    def __init__(
        self,
        depth: int,
        heads: int,
        dim: int,
        mlp_dim: int,
        *,
        decoder_depth: int = 2,
        num_classes: int = 21,
        in_channels: int = 3,
        image_size: int = 224,
        patch_size: int = 16,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        positive("Segmenter", num_classes=num_classes, decoder_depth=decoder_depth)
        size: dict[str, Any] = {"in_channels": in_channels, "image_size": image_size, "patch_size": patch_size}
        self.encoder = VisionTransformer(depth, heads, dim, mlp_dim, num_classes=1, dropout=dropout, **size)
        del self.encoder.heads
        self.decoder = _MaskTransformer(dim, decoder_depth, heads, mlp_dim, num_classes, dropout)
        self.in_channels, self.image_size, self.patch_size = in_channels, image_size, patch_size

    def forward(self, images: Tensor) -> Tensor:
        """Logits, ``(N, num_classes, image_size, image_size)``."""
        check_images("Segmenter", images, self.in_channels, side=self.image_size)
        scores = self.decoder(self.encoder.features(images)[:, 1:])
        side = self.image_size // self.patch_size
        return resize(scores.transpose(1, 2).unflatten(2, (side, side)), (self.image_size, self.image_size))


@register
def segmenter_tiny(**options: Any) -> Segmenter:
    """Segmenter of 12 + 2 blocks, 3 heads, tokens of 192; ``options`` are :class:`Segmenter`'s after ``mlp_dim``.

    >>> model = saccade.models.segmenter_tiny(num_classes=4, image_size=32, patch_size=8)
    >>> model(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 4, 32, 32])
    """
    return Segmenter(12, 3, 192, 768, **options)
