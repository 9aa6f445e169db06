"""The attention block beside its formula."""

import copy

import pytest
import torch

from saccade import nn
from tests.util.tolerance import assert_close


def by_hand(block, x):
    n, c, h, w = x.shape
    tokens = x.permute(0, 2, 3, 1).reshape(n, h * w, c)
    mean, var = tokens.mean(2, keepdim=True), tokens.var(2, keepdim=True, unbiased=False)
    normal = (tokens - mean) / (var + 1e-5).sqrt() * block.norm.weight + block.norm.bias
    query, key, value = (normal @ block.qkv.weight.T + block.qkv.bias).split(c, 2)
    size = c // block.num_heads
    heads = []
    for i in range(block.num_heads):
        part = slice(i * size, (i + 1) * size)
        weights = (query[..., part] @ key[..., part].transpose(1, 2) / size**0.5).softmax(2)
        heads.append(weights @ value[..., part])
    result = torch.cat(heads, 2) @ block.proj.weight.T + block.proj.bias
    return x + result.reshape(n, h, w, c).permute(0, 3, 1, 2)


@pytest.mark.parametrize("heads", [1, 2, 6])
def test_formula_and_gradients(heads):
    block = nn.AttentionBlock(6, heads).double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 6, 3, 4, dtype=torch.float64, requires_grad=True)
    out, expected = block(x), by_hand(block, x)
    assert_close(out.detach(), expected.detach(), "reduction")
    grads = [torch.autograd.grad(y.square().sum(), [x, *block.parameters()]) for y in (out, expected)]
    for a, b in zip(*grads, strict=True):
        assert_close(a, b, "reduction")


def test_positions_do_not_count():
    block, x = nn.AttentionBlock(4, 2).double(), torch.randn(1, 4, 3, 5, dtype=torch.float64)
    order = torch.randperm(15)
    moved = x.flatten(2)[..., order].reshape(x.shape)
    assert_close(block(moved).detach(), block(x).flatten(2)[..., order].reshape(x.shape).detach(), "reduction")


def test_options():
    x = torch.randn(1, 4, 3, 5)
    assert torch.equal(nn.AttentionBlock(4, zero_init=True)(x), x)
    block = nn.AttentionBlock(4, dropout=0.5)
    assert not torch.equal(block(x), block(x))
    assert torch.equal(block.eval()(x), block(x))
    assert "4, num_heads=1, dropout=0.5" in repr(block)
    last = x.contiguous(memory_format=torch.channels_last)
    assert_close(block(last).detach(), block(x).detach(), "reduction")


def test_compiled():
    torch._dynamo.reset()
    block, x = nn.AttentionBlock(4, 2), torch.randn(1, 4, 3, 5)
    fast = torch.compile(copy.deepcopy(block), backend="aot_eager", fullgraph=True)
    assert_close(fast(x).detach(), block(x).detach(), "reduction")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.AttentionBlock(6, 4), "AttentionBlock: num_heads must divide channels, got 4 and 6"),
        (lambda: nn.AttentionBlock(6, 0), "AttentionBlock: num_heads must divide channels, got 0 and 6"),
        (lambda: nn.AttentionBlock(6, dropout=1.0), "AttentionBlock: dropout must be from 0 to below 1, got 1.0"),
        (
            lambda: nn.AttentionBlock(6)(torch.zeros(1, 5, 2, 2)),
            "AttentionBlock: input must have shape (N, 6, H, W), got (1, 5, 2, 2)",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        call()
    assert str(error.value) == message
