"""Attention over the positions of feature maps."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["AttentionBlock"]


class AttentionBlock(nn.Module):
    """``x + W attention(Q, K, V)``: every position takes part of the values of all positions.

    Queries, keys and values are linear maps of the normalised features of a position (layer normalisation over the
    channels); each head weighs the values by ``softmax(Q K^T / sqrt(channels / heads))``. Where a position lies does
    not count: add a positional code to the maps if it shall.

    Args:
        channels: of the maps.
        num_heads: divides ``channels``.
        dropout: probability with which a weight of attention is dropped in training.
        zero_init: let the block begin as the identity (``W = 0``).

    Memory stays linear in the number of positions where torch's ``scaled_dot_product_attention`` has a kernel for it.

    Source: Vaswani et al., Attention Is All You Need, 2017; Wang et al., Non-local Neural Networks, 2018.

    >>> block = saccade.nn.AttentionBlock(8, num_heads=2)
    >>> block(torch.rand(1, 8, 5, 6)).shape
    torch.Size([1, 8, 5, 6])
    """

    def __init__(self, channels: int, num_heads: int = 1, dropout: float = 0.0, zero_init: bool = False) -> None:
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise ValueError(f"AttentionBlock: num_heads must divide channels, got {num_heads} and {channels}")
        if not 0 <= dropout < 1:
            raise ValueError(f"AttentionBlock: dropout must be from 0 to below 1, got {dropout!r}")
        self.num_heads, self.dropout = num_heads, dropout
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        if zero_init:
            nn.init.zeros_(self.proj.weight)
            nn.init.zeros_(self.proj.bias)

    def forward(self, input: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the same shape."""
        if input.dim() != 4 or input.shape[1] != self.proj.in_features:
            raise ValueError(
                f"AttentionBlock: input must have shape (N, {self.proj.in_features}, H, W), got {tuple(input.shape)}"
            )
        n, c, h, w = input.shape
        tokens = self.norm(input.flatten(2).transpose(1, 2))
        # (3, N, heads, H W, C / heads)
        query, key, value = self.qkv(tokens).reshape(n, h * w, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        dropped = self.dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropped)
        result = self.proj(attended.transpose(1, 2).reshape(n, h * w, c))
        return input + result.transpose(1, 2).reshape(n, c, h, w)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"{self.proj.in_features}, num_heads={self.num_heads}, dropout={self.dropout}"
