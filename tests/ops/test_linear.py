"""The fully connected layer of accelerated models, beside torch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from saccade.ops import _linear
from saccade.ops._activation import Activation, activate
from saccade.ops._linear import linear_fused
from tests.util.tolerance import assert_close


@pytest.mark.parametrize("shape", [(16, 5), (40, 33), (2, 3, 17, 64), (1, 300, 200), (1000, 1)])
@pytest.mark.parametrize("outs", [1, 10, 129])
@pytest.mark.parametrize("activation", [None, "relu", "sigmoid"])
def test_agrees_with_torch(shape: tuple[int, ...], outs: int, activation: Activation) -> None:
    generator = torch.Generator().manual_seed(0)
    input = torch.randn(shape, generator=generator)
    weight, bias = torch.randn(outs, shape[-1], generator=generator), torch.randn(outs, generator=generator)
    residual = torch.randn(*shape[:-1], outs, generator=generator)
    for b, r in ((None, None), (bias, None), (bias, residual)):
        exact = functional.linear(input.double(), weight.double(), None if b is None else b.double())
        expected = activate(exact if r is None else exact + r, activation)
        got = linear_fused(input, weight, b, residual=r, activation=activation)
        assert got.is_contiguous()
        assert_close(got, expected, "reduction")


@pytest.mark.skipif(not _linear._wide(), reason="torch's product is taken without AVX-512")
def test_runs_on_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the comparison above would be one of torch with itself."""

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(_linear.functional, "linear", refuse)
    weight = torch.randn(4, 3)
    linear_fused(torch.randn(16, 3), weight)
    linear_fused(torch.randn(3, 16).T, weight)
    with pytest.raises(AssertionError):
        linear_fused(torch.randn(15, 3), weight)


def test_a_changed_weight_takes_effect() -> None:
    input, weight = torch.randn(20, 6), torch.randn(4, 6)
    linear_fused(input, weight)
    weight.mul_(2)
    assert_close(linear_fused(input, weight), functional.linear(input, weight), "reduction")


@pytest.mark.parametrize("rows", [0, 1, 15])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_is_torchs_elsewhere(rows: int, dtype: torch.dtype) -> None:
    input, weight = torch.randn(rows, 6, dtype=dtype), torch.randn(4, 6, dtype=dtype)
    assert torch.equal(linear_fused(input, weight, activation="relu"), functional.linear(input, weight).relu())


def test_has_gradients_and_autocasts() -> None:
    input, weight = torch.randn(20, 6), torch.randn(4, 6, requires_grad=True)
    linear_fused(input, weight).sum().backward()
    assert weight.grad is not None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear_fused(input, weight.detach()).dtype == torch.bfloat16


def test_wrong_shapes_are_torchs_errors() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        linear_fused(torch.randn(20, 5), torch.randn(4, 6))
