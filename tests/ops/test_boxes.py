import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saccade import ops
from tests.util import strategies
from tests.util.tolerance import assert_close

tv = pytest.importorskip("torchvision.ops")

FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
UPRIGHT, TURNED = ["xyxy", "xywh", "cxcywh"], ["cxcywhr", "xywhr", "xyxyxyxy"]
WIDTH = {"cxcywhr": 5, "xywhr": 5, "xyxyxyxy": 8}


def random_boxes(shape, dtype):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 90).to(dtype)


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (17, 4), (2, 3, 4), (4,)])
def test_area_equals_torchvision(dtype, shape, device):
    boxes = random_boxes(shape, dtype)
    for fmt in UPRIGHT:
        assert_close(ops.box_area(boxes.to(device), fmt).cpu(), tv.box_area(boxes, fmt), "exact")


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
@pytest.mark.parametrize("shape", [(0,), (17,), (2, 3), ()])
def test_convert_equals_torchvision(dtype, shape, device):
    for pairs in (itertools.product(UPRIGHT, UPRIGHT), itertools.product(TURNED, TURNED)):
        for in_fmt, out_fmt in pairs:
            boxes = random_boxes((*shape, WIDTH.get(in_fmt, 4)), dtype)
            actual = ops.box_convert(boxes.to(device), in_fmt, out_fmt).cpu()
            assert_close(actual, tv.box_convert(boxes, in_fmt, out_fmt), "exact")


@pytest.mark.parametrize(("in_fmt", "out_fmt"), list(itertools.permutations(UPRIGHT, 2)))
def test_convert_and_back(in_fmt, out_fmt):
    boxes = random_boxes((20, 4), torch.float64)
    there = ops.box_convert(boxes, in_fmt, out_fmt)
    torch.testing.assert_close(ops.box_convert(there, out_fmt, in_fmt), boxes)


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
@pytest.mark.parametrize("shape", [(0, 4), (17, 4), (2, 3, 4)])
def test_clip_equals_torchvision(dtype, shape, device):
    boxes = random_boxes(shape, dtype) - (0 if dtype == torch.uint8 else 20)
    for size in ((50, 30), (0, 0)):
        actual = ops.clip_boxes_to_image(boxes.to(device), size).cpu()
        assert_close(actual, tv.clip_boxes_to_image(boxes, size), "exact")


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
def test_remove_small_equals_torchvision(dtype, device):
    boxes = random_boxes((40, 4), dtype)
    for min_size in (0, 10, 10.5):
        actual = ops.remove_small_boxes(boxes.to(device), min_size).cpu()
        assert_close(actual, tv.remove_small_boxes(boxes, min_size), "exact")
    assert ops.remove_small_boxes(boxes[:0].to(device), 1).shape == (0,)


@given(array=strategies.boxes(), size=st.tuples(st.integers(0, 40), st.integers(0, 40)))
def test_any_coordinates(array, size):
    boxes = torch.from_numpy(array)
    assert_close(ops.box_area(boxes), tv.box_area(boxes), "exact")
    assert_close(ops.clip_boxes_to_image(boxes, size), tv.clip_boxes_to_image(boxes, size), "exact")
    assert_close(ops.remove_small_boxes(boxes, 2.5), tv.remove_small_boxes(boxes, 2.5), "exact")
    for in_fmt, out_fmt in itertools.permutations(UPRIGHT, 2):
        assert_close(ops.box_convert(boxes, in_fmt, out_fmt), tv.box_convert(boxes, in_fmt, out_fmt), "exact")


def test_gradcheck():
    boxes = random_boxes((3, 4), torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(ops.box_area, boxes)
    assert torch.autograd.gradcheck(lambda x: ops.clip_boxes_to_image(x, (40, 50)), boxes)
    for in_fmt, out_fmt in itertools.permutations(UPRIGHT, 2):
        assert torch.autograd.gradcheck(lambda x, i=in_fmt, o=out_fmt: ops.box_convert(x, i, o), boxes)


def test_compile_and_export():
    def pipeline(boxes):
        return ops.box_area(ops.clip_boxes_to_image(ops.box_convert(boxes, "cxcywh", "xyxy"), (40, 50)))

    class Module(torch.nn.Module):
        def forward(self, boxes):
            return pipeline(boxes)

    boxes = random_boxes((9, 4), torch.float32)
    assert_close(torch.compile(pipeline, fullgraph=True, backend="aot_eager")(boxes), pipeline(boxes), "exact")
    assert_close(torch.export.export(Module(), (boxes,)).module()(boxes), pipeline(boxes), "exact")


def test_errors():
    boxes = torch.rand(2, 4)
    for function, arguments in (
        (ops.box_area, ()),
        (ops.box_convert, ("xyxy", "xywh")),
        (ops.clip_boxes_to_image, ((1, 1),)),
        (ops.remove_small_boxes, (1,)),
    ):
        name = function.__name__
        with pytest.raises(ValueError, match=rf"^{name}: boxes must have shape \(\.\.\., 4\), got \(10, 5\)$"):
            function(torch.rand(10, 5), *arguments)
        with pytest.raises(TypeError, match=rf"^{name}: boxes must be a torch.Tensor, got list$"):
            function([[1, 2, 3, 4]], *arguments)
    with pytest.raises(ValueError, match=r"^box_area: fmt must be one of xyxy, xywh, cxcywh, got 'xywhr'$"):
        ops.box_area(boxes, "xywhr")
    message = r"^box_convert: out_fmt must be one of xyxy, xywh, cxcywh, cxcywhr, xywhr, xyxyxyxy, got 'yxyx'$"
    with pytest.raises(ValueError, match=message):
        ops.box_convert(boxes, "xyxy", "yxyx")
    message = r"^box_convert: xyxy boxes cannot become xywhr ones: one of them is turned$"
    with pytest.raises(NotImplementedError, match=message):
        ops.box_convert(boxes, "xyxy", "xywhr")
