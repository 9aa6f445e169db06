import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saccade import ops
from saccade.reference.boxes import masks_to_boxes as reference
from tests.util.strategies import awkward_floats

tv = pytest.importorskip("torchvision.ops")

DTYPES = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
DTYPES += [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def blobs(n, h, w, dtype):
    """One rectangle in each mask, some pixels of it missing; the first mask is empty, the last full."""
    generator = np.random.default_rng(n * h * w)
    masks = np.zeros((n, h, w), np.float64)
    for mask in masks[1:]:
        y, x = generator.integers(0, h), generator.integers(0, w)
        mask[y : y + generator.integers(1, h + 1), x : x + generator.integers(1, w + 1)] = 1
        mask[generator.random((h, w)) < 0.3] = 0
    masks[-1] = 1
    return torch.from_numpy(masks).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 300), (3, 300, 1), (5, 31, 33), (7, 64, 257), (4, 3, 1030)])
def test_equals_torchvision_and_reference(dtype, shape, device):
    masks = blobs(*shape, dtype)
    boxes = ops.masks_to_boxes(masks.to(device)).cpu()
    assert boxes.dtype == torch.float32
    assert torch.equal(boxes, tv.masks_to_boxes(masks))
    assert boxes.tolist() == reference(masks.double().numpy()).tolist()


@pytest.mark.parametrize("width", [1, 15, 64, 65, 256, 257, 511])
def test_single_pixels_in_every_column(width, device):
    masks = torch.eye(width, dtype=torch.uint8).view(width, 1, width).to(device)
    expected = torch.tensor([[x, 0, x, 0] for x in range(width)], dtype=torch.float32)
    assert torch.equal(ops.masks_to_boxes(masks).cpu(), expected)


@given(hnp.arrays(np.float32, st.tuples(*[st.integers(0, 6)] * 3), elements=awkward_floats))
def test_any_values(masks):
    assert ops.masks_to_boxes(torch.from_numpy(masks)).tolist() == reference(masks).tolist()


def test_any_strides(device):
    masks = blobs(6, 20, 30, torch.uint8).to(device)
    expected = ops.masks_to_boxes(masks)
    assert torch.equal(ops.masks_to_boxes(masks.permute(2, 0, 1).contiguous().permute(1, 2, 0)), expected)
    assert torch.equal(ops.masks_to_boxes(torch.cat([masks, masks], 2)[:, :, :30]), expected)
    assert torch.equal(ops.masks_to_boxes(masks[::2]), expected[::2])
    assert torch.equal(ops.masks_to_boxes(masks[1:2].expand(4, 20, 30)), expected[1:2].expand(4, 4))


@pytest.mark.parametrize(("shape", "boxes"), [((0, 5, 6), 0), ((3, 0, 5), 3), ((3, 5, 0), 3)])
def test_no_pixels(shape, boxes, device):
    assert torch.equal(ops.masks_to_boxes(torch.ones(shape, device=device)).cpu(), torch.zeros(boxes, 4))


def test_threads_do_not_change_results():
    masks = blobs(33, 50, 60, torch.bool)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(ops.masks_to_boxes(masks))
    assert torch.equal(*results)


def test_opcheck_compile_and_export(device):
    masks = blobs(5, 20, 30, torch.bool).to(device)
    torch.library.opcheck(torch.ops.saccade.masks_to_boxes.default, (masks,))
    compiled = torch.compile(lambda x: ops.masks_to_boxes(x) + 1, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(masks), ops.masks_to_boxes(masks) + 1)

    class Module(torch.nn.Module):
        def forward(self, x):
            return ops.masks_to_boxes(x)

    count = torch.export.Dim("count", min=2)
    program = torch.export.export(Module(), (masks,), dynamic_shapes=({0: count},))
    assert torch.equal(program.module()(masks[:3]), ops.masks_to_boxes(masks[:3]))


def test_errors():
    with pytest.raises(ValueError, match=r"^masks_to_boxes: masks must have shape \(N, H, W\), got \(3, 4\)$"):
        ops.masks_to_boxes(torch.zeros(3, 4))
    with pytest.raises(TypeError, match=r"^masks_to_boxes: masks must be of a bool, integer or floating dtype$"):
        ops.masks_to_boxes(torch.zeros(3, 4, 5, dtype=torch.complex64))
    with pytest.raises(TypeError, match=r"^masks_to_boxes: masks must be a torch.Tensor, got ndarray$"):
        ops.masks_to_boxes(np.zeros((3, 4, 5)))
