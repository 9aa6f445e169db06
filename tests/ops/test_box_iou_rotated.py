import pytest
import torch
from hypothesis import given, settings

from saccade import ops
from saccade.reference.box_iou_rotated import box_iou_rotated as reference_box_iou_rotated
from tests.util import strategies
from tests.util.tolerance import assert_close

torchvision_ops = pytest.importorskip("torchvision.ops")

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def random_boxes(n, seed=0, dtype=torch.float32):
    """Overlapping boxes of any angle and all kinds of aspect ratios."""
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(n, 5, generator=generator, dtype=torch.float64)
    boxes = torch.cat([unit[:, :2] * 30, torch.exp(unit[:, 2:4] * 3.5), unit[:, 4:] * 800 - 400], 1)
    return boxes.to(dtype)


def reference(boxes1, boxes2):
    return torch.from_numpy(reference_box_iou_rotated(boxes1.double().cpu().numpy(), boxes2.double().cpu().numpy()))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (1, 1), (5, 7), (9, 16), (17, 33)])
def test_equals_reference(n, m, dtype, device):
    boxes1, boxes2 = random_boxes(n, 1, dtype).to(device), random_boxes(m, 2, dtype).to(device)
    iou = ops.box_iou_rotated(boxes1, boxes2)
    assert iou.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_close(iou.cpu(), reference(boxes1, boxes2), "elementwise")


def test_equals_torchvision(device):
    boxes1, boxes2 = random_boxes(100, 3), random_boxes(300, 4)
    expected = torchvision_ops.box_iou(boxes1, boxes2, fmt="cxcywhr")
    assert_close(ops.box_iou_rotated(boxes1.to(device), boxes2.to(device)).cpu(), expected, "elementwise")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shared_sides_and_corners(dtype, device):
    # Sides on the same line, corners on sides, the same box said differently: nothing is counted twice or lost.
    box = torch.tensor([10.0, 20, 8, 4, 30], dtype=dtype)
    others, expected = [], []
    for change, iou in (
        ([0, 0, 0, 0, 0], 1.0),
        ([0, 0, 0, 0, 180], 1.0),
        ([0, 0, 0, 0, -360], 1.0),
        ([0, 0, -4, 4, 90], 1.0),
        ([0, 0, -4, 0, 0], 0.5),
        ([0, 0, -4, -2, 0], 0.25),
        ([0, 0, 8, 4, 0], 0.25),
        ([0, 0, 0, 0, 90], 1 / 3),
    ):
        others.append(box + torch.tensor(change, dtype=dtype))
        expected.append(iou)
    shift = torch.tensor([30.0], dtype=torch.float64).deg2rad()
    for along, iou in ((4.0, 1 / 3), (8.0, 0.0), (-8.0, 0.0), (2.0, 0.6)):
        moved = box.clone()
        moved[0] += (along * shift.cos()).item()
        moved[1] -= (along * shift.sin()).item()
        others.append(moved)
        expected.append(iou)
    others, expected = torch.stack(others).to(device), torch.tensor(expected, dtype=torch.float64)
    for actual in (
        ops.box_iou_rotated(box[None].to(device), others)[0],
        ops.box_iou_rotated(others, box[None].to(device))[:, 0],
    ):
        assert_close(actual.cpu(), expected, "elementwise")


def test_areas_of_every_sign(device):
    sizes = torch.tensor([[2.0, 2], [-2, -2], [-2, 2], [0, 2], [1e-8, 1e-8], [1e-20, 1e20]])
    boxes = torch.cat([torch.zeros(6, 2), sizes, torch.zeros(6, 1)], 1).to(device)
    iou = ops.box_iou_rotated(boxes[:1], boxes)[0].tolist()
    assert iou == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert iou == torchvision_ops.box_iou(boxes[:1].cpu(), boxes.cpu(), fmt="cxcywhr")[0].tolist()


def test_far_from_the_origin(device):
    boxes = random_boxes(20, 5, torch.float64)
    boxes[:, :2] = boxes[:, :2].round()
    moved = boxes + torch.tensor([1e9, -1e9, 0, 0, 0], dtype=torch.float64)
    assert torch.equal(
        ops.box_iou_rotated(moved.to(device), moved.to(device)), ops.box_iou_rotated(boxes.to(device), boxes.to(device))
    )


def test_layouts_and_threads_do_not_matter(device):
    boxes = random_boxes(150, 6).to(device)
    expected = ops.box_iou_rotated(boxes, boxes)
    assert torch.equal(ops.box_iou_rotated(boxes.t().contiguous().t(), boxes.repeat(1, 2)[:, :5]), expected)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert torch.equal(ops.box_iou_rotated(boxes, boxes), expected)
    finally:
        torch.set_num_threads(threads)


def test_torch_features():
    boxes = random_boxes(6, 7)
    torch.library.opcheck(torch.ops.saccade.box_iou_rotated.default, (boxes, boxes[:4]))
    torch.library.opcheck(torch.ops.saccade.box_iou_rotated.default, (boxes.double(), boxes.double()))
    compiled = torch.compile(lambda a, b: ops.box_iou_rotated(a, b) + 1, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(boxes, boxes[:2]), ops.box_iou_rotated(boxes, boxes[:2]) + 1)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = ops.box_iou_rotated(boxes.to(torch.bfloat16), boxes)
    assert torch.equal(mixed, ops.box_iou_rotated(boxes.to(torch.bfloat16).float(), boxes))


def test_errors(device):
    boxes = torch.zeros(3, 5, device=device)
    for error, message, args in (
        (ValueError, "boxes1 must have shape (N, 5), got (3, 4)", (boxes[:, :4], boxes)),
        (ValueError, "boxes2 must have shape (M, 5), got (5,)", (boxes, boxes[0])),
        (TypeError, "boxes1 must be float16, bfloat16, float32 or float64, got int64", (boxes.long(), boxes.long())),
        (TypeError, "boxes1 and boxes2 must have the same dtype, got float32 and float64", (boxes, boxes.double())),
        (TypeError, "boxes2 must be a torch.Tensor, got int", (boxes, 3)),
    ):
        with pytest.raises(error) as caught:
            ops.box_iou_rotated(*args)
        assert str(caught.value) == f"box_iou_rotated: {message}"


@settings(max_examples=100, deadline=None)
@given(boxes=strategies.boxes(20, 5))
def test_any_boxes(boxes):
    iou = ops.box_iou_rotated(torch.from_numpy(boxes), torch.from_numpy(boxes))
    assert ((iou >= 0) & (iou <= 1.00001) | iou.isnan()).all()
