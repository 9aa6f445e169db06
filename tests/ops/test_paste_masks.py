import re
import sys

import numpy as np
import pytest
import torch

from saccade import ops
from saccade.reference.paste_masks import paste_masks as reference

roi_heads = pytest.importorskip("torchvision.models.detection.roi_heads")


def some_boxes(count, side, dtype=torch.float32):
    generator = torch.Generator().manual_seed(count * side)
    corners = torch.rand(count, 2, generator=generator, dtype=torch.float64) * side
    sizes = 1 + torch.rand(count, 2, generator=generator, dtype=torch.float64) * side / 2
    return torch.cat([corners, corners + sizes], 1).to(dtype)


def awkward_boxes(count, side, dtype):
    """Some reach out of an image of about that side on each of its sides, some lie within one pixel."""
    boxes = some_boxes(count, side, dtype)
    boxes[:5, :2] -= boxes[:5, 2:]
    boxes[5:10, 2:] += side
    boxes[10:15, 2:] = boxes[10:15, :2] + 0.01
    return boxes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("side", [1, 4, 28])
@pytest.mark.parametrize("size", [(80, 91), (1, 40), (300, 1)])
def test_equals_torchvision_and_reference(side, dtype, size, device):
    masks, boxes = torch.rand(40, 1, side, side, dtype=dtype), awkward_boxes(40, 70, dtype)
    ours = ops.paste_masks(masks.to(device), boxes.to(device), size).cpu()
    assert ours.dtype == dtype
    tolerance = {"rtol": 0, "atol": 1e-5 if dtype is torch.float32 else 1e-12}
    if size == (80, 91):  # torchvision raises where boxes lie outside
        torch.testing.assert_close(ours, roi_heads.paste_masks_in_image(masks, boxes, size), **tolerance)
    if dtype is torch.float64:  # in which corners are the same whole numbers
        expected = torch.from_numpy(reference(masks[:, 0].numpy(), boxes.numpy(), size))
        torch.testing.assert_close(ours[:, 0], expected, **tolerance)


@pytest.mark.parametrize("padding", [0, 1, 3])
def test_padding(padding, device):
    masks, boxes = torch.rand(9, 5, 5, dtype=torch.float64), some_boxes(9, 30, torch.float64)
    ours = ops.paste_masks(masks.to(device), boxes.to(device), (40, 50), padding).cpu()
    expected = roi_heads.paste_masks_in_image(masks[:, None], boxes, (40, 50), padding)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


def test_large_masks_in_pieces():
    masks, boxes = torch.rand(3, 1, 28, 28), some_boxes(3, 700)
    expected = roi_heads.paste_masks_in_image(masks, boxes, (700, 801))
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(ops.paste_masks(masks, boxes, (700, 801)))
    assert torch.equal(*results)
    torch.testing.assert_close(results[0], expected, rtol=0, atol=1e-5)


def test_differentiable(device, monkeypatch):
    masks = torch.rand(3, 1, 4, 4, dtype=torch.float64, device=device, requires_grad=True)
    boxes = awkward_boxes(16, 10, torch.float64)[[0, 7, 12]].to(device)
    assert torch.autograd.gradcheck(lambda m: ops.paste_masks(m, boxes, (12, 14)), masks)
    (whole,) = torch.autograd.grad(ops.paste_masks(masks, boxes, (12, 14)).square().sum(), masks)
    monkeypatch.setattr(sys.modules["saccade.ops.paste_masks"], "_TEMPORARY", 1)
    (parts,) = torch.autograd.grad(ops.paste_masks(masks, boxes, (12, 14)).square().sum(), masks)
    torch.testing.assert_close(parts, whole)


def test_gradient_is_torchvisions():
    masks, boxes = (
        torch.rand(7, 1, 28, 28, dtype=torch.float64, requires_grad=True),
        awkward_boxes(7, 50, torch.float64),
    )
    weights = torch.rand(7, 1, 60, 50, dtype=torch.float64)
    gradients = [
        torch.autograd.grad((paste(masks, boxes, (60, 50)) * weights).sum(), masks)[0]
        for paste in (ops.paste_masks, roi_heads.paste_masks_in_image)
    ]
    torch.testing.assert_close(*gradients)


def test_boxes_outside_or_far_away(device):
    boxes = torch.tensor([[-20.0, 2, -8, 6], [2, 30, 6, 40], [1e30, 1e30, 2e30, 2e30], [-3e38, 0, -1e38, 9]])
    boxes = torch.cat([boxes, torch.full((1, 4), torch.nan)]).to(device)
    assert ops.paste_masks(torch.ones(5, 1, 28, 28, device=device), boxes, (20, 25)).abs().max() == 0


def test_halves(device):
    masks, boxes = torch.rand(5, 1, 28, 28).bfloat16().to(device), some_boxes(5, 300).to(device)
    exact = ops.paste_masks(masks.float(), boxes, (400, 500))
    assert torch.equal(ops.paste_masks(masks, boxes, (400, 500)), exact.bfloat16())
    with torch.autocast(device, torch.bfloat16):
        assert torch.equal(ops.paste_masks(masks.float(), boxes, (400, 500)), exact)


@pytest.mark.parametrize(("count", "size"), [(0, (8, 9)), (2, (0, 9)), (2, (8, 0))])
def test_nothing_to_paste(count, size, device):
    pasted = ops.paste_masks(torch.zeros(count, 1, 28, 28, device=device), torch.zeros(count, 4, device=device), size)
    assert pasted.shape == (count, 1, *size)


def test_opcheck_compile_and_export(device):
    masks, boxes = torch.rand(4, 1, 6, 6, device=device), some_boxes(4, 20).to(device)
    corners = boxes.long()
    torch.library.opcheck(torch.ops.saccade.paste_masks.default, (masks[:, 0], corners, 20, 22))
    compiled = torch.compile(lambda m, b: ops.paste_masks(m, b, (20, 22)) + 1, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(masks, boxes), ops.paste_masks(masks, boxes, (20, 22)) + 1)

    class Module(torch.nn.Module):
        def forward(self, masks, boxes):
            return ops.paste_masks(masks, boxes, (20, 22))

    count = torch.export.Dim("count", min=2)
    program = torch.export.export(Module(), (masks, boxes), dynamic_shapes=({0: count}, {0: count}))
    assert torch.equal(program.module()(masks[:3], boxes[:3]), ops.paste_masks(masks[:3], boxes[:3], (20, 22)))


@pytest.mark.parametrize(
    ("masks", "boxes", "size", "message"),
    [
        (
            torch.zeros(2, 28, 28),
            torch.zeros(3, 4),
            (8, 9),
            "paste_masks: masks and boxes must have shapes (N, 1, S, S) and (N, 4), got (2, 28, 28) and (3, 4)",
        ),
        (torch.zeros(2, 5, 5), torch.zeros(2, 4), (-1, 9), "paste_masks: image_size must not be negative, got -1 x 9"),
        (
            torch.zeros(2, 0, 0),
            torch.zeros(2, 4),
            (8, 9),
            "paste_masks: masks must have sides of at least 1, got (2, 0, 0)",
        ),
    ],
)
def test_shapes_are_checked(masks, boxes, size, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ops.paste_masks(masks, boxes, size)


def test_types_are_checked():
    with pytest.raises(TypeError, match=r"^paste_masks: masks must be floating, got int64$"):
        ops.paste_masks(torch.zeros(2, 5, 5, dtype=torch.int64), torch.zeros(2, 4), (8, 9))
    with pytest.raises(TypeError, match=r"^paste_masks: boxes must be a torch.Tensor, got ndarray$"):
        ops.paste_masks(torch.zeros(2, 5, 5), np.zeros((2, 4)), (8, 9))
