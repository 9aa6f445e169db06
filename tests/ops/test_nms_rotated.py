import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saccade import ops
from saccade.reference.box_iou_rotated import nms_rotated as reference_nms_rotated
from tests.ops.test_box_iou_rotated import FLOATS, random_boxes
from tests.util import strategies


def random_scores(n, dtype=torch.float64):
    return torch.rand(n, generator=torch.Generator().manual_seed(n), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 16, 17, 33, 60])
def test_equals_reference(n, threshold, device):
    boxes, scores = random_boxes(n, n, torch.float64), random_scores(n)
    keep = ops.nms_rotated(boxes.to(device), scores.to(device), threshold)
    assert keep.dtype == torch.int64
    assert keep.tolist() == reference_nms_rotated(boxes.numpy(), scores.numpy(), threshold).tolist()


@pytest.mark.parametrize("dtype", FLOATS)
def test_dtypes(dtype, device):
    boxes, scores = random_boxes(50, 1, dtype), random_scores(50, dtype)
    keep = ops.nms_rotated(boxes.to(device), scores.to(device), 0.3)
    expected = reference_nms_rotated(boxes.double().numpy(), scores.double().numpy(), 0.3)
    assert keep.tolist() == expected.tolist()


@pytest.mark.parametrize("angle", [0.0, 180.0, -360.0])
def test_upright_boxes_are_those_of_nms(angle, device):
    boxes = random_boxes(600, 2, torch.float64).round()
    boxes[:, 2:4] = boxes[:, 2:4].clamp(min=1) * 2  # corners are integers: both compute exact areas
    boxes[:, 4] = 0
    corners = torch.cat([boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2], 1)
    scores = (random_scores(600) * 10).round()
    expected = ops.nms(corners, scores, 0.41)
    boxes[:, 4] = angle
    assert torch.equal(ops.nms_rotated(boxes.to(device), scores.to(device), 0.41).cpu(), expected)


@pytest.mark.parametrize("threshold", [-1.0, 0.1, 0.6])
@pytest.mark.parametrize("n", [255, 256, 257, 700])
def test_many_boxes(n, threshold, device):
    boxes, scores = random_boxes(n, 5), random_scores(n, torch.float32)
    boxes[:, :2] *= 8  # most are far from each other
    suppresses = ops.box_iou_rotated(boxes, boxes).double().numpy() > threshold
    expected = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        if not suppresses[expected, i].any():
            expected.append(i)
    for max_output in (None, len(expected) // 2 + 1):
        keep = ops.nms_rotated(boxes.to(device), scores.to(device), threshold, max_output)
        assert keep.tolist() == expected[:max_output]


def test_max_output_nan_and_threshold_are_as_in_nms(device):
    boxes, scores = random_boxes(100, 3).to(device), random_scores(100, torch.float32).to(device)
    keep = ops.nms_rotated(boxes, scores, 0.2)
    for max_output in (0, 1, 5, 1000):
        assert torch.equal(ops.nms_rotated(boxes, scores, 0.2, max_output), keep[:max_output])
    same = boxes[:1].repeat(4, 1)
    same[1, 3] = float("nan")
    scores = torch.tensor([0.5, 0.6, float("nan"), 0.7], device=device)
    assert ops.nms_rotated(same, scores, 0.5).tolist() == [2, 1]
    assert ops.nms_rotated(same, scores, 1.0).tolist() == [2, 3, 1, 0]  # iou > threshold, strictly


def test_torch_features():
    boxes, scores = random_boxes(20, 4), random_scores(20, torch.float32)
    torch.library.opcheck(torch.ops.saccade.nms_rotated.default, (boxes, scores, 0.5))
    compiled = torch.compile(lambda b, s: b[ops.nms_rotated(b, s, 0.3)], fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(boxes, scores), boxes[ops.nms_rotated(boxes, scores, 0.3)])
    with torch.autocast("cpu", torch.bfloat16):
        keep = ops.nms_rotated(boxes, scores.to(torch.bfloat16), 0.3)
    assert torch.equal(keep, ops.nms_rotated(boxes, scores.to(torch.bfloat16).float(), 0.3))


def test_errors(device):
    boxes, scores = torch.zeros(10, 5, device=device), torch.zeros(10, device=device)
    for error, message, args in (
        (ValueError, "boxes must have shape (N, 5), got (10, 4)", (boxes[:, :4], scores, 0.5)),
        (ValueError, "boxes and scores must have the same length, got 10 and 3", (boxes, scores[:3], 0.5)),
        (ValueError, "iou_threshold must be a number, got nan", (boxes, scores, float("nan"))),
        (ValueError, "max_output must be at least 0, got -1", (boxes, scores, 0.5, -1)),
        (
            TypeError,
            "boxes and scores must have the same dtype, got float32 and float64",
            (boxes, scores.double(), 0.5),
        ),
        (TypeError, "boxes must be a torch.Tensor, got ndarray", (np.zeros((1, 5)), scores, 0.5)),
    ):
        with pytest.raises(error) as caught:
            ops.nms_rotated(*args)
        assert str(caught.value) == f"nms_rotated: {message}"


@settings(max_examples=100, deadline=None)
@given(boxes=strategies.boxes(40, 5), data=st.data(), threshold=st.floats(-1, 2))
def test_any_boxes(boxes, data, threshold):
    scores = data.draw(hnp.arrays(np.float32, len(boxes), elements=strategies.awkward_floats))
    boxes, scores = torch.from_numpy(boxes), torch.from_numpy(scores)
    keep = ops.nms_rotated(boxes, scores, threshold)
    iou = ops.box_iou_rotated(boxes[keep], boxes).double()
    # No kept box is suppressed by a better one, and every other box is.
    assert not (iou[:, keep] > threshold).triu(1).any()
    rest = torch.ones(len(boxes), dtype=torch.bool)
    rest[keep] = False
    assert (iou[:, rest] > threshold).any(0).all()
