import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saccade import _numpy, ops
from saccade.reference.nms import batched_nms as reference_batched_nms
from saccade.reference.nms import nms as reference_nms
from tests.util import strategies

torchvision_ops = pytest.importorskip("torchvision.ops")

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INFINITY = float("inf")
THRESHOLDS = [-INFINITY, -1.0, -1e-50, -0.0, 0.0, 1e-4, 0.05, 0.1, 0.3, 0.5, 0.7, 0.95, 0.9999999, 1.0, 2.0, INFINITY]


def random_boxes(n, seed=0, dtype=torch.float32, spread=50.0):
    """Overlapping boxes of a factor of ten in size."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(n, 2, generator=generator, dtype=torch.float64) * spread
    half = torch.exp(torch.rand(n, 2, generator=generator, dtype=torch.float64) * 2.3)
    boxes = torch.cat([centre - half, centre + half], 1)
    return boxes.to(dtype), torch.rand(n, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", [0, 1, 7, 15, 16, 17, 31, 33, 64, 65, 101, 257])
def test_equals_reference(n, dtype, device):
    boxes, scores = random_boxes(n, n, dtype)
    keep = ops.nms(boxes.to(device), scores.to(device), 0.5)
    assert keep.dtype == torch.int64
    assert keep.device.type == device
    assert keep.tolist() == reference_nms(boxes.double().numpy(), scores.double().numpy(), 0.5).tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("n", [40, 1000])
def test_equals_torchvision(n, threshold, dtype, device):
    boxes, scores = random_boxes(n, 1, dtype, spread=n**0.5 * 8)
    expected = torchvision_ops.nms(boxes, scores, threshold)
    assert torch.equal(ops.nms(boxes.to(device), scores.to(device), threshold).cpu(), expected)


@pytest.mark.parametrize("scale", [1e-22, 1e-19, 1e-16, 1e-14, 1e-7, 1e7, 1e17, 1e19])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_equals_torchvision_at_any_magnitude(scale, shift, device):
    # Products of sides underflow or overflow; far from the origin centres are rounded to whole boxes.
    boxes, scores = random_boxes(400, 2)
    boxes = (boxes + shift) * scale
    for threshold in (0.0, 0.3, 0.7):
        expected = torchvision_ops.nms(boxes, scores, threshold)
        assert torch.equal(ops.nms(boxes.to(device), scores.to(device), threshold).cpu(), expected), threshold


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_equals_torchvision_on_awkward_boxes(threshold, device):
    generator = torch.Generator().manual_seed(3)
    boxes, scores = random_boxes(300, 3)
    boxes = boxes.round()  # equal boxes, exact quotients, zero areas
    special = torch.tensor([float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e-45, -0.0])
    hit = torch.rand(boxes.shape, generator=generator) < 0.03
    boxes[hit] = special[torch.randint(7, (int(hit.sum()),), generator=generator)]
    boxes[::17] = boxes[::17][:, [2, 3, 0, 1]]  # inverted
    boxes[5::19, 2:] = boxes[5::19, :2]  # empty
    expected = torchvision_ops.nms(boxes, scores, threshold)
    assert torch.equal(ops.nms(boxes.to(device), scores.to(device), threshold).cpu(), expected)


def test_ties_and_special_scores(device):
    boxes, scores = random_boxes(500, 4, spread=300)
    scores = (scores * 4).round() / 4
    special = torch.tensor([float("nan"), -float("nan"), float("inf"), -float("inf"), 0.0, -0.0])
    scores[::9] = special[torch.arange(len(scores[::9])) % 6]
    scores[1::9] *= -1
    expected = torchvision_ops.nms(boxes, scores, 0.4)
    assert torch.equal(ops.nms(boxes.to(device), scores.to(device), 0.4).cpu(), expected)
    ones = torch.ones(500)
    assert ops.nms(boxes.to(device), ones.to(device), 1.0).tolist() == list(range(500))


def test_threshold_is_compared_in_double(device):
    # IoU 1/10 in float32 is above the double 0.1 and not above the double of float32(0.1).
    boxes, scores = torch.tensor([[0.0, 0, 1, 10], [0, 0, 1, 1]]), torch.tensor([1.0, 0.5])
    assert ops.nms(boxes.to(device), scores.to(device), 0.1).tolist() == [0]
    assert ops.nms(boxes.to(device), scores.to(device), float(np.float32(0.1))).tolist() == [0, 1]


@pytest.mark.native
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_many_boxes_with_outliers(threshold):
    boxes, scores = random_boxes(20000, 5, spread=600)
    boxes[::100] *= 50
    boxes[7] = torch.tensor([-1e9, -1e9, 1e9, 1e9])
    boxes[8] = torch.tensor([1e9, 1e9, 1e9 + 512, 1e9 + 512])
    assert torch.equal(ops.nms(boxes, scores, threshold), torchvision_ops.nms(boxes, scores, threshold))


@pytest.mark.parametrize("max_output", [0, 1, 5, 10_000])
def test_max_output_is_a_prefix(max_output, device):
    boxes, scores = (t.to(device) for t in random_boxes(600, 6))
    idxs = torch.arange(600, device=device) % 3
    assert torch.equal(ops.nms(boxes, scores, 0.3, max_output), ops.nms(boxes, scores, 0.3)[:max_output])
    assert torch.equal(
        ops.batched_nms(boxes, scores, idxs, 0.3, max_output), ops.batched_nms(boxes, scores, idxs, 0.3)[:max_output]
    )


@pytest.mark.parametrize("max_output", [0, 1, 7, 300])
def test_padded(max_output, device):
    boxes, scores = (t.to(device) for t in random_boxes(150, 7))
    expected = ops.nms(boxes, scores, 0.4, max_output).tolist()
    keep, count = ops.nms_padded(boxes, scores, 0.4, max_output)
    assert (keep.dtype, count.dtype, count.shape) == (torch.int64, torch.int64, ())
    assert count.item() == len(expected)
    assert keep.tolist() == expected + [-1] * (max_output - len(expected))
    idxs = torch.arange(150, device=device) % 4
    expected = ops.batched_nms(boxes, scores, idxs, 0.4, max_output).tolist()
    keep, count = ops.nms_padded(boxes, scores, 0.4, max_output, idxs)
    assert count.item() == len(expected)
    assert keep.tolist() == expected + [-1] * (max_output - len(expected))


def test_padded_without_boxes(device):
    keep, count = ops.nms_padded(torch.empty(0, 4, device=device), torch.empty(0, device=device), 0.5, 3)
    assert (keep.tolist(), count.item()) == ([-1, -1, -1], 0)


@pytest.mark.parametrize("layout", ["strided", "transposed", "reversed scores", "expanded"])
def test_layouts(layout, device):
    boxes, scores = (t.to(device) for t in random_boxes(70, 8))
    if layout == "strided":
        other_boxes, other_scores = boxes.repeat_interleave(2, 0)[::2], scores.repeat_interleave(3)[::3]
    elif layout == "transposed":
        other_boxes, other_scores = boxes.t().contiguous().t(), scores
    elif layout == "reversed scores":
        other_boxes, other_scores = boxes, torch.stack([scores, scores], 1)[:, 1]
    else:
        boxes = boxes[:1].repeat(70, 1)
        other_boxes, other_scores = boxes[:1].expand(70, 4), scores
    assert torch.equal(ops.nms(other_boxes, other_scores, 0.5), ops.nms(boxes, scores, 0.5))


# --- batched_nms


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("n", "classes"), [(0, 1), (1, 1), (60, 3), (150, 150), (200, 1), (700, 5)])
def test_batched_equals_reference(n, classes, dtype, device):
    boxes, scores = random_boxes(n, n, dtype)
    idxs = torch.randint(-classes, classes, (n,), generator=torch.Generator().manual_seed(n))
    keep = ops.batched_nms(boxes.to(device), scores.to(device), idxs.to(device), 0.4)
    expected = reference_batched_nms(boxes.double().numpy(), scores.double().numpy(), idxs.numpy(), 0.4)
    assert keep.tolist() == expected.tolist()


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float32, torch.bfloat16]
)
def test_batched_takes_categories_of_any_dtype(dtype, device):
    boxes, scores = (t.to(device) for t in random_boxes(120, 9))
    idxs = torch.arange(120, device=device) % 2
    assert torch.equal(ops.batched_nms(boxes, scores, idxs.to(dtype), 0.3), ops.batched_nms(boxes, scores, idxs, 0.3))


def test_batched_float_categories(device):
    box = torch.tensor([[0.0, 0, 1, 1]], device=device).repeat(6, 1)
    scores = torch.arange(6.0, 0, -1, device=device)
    idxs = torch.tensor([0.0, -0.0, float("nan"), float("nan"), 0.5, 0.5], device=device)
    assert ops.batched_nms(box, scores, idxs, 0.5).tolist() == [0, 2, 3, 4]


def test_batched_does_not_share_the_errors_of_coordinate_offsets(device):
    # Each case loses a box, or keeps one too many, when categories are told apart by moving the boxes.
    def keep(boxes, idxs):
        scores = torch.arange(float(len(boxes)), 0, -1)
        return ops.batched_nms(*(t.to(device) for t in (torch.tensor(boxes), scores, torch.tensor(idxs))), 0.5).tolist()

    assert keep([[-100.0, -100, -1, -1], [-99.0, -99, 0, 0]], [0, 1]) == [0, 1]
    assert keep([[0.0, 0, 9, 9], [0.0, 0, 9, 9], [0.0, 0, float("inf"), 9]], [0, 0, 1]) == [0, 2]
    assert keep([[0.0, 0, 8000, 8000], [0.0, 0, 0.5, 0.5], [0.0, 0, 0.5, 0.5]], [0, 90000, 90000]) == [0, 1]


@pytest.mark.native
def test_batched_equals_torchvision_and_threads_do_not_matter():
    boxes, scores = random_boxes(20000, 10, spread=300)
    idxs = torch.randint(80, (20000,), generator=torch.Generator().manual_seed(0))
    scores = torch.randperm(20000, generator=torch.Generator().manual_seed(1)).float()  # its last sort is not stable
    expected = torchvision_ops.batched_nms(boxes, scores, idxs, 0.6)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert torch.equal(ops.batched_nms(boxes, scores, idxs, 0.6), expected)
    finally:
        torch.set_num_threads(threads)


# --- what torch does with the operators


@pytest.mark.parametrize("dtype", FLOATS)
def test_opcheck(dtype):
    boxes, scores = random_boxes(20, 11, dtype)
    idxs = torch.arange(20) % 2
    torch.library.opcheck(torch.ops.saccade.nms.default, (boxes, scores, 0.5))
    torch.library.opcheck(torch.ops.saccade.nms.default, (boxes, scores, 0.5, 3))
    torch.library.opcheck(torch.ops.saccade.batched_nms.default, (boxes, scores, idxs, 0.5))
    torch.library.opcheck(torch.ops.saccade.nms_padded.default, (boxes, scores, 0.5, 5))
    torch.library.opcheck(torch.ops.saccade.nms_padded.default, (boxes, scores, 0.5, 5, idxs))


def test_compile():
    def detect(boxes, scores, idxs):
        keep = ops.nms(boxes, scores, 0.5)
        padded, count = ops.nms_padded(boxes, scores, 0.5, 10)
        return boxes[keep] * 2, ops.batched_nms(boxes, scores, idxs, 0.5) + 1, padded + count

    compiled = torch.compile(detect, fullgraph=True, backend="aot_eager")
    for n in (30, 47):
        boxes, scores = random_boxes(n, n)
        idxs = torch.arange(n) % 4
        for actual, expected in zip(compiled(boxes, scores, idxs), detect(boxes, scores, idxs), strict=True):
            assert torch.equal(actual, expected)


def test_export():
    class Detector(torch.nn.Module):
        def forward(self, boxes, scores):
            keep, count = ops.nms_padded(boxes, scores, 0.5, 10)
            return boxes[keep], count

    n = torch.export.Dim("n", min=2, max=1000)
    program = torch.export.export(Detector(), random_boxes(30, 0), dynamic_shapes=({0: n}, {0: n}))
    boxes, scores = random_boxes(77, 1)
    for actual, expected in zip(program.module()(boxes, scores), Detector()(boxes, scores), strict=True):
        assert torch.equal(actual, expected)


def test_autocast_mixes_dtypes(device):
    boxes, scores = (t.to(device) for t in random_boxes(50, 12))
    idxs = torch.arange(50, device=device) % 2

    def results(scores):
        return (
            ops.nms(boxes, scores, 0.5),
            ops.batched_nms(boxes, scores, idxs, 0.5),
            *ops.nms_padded(boxes, scores, 0.5, 9),
        )

    scores = scores.to(torch.bfloat16)
    with torch.autocast(device, torch.bfloat16):
        actual = results(scores)
    for a, e in zip(actual, results(scores.float()), strict=True):
        assert torch.equal(a, e)


# --- bad input


def test_errors(device):
    boxes, scores = torch.zeros(10, 4, device=device), torch.zeros(10, device=device)
    idxs = scores.long()

    def fails(error, message, function, *args):
        with pytest.raises(error) as caught:
            function(*args)
        assert str(caught.value) == message

    for name, extra in (("nms", ()), ("batched_nms", (idxs,))):

        def op(boxes, scores, *rest, name=name, extra=extra):
            return getattr(ops, name)(boxes, scores, *extra, *rest)

        same_length = f"{name}: boxes and scores must have the same length, got 10 and 9"
        floating = f"{name}: boxes must be float16, bfloat16, float32 or float64, got int32"
        same_dtype = f"{name}: boxes and scores must have the same dtype, got float32 and float64"
        fails(ValueError, f"{name}: boxes must have shape (N, 4), got (10, 5)", op, torch.zeros(10, 5), scores, 0.5)
        fails(ValueError, f"{name}: boxes must have shape (N, 4), got (4,)", op, boxes[0], scores, 0.5)
        fails(ValueError, f"{name}: scores must have shape (N,), got (10, 1)", op, boxes, scores[:, None], 0.5)
        fails(ValueError, same_length, op, boxes, scores[1:], 0.5)
        fails(ValueError, f"{name}: iou_threshold must be a number, got nan", op, boxes, scores, float("nan"))
        fails(ValueError, f"{name}: max_output must be at least 0, got -1", op, boxes, scores, 0.5, -1)
        fails(TypeError, floating, op, boxes.int(), scores, 0.5)
        fails(TypeError, same_dtype, op, boxes, scores.double(), 0.5)
        fails(TypeError, f"{name}: scores must be a torch.Tensor, got list", op, boxes, [0.0] * 10, 0.5)
    batched = ops.batched_nms
    same_length = "batched_nms: boxes and idxs must have the same length, got 10 and 2"
    unsupported = "batched_nms: idxs must be integers or floats, got an unsupported dtype"
    fails(ValueError, "batched_nms: idxs must have shape (N,), got (10, 1)", batched, boxes, scores, idxs[:, None], 0.5)
    fails(ValueError, same_length, batched, boxes, scores, idxs[:2], 0.5)
    fails(TypeError, unsupported, batched, boxes, scores, idxs.to(torch.complex64), 0.5)
    fails(ValueError, "nms_padded: max_output must be at least 0, got -3", ops.nms_padded, boxes, scores, 0.5, -3)
    many = boxes[:1].expand(1 << 30, 4), scores[:1].expand(1 << 30)
    fails(ValueError, "nms: boxes must have at most 536870912 rows, got 1073741824", ops.nms, *many, 0.5)


@settings(max_examples=150, deadline=None)
@given(
    boxes=strategies.boxes(40),
    seed=st.integers(0, 3),
    data=st.data(),
    threshold=st.one_of(st.sampled_from(THRESHOLDS), st.floats(-1, 2)),
)
def test_any_boxes_give_torchvisions_result(boxes, seed, data, threshold):
    scores = data.draw(hnp.arrays(np.float32, len(boxes), elements=strategies.awkward_floats))
    expected = torchvision_ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)
    assert torch.equal(ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold), expected)
    boxes, scores = data.draw(strategies.awkward_layouts(boxes)), data.draw(strategies.awkward_layouts(scores))
    assert _numpy.nms(boxes, scores, threshold).tolist() == expected.tolist()
    # One category, whichever it is.
    idxs = np.full(len(boxes), seed - 1)
    assert _numpy.batched_nms(boxes, scores, idxs, threshold).tolist() == expected.tolist()


def test_numpy_errors_are_the_same():
    with pytest.raises(ValueError, match=r"^nms: boxes must have shape \(N, 4\), got \(10, 5\)$"):
        _numpy.nms(np.zeros((10, 5)), np.zeros(10), 0.5)
    with pytest.raises(TypeError, match=r"^nms: boxes and scores must have the same dtype, got float64 and float32$"):
        _numpy.nms(np.zeros((10, 4)), np.zeros(10, np.float32), 0.5)
    with pytest.raises(ValueError, match=r"^batched_nms: max_output must be at least 0, got -2$"):
        _numpy.batched_nms(np.zeros((1, 4)), np.zeros(1), np.zeros(1), 0.5, -2)
