import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saccade import _numpy, ops
from saccade.reference import boxes as reference
from tests.util import strategies
from tests.util.tolerance import assert_close

tv = pytest.importorskip("torchvision.ops")

FUNCTIONS = ["box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou"]
KINDS = dict(zip(FUNCTIONS, ["iou", "generalized", "distance", "complete"], strict=True))
FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
SIZES = [0, 1, 7, 8, 15, 16, 17, 101]


def random_boxes(n, dtype=torch.float32, seed=0, extent=60):
    """Corner boxes with equal, touching, empty and inverted ones among them, whole numbers often."""
    generator = torch.Generator().manual_seed(seed + n)
    corner = torch.rand(n, 2, generator=generator, dtype=torch.float64) * extent
    boxes = torch.cat([corner, corner + torch.rand(n, 2, generator=generator, dtype=torch.float64) * extent], 1)
    boxes[::3] = boxes[::3].round()
    if n > 12:
        boxes[3] = boxes[2]
        boxes[5, 2:] = boxes[5, :2]
        boxes[7] = boxes[7, [2, 3, 0, 1]]
        boxes[9, 0] = boxes[8, 2]
        boxes[11] = 0
    return boxes.to(dtype)


def proper_boxes(n, dtype=torch.float32, seed=0):
    """Boxes with an area that do not touch those of another seed: no NaN, and one derivative only."""
    boxes = random_boxes(n, torch.float64, seed) + seed / 7
    return torch.cat([boxes[:, :2], torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)], 1).to(dtype)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_torchvision_bit_for_bit(name, dtype, device):
    family = "elementwise" if name == "complete_box_iou" else "exact"  # complete: another arc tangent
    for n, m in itertools.product(SIZES, SIZES):
        a, b = random_boxes(n, dtype), random_boxes(m, dtype, seed=1)
        actual = getattr(ops, name)(a.to(device), b.to(device)).cpu()
        assert_close(actual, getattr(tv, name)(a, b), family)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_reference(name, dtype, device):
    a, b = random_boxes(33, dtype), random_boxes(40, dtype, seed=2)
    expected = torch.from_numpy(reference.box_iou(a.numpy(), b.numpy(), KINDS[name]))
    finite = expected.isfinite()  # an inverted pair may divide by almost nothing: compared with torchvision above
    actual = getattr(ops, name)(a.to(device), b.to(device)).cpu()
    assert_close(actual[finite].clamp(-2, 2), expected[finite].clamp(-2, 2), "elementwise")


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_read_as_float32(name, dtype, device):
    a, b = random_boxes(30, dtype), random_boxes(41, dtype, seed=1)
    actual = getattr(ops, name)(a.to(device), b.to(device)).cpu()
    expected = getattr(tv, name)(a.float(), b.float())
    assert_close(actual, expected, "elementwise" if name == "complete_box_iou" else "exact")
    assert actual.dtype == getattr(tv, name)(a, b).dtype


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_equal_torchvision(name, dtype, device):
    a, b = random_boxes(30, dtype), random_boxes(41, dtype, seed=1)
    # torchvision subtracts in the dtype of the boxes, where uint8 wraps around: it gets the same boxes as int32.
    expected = getattr(tv, name)(*((a.int(), b.int()) if dtype == torch.uint8 else (a, b)))
    actual = getattr(ops, name)(a.to(device), b.to(device)).cpu()
    assert_close(actual, expected, "elementwise" if name == "complete_box_iou" else "exact")


def test_large_integers_do_not_wrap_around(device):
    boxes = torch.tensor([[0, 0, 2**31 - 1, 2**31 - 1], [0, 0, 2**30, 2**31 - 1]], dtype=torch.int32)
    assert ops.box_iou(boxes[:1].to(device), boxes[1:].to(device)).item() == 0.5
    disjoint = torch.tensor([[0, 0, 10, 10], [20, 20, 30, 30]], dtype=torch.uint8)
    assert ops.box_iou(disjoint.to(device), disjoint.to(device)).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("fmt", ["xywh", "cxcywh"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32])
def test_formats(fmt, dtype, device):
    a, b = random_boxes(30, dtype), random_boxes(41, dtype, seed=1)
    assert_close(ops.box_iou(a.to(device), b.to(device), fmt).cpu(), tv.box_iou(a, b, fmt), "exact")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_leading_dimensions_broadcast(name, device):
    a, b = random_boxes(24).view(2, 1, 12, 4).to(device), random_boxes(15).view(3, 5, 4).to(device)
    actual, expected = getattr(ops, name)(a, b).cpu(), getattr(tv, name)(a.cpu(), b.cpu())
    assert actual.shape == (2, 3, 12, 5)
    assert_close(actual, expected, "elementwise" if name == "complete_box_iou" else "exact")


def test_any_strides(device):
    a, b = random_boxes(40).to(device), random_boxes(20, seed=1).to(device)
    expected = ops.box_iou(a[::2], b)
    assert torch.equal(ops.box_iou(a.flip(0).flip(0)[::2], b.t().contiguous().t()), expected)
    assert torch.equal(ops.box_iou(a[::2], b[:1].expand(20, 4))[:, :1], expected[:, :1])


def test_mixed_dtypes_take_the_wider_one(device):
    a, b = random_boxes(9, torch.int64).to(device), random_boxes(5).to(device)
    assert torch.equal(ops.box_iou(a, b), ops.box_iou(a.float(), b))
    assert ops.box_iou(b, b.double()).dtype == torch.float64


def test_threads_do_not_change_results():
    a, b = random_boxes(301), random_boxes(203, seed=1)
    grad = torch.rand(301, 203)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        x = a.clone().requires_grad_()
        result = ops.complete_box_iou(x, b)
        result.nan_to_num().backward(grad)
        results.append((result.detach(), x.grad))
    for one, two in zip(*results, strict=True):
        assert_close(one, two, "exact")


@pytest.mark.parametrize("name", FUNCTIONS)
@given(a=strategies.boxes(), b=strategies.boxes())
def test_any_coordinates(name, a, b):
    # Without -0: max(0, -0) has one sign in torch's vector code and another in its scalar code, and 1 / 0 shows it.
    a, b = torch.from_numpy(a) + 0, torch.from_numpy(b) + 0
    actual, expected = getattr(ops, name)(a, b), getattr(tv, name)(a, b)
    assert torch.equal(actual.isnan(), expected.isnan())
    # The penalty of the complete IoU overflows to infinity a bit earlier or later with another arc tangent.
    if name != "complete_box_iou":
        assert_close(actual, expected, "exact")


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients_equal_torchvision(name, dtype, device):
    a, b = proper_boxes(30, dtype), proper_boxes(41, dtype, seed=1)
    a[:4] = b[:4]  # equal boxes: every maximum and minimum is a tie
    weights = torch.rand(30, 41, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, y = (boxes.to(device, copy=True).requires_grad_() for boxes in (a, b))
    result = getattr(ops, name)(x, y)
    result.backward(weights.to(result))
    expected_x, expected_y = (boxes.to(torch.float64, copy=True).requires_grad_() for boxes in (a, b))
    getattr(tv, name)(expected_x, expected_y).backward(weights)
    assert x.grad.dtype == dtype
    assert_close(x.grad.cpu(), expected_x.grad, "reduction")
    assert_close(y.grad.cpu(), expected_y.grad, "reduction")


@pytest.mark.parametrize("fmt", ["xyxy", "xywh", "cxcywh"])
def test_gradcheck_formats(fmt, device):
    a, b = ops.box_convert(random_boxes(4, torch.float64), "xyxy", fmt), random_boxes(19, torch.float64, seed=3)[:5]
    b = ops.box_convert(b, "xyxy", fmt)
    inputs = [boxes.to(device).requires_grad_() for boxes in (a, b)]
    assert torch.autograd.gradcheck(lambda x, y: ops.box_iou(x, y, fmt), inputs)


@pytest.mark.parametrize("name", FUNCTIONS[:3])
def test_gradcheck(name, device):
    a, b = random_boxes(6, torch.float64), random_boxes(5, torch.float64, seed=3)
    inputs = [a.view(2, 3, 4).to(device).requires_grad_(), b.view(1, 5, 4).to(device).requires_grad_()]
    assert torch.autograd.gradcheck(getattr(ops, name), inputs)


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("n", [0, 5, 17])
def test_opcheck(kind, n, device):
    a, b = (boxes.to(device).requires_grad_() for boxes in (proper_boxes(n), proper_boxes(9, seed=3)))
    torch.library.opcheck(torch.ops.saccade.box_iou.default, (a, b, kind, 0, 1e-7))
    grad = torch.rand(9, n, device=device).mT
    inputs = (grad, a.detach(), b.detach(), kind, 0, 1e-7)
    torch.library.opcheck(torch.ops.saccade._box_iou_backward.default, inputs)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compile_and_export(name):
    function = getattr(ops, name)
    a, b = random_boxes(20), random_boxes(9, seed=1)
    compiled = torch.compile(lambda x, y: function(x, y) * 2, fullgraph=True, backend="aot_eager")
    assert_close(compiled(a, b), function(a, b) * 2, "exact")

    class Module(torch.nn.Module):
        def forward(self, x, y):
            return function(x, y)

    count = torch.export.Dim("count", min=2)
    program = torch.export.export(Module(), (a, b), dynamic_shapes=({0: count}, None))
    assert_close(program.module()(a[:11], b), function(a[:11], b), "exact")


def test_autocast_leaves_the_precision_alone():
    a, b = random_boxes(20), random_boxes(9, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(ops.box_iou(a, b), ops.box_iou(a.clone(), b), "exact")
        assert ops.box_iou(a.bfloat16(), b).dtype == torch.float32


@given(data=st.data(), a=strategies.boxes(), b=strategies.boxes())
def test_numpy_equals_torch(data, a, b):
    actual = _numpy.box_iou(data.draw(strategies.awkward_layouts(a)), data.draw(strategies.awkward_layouts(b)))
    np.testing.assert_array_equal(actual, ops.box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors(name):
    function = getattr(ops, name)
    good = torch.rand(3, 4)
    with pytest.raises(ValueError, match=rf"^{name}: boxes1 must have shape \(\.\.\., N, 4\), got \(10, 5\)$"):
        function(torch.rand(10, 5), good)
    with pytest.raises(ValueError, match=rf"^{name}: boxes2 must have shape \(\.\.\., N, 4\), got \(4,\)$"):
        function(good, torch.rand(4))
    with pytest.raises(TypeError, match=rf"^{name}: boxes1 must be of a floating or an integer dtype, got bool$"):
        function(good.bool(), good.bool())
    with pytest.raises(TypeError, match=rf"^{name}: boxes2 must be a torch.Tensor, got list$"):
        function(good, [[0, 0, 1, 1]])
    message = (
        rf"^{name}: boxes1 and boxes2 must have leading dimensions that broadcast, got \(2, 3, 4\) and \(5, 3, 4\)$"
    )
    with pytest.raises(ValueError, match=message):
        function(good.expand(2, 3, 4), good.expand(5, 3, 4))


def test_errors_of_the_format_and_of_numpy():
    message = r"^box_iou: fmt must be one of xyxy, xywh, cxcywh, cxcywhr, xywhr, xyxyxyxy, got 'xxyy'$"
    with pytest.raises(ValueError, match=message):
        ops.box_iou(torch.rand(3, 4), torch.rand(3, 4), fmt="xxyy")
    with pytest.raises(ValueError, match=r"^box_iou: boxes1 must have shape \(\.\.\., N, 4\), got \(10, 5\)$"):
        _numpy.box_iou(np.zeros((10, 5)), np.zeros((10, 4)))
    with pytest.raises(
        TypeError, match=r"^box_iou: boxes1 and boxes2 must have the same dtype, got float64 and int32$"
    ):
        _numpy.box_iou(np.zeros((1, 4)), np.zeros((1, 4), np.int32))
