"""Vision transformers in torchvision's layout."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from saccade.models._checks import check_images, positive
from saccade.models._registry import register
from saccade.nn import Conv2d, Dropout

__all__ = ["VisionTransformer", "vit_b_16", "vit_tiny"]

_EPS = 1e-6


class _Block(nn.Module):
    """Attention and a two-layer perceptron, each on normalised tokens and beside a shortcut."""

    def __init__(self, dim: int, heads: int, mlp_dim: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(dim, _EPS)
        self.self_attention = nn.MultiheadAttention(dim, heads, attention_dropout, batch_first=True)
        self.dropout = Dropout(dropout)
        self.ln_2 = nn.LayerNorm(dim, _EPS)
        self.mlp = nn.Sequential(
            nn.Linear(dim, mlp_dim), nn.GELU(), Dropout(dropout), nn.Linear(mlp_dim, dim), Dropout(dropout)
        )  # fmt: skip
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.normal_(layer.bias, std=1e-6)

    def forward(self, tokens: Tensor) -> Tensor:
        normal = self.ln_1(tokens)
        attended, _ = self.self_attention(normal, normal, normal, need_weights=False)
        tokens = tokens + self.dropout(attended)
        return tokens + self.mlp(self.ln_2(tokens))


class _Encoder(nn.Module):
    """Positions added, then blocks one after the other."""

    def __init__(
        self, tokens: int, depth: int, dim: int, heads: int, mlp_dim: int, dropout: float, attention_dropout: float
    ) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.empty(1, tokens, dim).normal_(std=0.02))
        self.dropout = Dropout(dropout)
        blocks = (_Block(dim, heads, mlp_dim, dropout, attention_dropout) for _ in range(depth))
        self.layers = nn.Sequential(OrderedDict((f"encoder_layer_{i}", block) for i, block in enumerate(blocks)))
        self.ln = nn.LayerNorm(dim, _EPS)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.ln(self.layers(self.dropout(tokens + self.pos_embedding)))


class VisionTransformer(nn.Module):
    """An image cut into patches, a token for each and one for the class, a transformer, a linear classifier.

    Args:
        patch_size: side of a patch.
        depth, heads, dim, mlp_dim: blocks, heads of each, width of a token, width inside the perceptron.
        num_classes: size of the output.
        in_channels: of the images.
        image_size: side of the images, a multiple of ``patch_size``.
        dropout, attention_dropout: probabilities.

    Input: ``(N, in_channels, image_size, image_size)``. Output: logits, ``(N, num_classes)``.

    Source: Dosovitskiy et al., An Image is Worth 16x16 Words, 2020.
    """

    def __init__(
        self,
        depth: int,
        heads: int,
        dim: int,
        mlp_dim: int,
        *,
        patch_size: int = 16,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        positive("VisionTransformer", num_classes=num_classes, in_channels=in_channels, patch_size=patch_size)
        positive("VisionTransformer", image_size=image_size)
        if image_size % patch_size:
            raise ValueError(
                f"VisionTransformer: image_size must be a multiple of patch_size, got {image_size} and {patch_size}"
            )
        self.in_channels, self.image_size = in_channels, image_size
        self.conv_proj = Conv2d(in_channels, dim, patch_size, patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        tokens = (image_size // patch_size) ** 2 + 1
        self.encoder = _Encoder(tokens, depth, dim, heads, mlp_dim, dropout, attention_dropout)
        head = nn.Linear(dim, num_classes)
        self.heads = nn.Sequential(OrderedDict(head=head))
        nn.init.trunc_normal_(self.conv_proj.weight, std=math.sqrt(1 / (in_channels * patch_size**2)))
        for zero in (self.conv_proj.bias, head.weight, head.bias):
            nn.init.zeros_(zero)  # type: ignore[arg-type]

    def features(self, images: Tensor) -> Tensor:
        """The tokens after the last block, that of the class first: ``(N, 1 + patches, dim)``."""
        check_images("VisionTransformer", images, self.in_channels, side=self.image_size)
        patches = self.conv_proj(images).flatten(2).transpose(1, 2)
        return self.encoder(torch.cat([self.class_token.expand(patches.shape[0], -1, -1), patches], 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits, ``(N, num_classes)``."""
        return self.heads(self.features(images)[:, 0])


@register
def vit_b_16(**options: Any) -> VisionTransformer:
    """ViT-B/16: 12 blocks, 12 heads, tokens of 768; ``options`` are :class:`VisionTransformer`'s after ``mlp_dim``."""
    return VisionTransformer(12, 12, 768, 3072, **options)


@register
def vit_tiny(**options: Any) -> VisionTransformer:
    """12 blocks, 3 heads, tokens of 192 (Touvron et al., Training data-efficient image transformers, 2021).

    ``options`` are :class:`VisionTransformer`'s after ``mlp_dim``.

    >>> model = saccade.models.vit_tiny(num_classes=10, in_channels=1, image_size=32, patch_size=8)
    >>> model(torch.rand(2, 1, 32, 32)).shape
    torch.Size([2, 10])
    """
    return VisionTransformer(12, 3, 192, 768, **options)
