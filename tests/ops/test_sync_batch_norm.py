"""The parts of synchronised batch normalisation, put together in one process as several would do it."""

import pytest
import torch
import torch.nn.functional as F

from saccade.ops._sync_batch_norm import combine
from tests.util.tolerance import assert_close

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
FORMATS = [torch.contiguous_format, torch.channels_last]
SHAPES = [(7, 3, 5, 4), (6, 17, 1, 1), (5, 16, 9, 8), (3, 5, 65, 67)]
EPS = 1e-3
operators = torch.ops.saccade


def batch(shape, layout=FORMATS[0], dtype=torch.float32, device="cpu", offset=0.0):
    """Input, residual, gradient; weight and bias."""
    generator = torch.Generator().manual_seed(sum(shape))
    whole = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3)]
    whole[0] += offset
    parameters = torch.randn(2, shape[1], generator=generator, dtype=torch.float64)
    laid_out = [t.to(device, dtype).contiguous(memory_format=layout) for t in whole]
    return *laid_out, *parameters.to(device, dtype)


def row(part):
    moments = operators._sync_batch_norm_statistics(part)
    return torch.cat([moments.flatten(), moments.new_full((1,), part.numel() // part.shape[1])])


def in_parts(sizes, x, residual, grad, weight, bias, activation):
    """Output and gradients, from as many batches as there are sizes."""
    parts, residuals, grads = (t.split(sizes) for t in (x, residual, grad))
    mean, var, count = combine(torch.stack([row(part) for part in parts]))
    out = [
        operators._sync_batch_norm_apply(part, mean, var, weight, bias, EPS, own, activation)
        for part, own in zip(parts, residuals, strict=True)
    ]
    accumulator = torch.float64 if x.dtype == torch.float64 else torch.float32
    used = mean.to(accumulator), var.to(accumulator)
    steps = list(zip(grads, parts, [part if activation else None for part in out], strict=True))
    sums = [operators._sync_batch_norm_backward_sums(*step, *used, EPS, activation) for step in steps]
    means = torch.stack(sums).sum(0) / count
    ends = [
        operators._sync_batch_norm_backward_apply(*step, weight, *used, means, EPS, activation, True) for step in steps
    ]
    grad_bias, grad_weight = torch.stack(sums).sum(0)
    return mean, var, torch.cat(out), *map(torch.cat, zip(*ends, strict=True)), grad_weight, grad_bias


def at_once(x, residual, grad, weight, bias, activation):
    x, residual, weight, bias = leaves = [
        t.detach().double().cpu().requires_grad_() for t in (x, residual, weight, bias)
    ]
    out = F.batch_norm(x, None, None, weight, bias, True, eps=EPS) + residual
    out = F.elu(out) if activation else out
    grads = torch.autograd.grad(out, leaves, grad.double().cpu())
    dims = [d for d in range(x.dim()) if d != 1]
    return x.mean(dims), x.var(dims, correction=0), out, *grads


@pytest.mark.parametrize("activation", [0, 3])
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_parts_of_a_batch_give_what_the_batch_gives(shape, dtype, layout, activation, device):
    arguments = *batch(shape, layout, dtype, device), activation
    theirs = at_once(*arguments)
    for sizes in ([shape[0]], [1, shape[0] - 1], [2, 0, shape[0] - 2]):
        ours = in_parts(sizes, *arguments)
        for mine, other in zip(ours[2:], theirs[2:], strict=True):
            assert_close(mine.cpu().to(dtype), other.detach(), "reduction")
        for mine, other in zip(ours[:2], theirs[:2], strict=True):
            assert_close(mine.cpu().to(dtype), other.detach(), "elementwise")


@pytest.mark.parametrize("layout", FORMATS)
def test_an_offset_costs_nothing(layout, device):
    arguments = *batch((6, 5, 20, 21), layout, device=device, offset=1e4), 0
    ours, theirs = in_parts([1, 3, 2], *arguments), at_once(*arguments)
    torch.testing.assert_close(ours[1].cpu(), theirs[1].detach(), rtol=1e-5, atol=0)
    assert_close(ours[2].cpu(), theirs[2].detach(), "reduction")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_spreads_over_its_channel_in_all_parts(value, device):
    x, residual, grad, weight, bias = batch((4, 18, 5, 7), device=device)
    x[0, 3, 2, 2] = value
    ours = in_parts([2, 2], x, residual, grad, weight, bias, 0)[2].cpu()
    theirs = F.batch_norm(x, None, None, weight, bias, True, eps=EPS).cpu() + residual.cpu()
    assert ours[:, 3].isnan().all()
    assert_close(ours, theirs, "reduction")


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4, 4), (2, 3, 0)])
def test_empty(shape, device):
    x, weight = torch.zeros(shape, device=device), torch.ones(3, device=device)
    ours = in_parts([shape[0]], x, x, x, weight, weight, 0)
    assert ours[0].tolist() == ours[1].tolist() == [0, 0, 0]
    assert ours[2].shape == ours[3].shape == shape
    assert row(x).tolist() == [0] * 7


@pytest.mark.parametrize("layout", FORMATS)
def test_any_strides(layout, device):
    x, residual, grad, weight, bias = batch((4, 8, 6, 10), layout, device=device)
    turned = [torch.stack([t, t], -1)[..., 0] for t in (x, residual, grad, weight, bias)]
    ours, plain = in_parts([1, 3], *turned, 3), in_parts([1, 3], x, residual, grad, weight, bias, 3)
    for mine, other in zip(ours, plain, strict=True):
        assert_close(mine.float(), other, "reduction")


ERRORS = [
    (lambda x, one: operators._sync_batch_norm_statistics(x[0, :, 0, 0]),
     "input must have shape (N, C) or (N, C, ...), got (3,)"),
    (lambda x, one: operators._sync_batch_norm_apply(x, one, one, None, None, EPS, None, 0),
     "mean must be float64, got float32"),
    (lambda x, one: operators._sync_batch_norm_apply(x, *[one.double()] * 2, one[:2], None, EPS, None, 0),
     "weight must have shape (C,) = (3,), got (2,)"),
    (lambda x, one: operators._sync_batch_norm_backward_sums(x, x[:1], None, one, one, EPS, 0),
     "grad must have the shape of input, (1, 3, 4, 5), got (2, 3, 4, 5)"),
    (lambda x, one: operators._sync_batch_norm_backward_apply(x, x, None, None, one, one, one.double(), EPS, 0, False),
     "means must have shape (2, C), got (3,)"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "message"), ERRORS)
def test_errors(function, message, device):
    with pytest.raises(RuntimeError) as caught:
        function(torch.ones(2, 3, 4, 5, device=device), torch.ones(3, device=device))
    assert f"batch_norm: {message}" in str(caught.value)


@pytest.mark.parametrize("layout", FORMATS)
def test_opcheck(layout, device):
    x, residual, grad, weight, bias = batch((3, 4, 5, 6), layout, device=device)
    mean, var, _ = combine(row(x)[None])
    apply = x, mean, var, weight, bias, EPS, residual, 3
    out = operators._sync_batch_norm_apply(*apply)
    step = grad, x, out
    used = mean.float(), var.float()
    sums = operators._sync_batch_norm_backward_sums(*step, *used, EPS, 3)
    torch.library.opcheck(operators._sync_batch_norm_statistics.default, (x,))
    torch.library.opcheck(operators._sync_batch_norm_apply.default, apply)
    torch.library.opcheck(operators._sync_batch_norm_backward_sums.default, (*step, *used, EPS, 3))
    torch.library.opcheck(operators._sync_batch_norm_backward_apply.default, (*step, weight, *used, sums, EPS, 3, True))
