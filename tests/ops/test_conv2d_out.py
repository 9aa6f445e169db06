"""Convolutions into memory that the caller brings."""

import pytest
import torch

from saccade import ops
from saccade.ops._conv import ALGORITHMS, Choice
from saccade.ops.conv2d import conv2d_fused_out
from tests.util.convolutions import CASES, DTYPES, FORMATS, tensors
from tests.util.devices import runs_cuda_kernels


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_into_given_memory(case, dtype, layout, device):
    """The same bits into the residual's memory and into another tensor's."""
    inputs, sizes = tensors(case, dtype, layout, device)
    residual = torch.randn_like(ops.conv2d(*inputs, **sizes))
    for activation in (None, "relu", "elu"):
        fused = {**sizes, "activation": activation}
        expected = ops.conv2d_fused(*inputs, residual=residual, **fused)
        own, copy = torch.empty_like(residual), residual.clone()
        for out, term in ((own, residual), (copy, copy))[: 2 if sizes["groups"] == 1 else 1]:
            assert conv2d_fused_out(lambda *_, out=out: out, *inputs, residual=term, **fused) is out
            assert torch.equal(out, expected)


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "gemm"])
@pytest.mark.parametrize("layout", FORMATS)
def test_winograd_into_its_residual(algorithm, layout, monkeypatch):
    x, weight, residual = torch.randn(2, 33, 19, 30), torch.randn(50, 33, 3, 3), torch.randn(2, 50, 19, 30)
    x, residual = (t.contiguous(memory_format=layout) for t in (x, residual))
    expected = ops.conv2d_fused(x, weight, padding=1, residual=residual, activation="relu", algorithm=algorithm)
    monkeypatch.setitem(conv2d_fused_out.__globals__, "choose", lambda *_: Choice(algorithm, ""))
    conv2d_fused_out(lambda *_: residual, x, weight, padding=1, residual=residual, activation="relu")
    assert torch.equal(residual, expected)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (torch.empty(1, 4, 5, 5), ValueError, "out must be channels_last, as input is"),
        (torch.empty(1, 4, 5, 6), ValueError, "out must have shape of the result, got (1, 4, 5, 6)"),
        (
            torch.empty(1, 4, 5, 5).double(),
            TypeError,
            "out and input must have the same dtype, got float64 and float32",
        ),
    ],
)
def test_memory_that_does_not_fit(out, error, message):
    x = torch.rand(1, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    with pytest.raises(error) as raised:
        conv2d_fused_out(lambda *_: out, x, torch.rand(4, 3, 1, 1))
    assert str(raised.value) == f"conv2d_fused: {message}"


@pytest.mark.skipif(runs_cuda_kernels("cpu"), reason="each result is a thread's own on CUDA")
def test_groups_do_not_write_over_their_residual():
    residual = torch.rand(1, 4, 5, 5)
    with pytest.raises(
        ValueError, match=r"^conv2d_fused: groups must be 1 for a result in the residual's memory, got 4$"
    ):
        conv2d_fused_out(
            lambda *_: residual, torch.rand(1, 4, 5, 5), torch.rand(4, 1, 1, 1), groups=4, residual=residual
        )
