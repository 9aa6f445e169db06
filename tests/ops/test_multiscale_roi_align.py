import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade import ops
from saccade.reference import roi as reference
from tests.util import strategies
from tests.util.tolerance import assert_close

FORMATS = [torch.contiguous_format, torch.channels_last]
SCALES = [1 / 4, 1 / 8, 1 / 16]


def pyramid(channels=5, dtype=torch.float32, layout=torch.contiguous_format, images=2, size=256):
    generator = torch.Generator().manual_seed(channels)
    shapes = [(images, channels, size >> s, (size >> s) + 3) for s in (2, 3, 4)]
    return [torch.randn(shape, generator=generator).to(dtype).contiguous(memory_format=layout) for shape in shapes]


def boxes_per_image(counts=(30, 20), size=256):
    generator = torch.Generator().manual_seed(sum(counts))
    boxes = []
    for count in counts:
        corner = torch.rand(count, 2, generator=generator) * size
        boxes.append(torch.cat([corner, corner + torch.exp(torch.rand(count, 2, generator=generator) * 5 + 1)], 1))
    return boxes


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("counts", [(30, 20), (0, 3), (0, 0)])
@pytest.mark.parametrize("sampling_ratio", [-1, 2])
def test_equals_torchvision(sampling_ratio, counts, layout, device):
    torchvision = pytest.importorskip("torchvision")
    features = [f.requires_grad_() for f in pyramid(layout=layout)]
    boxes, sizes = boxes_per_image(counts), [(256, 200), (250, 256)]
    arguments = (["0", "1", "2"], 7, sampling_ratio)
    theirs = torchvision.ops.MultiScaleRoIAlign(*arguments)(dict(zip("012", features, strict=True)), boxes, sizes)
    grad = torch.randn_like(theirs)
    their_grads = torch.autograd.grad(theirs, features, grad)
    moved = [f.detach().to(device).requires_grad_() for f in features]
    maps = dict(zip("01x2", [*moved[:2], moved[0], moved[2]], strict=True))
    ours = ops.MultiScaleRoIAlign(*arguments)(maps, [b.to(device) for b in boxes], sizes)
    assert_close(ours.cpu(), theirs, "reduction")
    assert ours.is_contiguous(memory_format=layout)
    for our_grad, their_grad in zip(torch.autograd.grad(ours, moved, grad.to(device)), their_grads, strict=True):
        assert_close(our_grad.cpu(), their_grad, "reduction")
        assert our_grad.is_contiguous(memory_format=layout)


def test_levels_are_those_of_the_reference():
    # Each level holds its number, so a region says where it went; sizes on and around every boundary.
    sides = [s * f for s in (56, 112, 224, 448) for f in (0.99999, 1, 1.00001)] + [0, 1, 1e4]
    boxes = torch.tensor(
        [[0.0, 0, side, side] for side in sides] + [[9, 9, 3, 20], [0, 0, float("nan"), 5], [30, 30, 3, 3]]
    )
    features = [torch.full((1, 1, 600, 600), level + 1.0) for level in range(3)]
    ours = ops.multiscale_roi_align(features, [boxes], 1, SCALES, 1).flatten()
    levels = reference.roi_levels(boxes.numpy(), SCALES)
    assert set(levels.tolist()) == {-1, 0, 1, 2}
    assert (ours - 1).tolist() == levels.tolist()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_one_level_is_roi_align(dtype, device):
    feature, boxes = pyramid(dtype=dtype)[0].to(device), [b.to(device, dtype) for b in boxes_per_image()]
    ours = ops.multiscale_roi_align([feature], boxes, (3, 5), SCALES[:1], 2, True)
    assert torch.equal(ours, ops.roi_align(feature, boxes, (3, 5), SCALES[0], 2, True))


@pytest.mark.parametrize("layout", FORMATS)
def test_same_bits_for_any_number_of_threads(layout):
    features, boxes = [f.requires_grad_() for f in pyramid(70, layout=layout)], boxes_per_image((100, 50))
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            out = ops.multiscale_roi_align(features, boxes, 7, SCALES)
            results.append((out, *torch.autograd.grad(out.square().sum(), features)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_mixed_formats_of_levels():
    features, boxes = pyramid(), boxes_per_image()
    mixed = [features[0], features[1].contiguous(memory_format=torch.channels_last), features[2]]
    assert torch.equal(
        ops.multiscale_roi_align(mixed, boxes, 3, SCALES), ops.multiscale_roi_align(features, boxes, 3, SCALES)
    )
    flat = [torch.rand(2, 5, 1, 1), *features[1:]]
    grads = []
    for layout in FORMATS:
        leaves = [f.contiguous(memory_format=layout).requires_grad_() for f in flat]
        out = ops.multiscale_roi_align(leaves, boxes, 3, SCALES)
        grads.append(torch.autograd.grad(out.square().sum(), leaves))
    for a, b in zip(*grads, strict=True):
        assert_close(a, b, "reduction")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"features": []}, ValueError, "features must hold at least one map, got 0"),
        ({"features": [torch.rand(1, 2, 4, 4), 3]}, TypeError, "features[1] must be a torch.Tensor, got int"),
        ({"scales": [1.0]}, ValueError, "scales must hold one number per map, got 1 for 2"),
        ({"scales": [1.0, float("inf")]}, ValueError, "spatial_scale must be finite, got inf"),
        ({"features": [torch.rand(1, 2, 4, 4), torch.rand(1, 3, 4, 4)]}, ValueError,
         "features must have the same batch size and channels, got (1, 2, 4, 4) and (1, 3, 4, 4)"),
        ({"features": [torch.rand(1, 2, 4, 4), torch.rand(1, 2, 4, 4).half()]}, TypeError,
         "features[0] and the other features must have the same dtype, got float32 and float16"),
        ({"boxes": torch.rand(2, 4)}, ValueError, "boxes must have shape (K, 5), got (2, 4)"),
        ({"canonical_scale": 0}, ValueError, "canonical_scale must be positive, got 0"),
    ],
)  # fmt: skip
def test_errors(changes, error, message):
    arguments = {
        "features": [torch.rand(1, 2, 8, 8), torch.rand(1, 2, 4, 4)],
        "boxes": torch.zeros(1, 5),
        "output_size": 2,
        "scales": [0.5, 0.25],
    }
    with pytest.raises(error) as caught:
        ops.multiscale_roi_align(**(arguments | changes))
    assert str(caught.value) == f"multiscale_roi_align: {message}"


def test_module_errors():
    module = ops.MultiScaleRoIAlign(["a"], 2, 2)
    with pytest.raises(ValueError, match=r"^MultiScaleRoIAlign: x must hold one of \['a'\], got \['b'\]$"):
        module({"b": torch.rand(1, 2, 4, 4)}, [torch.zeros(1, 4)], [(8, 8)])
    with pytest.raises(ValueError, match=r"^MultiScaleRoIAlign: image_shapes must hold at least one size, got 0$"):
        module({"a": torch.rand(1, 2, 4, 4)}, [torch.zeros(1, 4)], [])


@pytest.mark.parametrize("layout", FORMATS)
def test_opcheck_and_gradcheck(layout, device):
    features = [f.to(device).requires_grad_() for f in pyramid(2, torch.float64, layout, 1, 16)]
    boxes = torch.tensor([[0.0, 1, 2, 20, 21], [0, -3, 4, 130, 121], [0, -100, 0, 300, 250]], device=device).double()
    assert torch.autograd.gradcheck(lambda *f: ops.multiscale_roi_align(f, boxes, 2, SCALES, 2), features)
    arguments = (features, boxes, SCALES, 2, 3, 2, False, 224.0, 4)
    torch.library.opcheck(torch.ops.saccade.multiscale_roi_align.default, arguments)
    shape = [1, 2, *(length for f in features for length in f.shape[2:])]
    grad = torch.rand(3, 2, 2, 3, device=device, dtype=torch.float64).contiguous(memory_format=layout)
    torch.library.opcheck(
        torch.ops.saccade._multiscale_roi_align_backward.default,
        (grad, boxes, shape, *arguments[2:], layout == torch.channels_last),
    )


def test_compile_and_export():
    features, boxes = [f.requires_grad_() for f in pyramid()], boxes_per_image()

    def pool(features, boxes):
        return ops.multiscale_roi_align(features, boxes, 2, SCALES)

    compiled = torch.compile(pool, fullgraph=True, backend="aot_eager", dynamic=True)
    assert torch.equal(compiled(features, boxes), pool(features, boxes))
    ours = torch.autograd.grad(compiled(features, boxes).sum(), features)
    for a, b in zip(ours, torch.autograd.grad(pool(features, boxes).sum(), features), strict=True):
        assert torch.equal(a, b)

    class Head(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = ops.MultiScaleRoIAlign(["0", "1", "2"], 2, -1)

        def forward(self, features, boxes):
            return self.pool(features, boxes, [(256, 256), (256, 256)])

    maps = dict(zip("012", (f.detach() for f in features), strict=True))
    exported = torch.export.export(Head(), (maps, boxes))
    assert torch.equal(exported.module()(maps, boxes), Head()(maps, boxes))


@settings(max_examples=100, deadline=None)
@given(boxes=strategies.boxes(), layout=st.sampled_from(FORMATS))
def test_any_boxes_at_all(boxes, layout):
    features = [f.requires_grad_() for f in pyramid(2, torch.float32, layout, 1, 32)]
    out = ops.multiscale_roi_align(features, [torch.from_numpy(boxes)], 2, SCALES)
    assert out.isfinite().all()
    out.sum().backward()
    assert all(f.grad.isfinite().all() for f in features)
