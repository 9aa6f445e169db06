"""ps_roi_align and ps_roi_pool: one kernel, two ways to weigh cells."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade import ops
from saccade.reference import roi as reference
from tests.util import strategies
from tests.util.rois import random_rois
from tests.util.tolerance import assert_close

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
FORMATS = [torch.contiguous_format, torch.channels_last]
# The operation, and the arguments after the scale.
VARIANTS = [("ps_roi_align", (-1,)), ("ps_roi_align", (2,)), ("ps_roi_pool", ())]


def feature_map(channels, dtype=torch.float32, layout=torch.contiguous_format, images=2, height=16, width=13):
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(images, channels, height, width, generator=generator, dtype=torch.float64)
    return x.to(dtype).contiguous(memory_format=layout)


@pytest.mark.parametrize(("name", "more"), VARIANTS)
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_reference(name, more, dtype, layout, device):
    x, rois = (
        feature_map(12, dtype, layout),
        random_rois(20).to(torch.float64 if dtype == torch.float64 else torch.float32),
    )
    ours = getattr(ops, name)(x.to(device), rois.to(device), (2, 3), 0.5, *more)
    theirs = getattr(reference, name)(x.double().numpy(), rois.double().numpy(), (2, 3), 0.5, *more)
    assert ours.dtype == dtype
    assert ours.is_contiguous(memory_format=layout)
    assert_close(ours.cpu(), torch.from_numpy(theirs), "reduction")


@pytest.mark.parametrize(("name", "more"), VARIANTS)
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("channels", [1, 3, 17])
@pytest.mark.parametrize("size", [1, (3, 2), 7])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_equals_torchvision(name, more, channels, size, count, layout, device):
    pair = (size, size) if isinstance(size, int) else size
    x, rois = feature_map(channels * pair[0] * pair[1], layout=layout).requires_grad_(), random_rois(count)
    if name == "ps_roi_align":  # empty regions divide by zero there
        rois = rois[(rois[:, 3] > rois[:, 1]) & (rois[:, 4] > rois[:, 2])]
    elif count > 1:  # the gradient there includes the last row and column, which the forward pass leaves out
        rois = rois[(rois[:, 3] < 23) & (rois[:, 4] < 29)]
    theirs = getattr(pytest.importorskip("torchvision").ops, name)(x, rois, size, 0.5, *more)
    grad = torch.randn_like(theirs)
    (theirs_grad,) = torch.autograd.grad(theirs, x, grad)
    on_device = x.detach().to(device).requires_grad_()
    ours = getattr(ops, name)(on_device, rois.to(device), size, 0.5, *more)
    (ours_grad,) = torch.autograd.grad(ours, on_device, grad.to(device))
    assert_close(ours.cpu(), theirs, "reduction")
    assert_close(ours_grad.cpu(), theirs_grad, "reduction")
    assert ours_grad.is_contiguous(memory_format=layout)


@pytest.mark.parametrize(("name", "more"), VARIANTS)
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_of_every_dtype(name, more, dtype, layout, device):
    x, rois = feature_map(36, dtype, layout).to(device).requires_grad_(), random_rois(20).to(device)
    rois = rois.double() if dtype == torch.float64 else rois
    out = getattr(ops, name)(x, rois, (3, 2), 0.5, *more)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(device, dtype)
    (ours,) = torch.autograd.grad(out, x, grad)
    double = x.detach().double().requires_grad_()
    (theirs,) = torch.autograd.grad(
        getattr(ops, name)(double, rois.double(), (3, 2), 0.5, *more), double, grad.double()
    )
    assert ours.dtype == dtype
    assert_close(ours.cpu(), theirs.cpu(), "reduction")


@pytest.mark.parametrize(("name", "more"), VARIANTS)
@pytest.mark.parametrize("layout", FORMATS)
def test_same_bits_for_any_number_of_threads(name, more, layout):
    x, rois = feature_map(98, layout=layout, height=50).requires_grad_(), random_rois(150, size=60)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            out = getattr(ops, name)(x, rois, 7, 0.5, *more)
            results.append((out, *torch.autograd.grad(out.square().sum(), x)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert torch.equal(results[0][0], other[0])
        assert torch.equal(results[0][1], other[1])


def test_empty_regions_are_zero(device):
    rois = torch.tensor([[0.0, 5, 5, 5, 5], [0, 5, 5, 3, 2], [0, 5, 5, float("nan"), 9]], device=device)
    x = feature_map(4, images=1).to(device)
    assert not ops.ps_roi_align(x, rois, 2).any()
    assert not ops.ps_roi_pool(x, rois[2:], 2).any()


@pytest.mark.parametrize(("name", "more"), VARIANTS)
def test_errors(name, more):
    operation = getattr(ops, name)
    with pytest.raises(ValueError, match=rf"^{name}: input must have a multiple of 2 \* 3 channels, got 7$"):
        operation(torch.rand(1, 7, 4, 4), torch.zeros(1, 5), (2, 3), 1.0, *more)
    with pytest.raises(TypeError, match=rf"^{name}: input must be float16, bfloat16, float32 or float64, got uint8$"):
        operation(torch.zeros(1, 6, 4, 4, dtype=torch.uint8), torch.ones(1, 5), (2, 3), 1.0, *more)


@pytest.mark.parametrize(("name", "more"), VARIANTS)
@pytest.mark.parametrize("layout", FORMATS)
def test_opcheck_and_gradcheck(name, more, layout, device):
    x = feature_map(4, torch.float64, layout, 1, 4, 5).to(device).requires_grad_()
    rois = random_rois(6, images=1, size=10, dtype=torch.float64).to(device)
    assert torch.autograd.gradcheck(lambda t: getattr(ops, name)(t, rois, 2, 0.5, *more), x)
    assert torch.autograd.gradgradcheck(lambda t: getattr(ops, name)(t, rois, 2, 0.5, *more), x)
    torch.library.opcheck(getattr(torch.ops.saccade, name).default, (x, rois, 0.5, 2, 2, *more))
    grad = torch.rand(6, 1, 2, 2, device=device, dtype=torch.float64).contiguous(memory_format=layout)
    arguments = (grad, rois, x.shape, 0.5, 2, 2, *more, layout == torch.channels_last)
    torch.library.opcheck(getattr(torch.ops.saccade, f"_{name}_backward").default, arguments)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (ops.PSRoIAlign(2, 0.5, -1), "PSRoIAlign(output_size=2, spatial_scale=0.5, sampling_ratio=-1)"),
        (ops.PSRoIPool(2, 0.5), "PSRoIPool(output_size=2, spatial_scale=0.5)"),
    ],
)
def test_modules_compile_and_export(module, text):
    assert repr(module) == text
    x, rois = feature_map(8).requires_grad_(), random_rois(6)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, rois), module(x, rois))
    (grad,) = torch.autograd.grad(compiled(x, rois).sum(), x)
    assert torch.equal(grad, torch.autograd.grad(module(x, rois).sum(), x)[0])
    exported = torch.export.export(module, (x.detach(), rois))
    assert torch.equal(exported.module()(x.detach(), rois), module(x, rois))


@settings(max_examples=150, deadline=None)
@given(
    variant=st.sampled_from(VARIANTS),
    boxes=strategies.boxes(),
    channels=st.integers(1, 2),
    height=st.integers(0, 6),
    width=st.integers(0, 6),
    output_size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    layout=st.sampled_from(FORMATS),
)
def test_any_boxes_at_all(variant, boxes, channels, height, width, output_size, layout):
    name, more = variant
    x = feature_map(
        channels * output_size[0] * output_size[1], torch.float64, layout, 1, height, width
    ).requires_grad_()
    rois = torch.from_numpy(np.pad(boxes, ((0, 0), (1, 0)))).double()
    ours = getattr(ops, name)(x, rois, output_size, 0.5, *more)
    assert ours.isfinite().all()
    ours.sum().backward()
    assert x.grad.isfinite().all()
    tame = (rois.abs() < 1e3).all(1)
    if height and width:
        theirs = getattr(reference, name)(x.detach().numpy(), rois[tame].numpy(), output_size, 0.5, *more)
        assert_close(ours.detach()[tame], torch.from_numpy(theirs), "reduction")
