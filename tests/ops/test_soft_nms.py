import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saccade import ops
from saccade.reference.soft_nms import soft_nms as reference_soft_nms
from tests.util import strategies
from tests.util.tolerance import assert_close

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
METHODS = ["gaussian", "linear", "naive"]


def random_boxes(n, seed=0, dtype=torch.float32):
    """Overlapping boxes on a coarse grid, scores with ties."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(n, 2, generator=generator) * 40
    half = torch.exp(torch.rand(n, 2, generator=generator) * 2.3)
    boxes = torch.cat([centre - half, centre + half], 1).round()
    return boxes.to(dtype), ((torch.rand(n, generator=generator) * 64).round() / 64).to(dtype)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 15, 16, 17, 33, 101])
def test_equals_reference(n, method, device):
    # In float64 no two different products come close enough for rounding to swap them.
    boxes, scores = random_boxes(n, n, torch.float64)
    keep, kept = ops.soft_nms(boxes.to(device), scores.to(device), 0.3, 0.4, 0.02, method)
    expected_keep, expected = reference_soft_nms(boxes.numpy(), scores.numpy(), 0.3, 0.4, 0.02, method)
    assert keep.dtype == torch.int64
    assert keep.tolist() == expected_keep.tolist()
    assert_close(kept.cpu(), torch.from_numpy(expected), "elementwise")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("method", METHODS)
def test_dtypes(method, dtype, device):
    boxes, scores = random_boxes(60, 1, dtype)
    keep, kept = ops.soft_nms(boxes.to(device), scores.to(device), score_threshold=0.1, method=method)
    expected_keep, expected = reference_soft_nms(
        boxes.double().numpy(), scores.double().numpy(), score_threshold=0.1, method=method
    )
    assert kept.dtype == dtype
    assert sorted(keep.tolist()) == sorted(expected_keep.tolist())
    by_index = dict(zip(expected_keep.tolist(), expected.tolist(), strict=True))
    assert_close(kept.cpu(), torch.tensor([by_index[i] for i in keep.tolist()], dtype=torch.float64), "elementwise")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1500, 8192, 8193])
def test_many_boxes_few_of_which_have_a_score(n, method, device):
    # The number decides how candidates are shared out; all but 80 leave at once, others later.
    boxes, scores = random_boxes(n, 4, torch.float64)
    live = torch.randperm(n, generator=torch.Generator().manual_seed(n))[:80]
    scores *= 0.1
    scores[live] = 0.3 + 0.7 * torch.linspace(1, 0, 80, dtype=torch.float64) ** 2
    keep, kept = ops.soft_nms(boxes.to(device), scores.to(device), 0.3, 0.4, 0.2, method)
    expected_keep, expected = reference_soft_nms(boxes.numpy(), scores.numpy(), 0.3, 0.4, 0.2, method)
    assert 20 < len(expected_keep) < 80
    assert keep.tolist() == expected_keep.tolist()
    assert_close(kept.cpu(), torch.from_numpy(expected), "elementwise")


@pytest.mark.parametrize("n", [63, 64, 65, 192, 1000])
def test_as_many_rounds_as_boxes(n, device):
    corners = 2.0 * torch.arange(n)[:, None]
    boxes = torch.cat([corners, corners, corners + 1, corners + 1], 1)
    scores = (torch.rand(n, generator=torch.Generator().manual_seed(n)) * 100).round() / 100
    keep, kept = ops.soft_nms(boxes.to(device), scores.to(device), score_threshold=-1.0)
    expected = scores.sort(descending=True, stable=True)
    assert torch.equal(keep.cpu(), expected.indices)
    assert torch.equal(kept.cpu(), expected.values)


def test_layouts(device):
    boxes, scores = (t.to(device) for t in random_boxes(70, 5))
    expected = ops.soft_nms(boxes, scores)
    for other_boxes, other_scores in (
        (boxes.t().contiguous().t(), torch.stack([scores, scores], 1)[:, 1]),
        (boxes.repeat_interleave(2, 0)[::2], scores.repeat_interleave(3)[::3]),
    ):
        for actual, right in zip(ops.soft_nms(other_boxes, other_scores), expected, strict=True):
            assert torch.equal(actual, right)


def test_naive_is_nms(device):
    boxes, scores = (t.to(device) for t in random_boxes(300, 2))
    keep, kept = ops.soft_nms(boxes, scores, 0.4, score_threshold=-1.0, method="naive")
    assert torch.equal(keep, ops.nms(boxes, scores, 0.4))
    assert torch.equal(kept, scores[keep])


def test_nan_scores_come_first_and_nan_boxes_change_nothing(device):
    nan = float("nan")
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 2], [nan, 0, 4, 4], [50, 50, 54, 54]], device=device)
    scores = torch.tensor([0.9, 0.8, 0.95, nan], device=device)
    keep, kept = ops.soft_nms(boxes, scores, method="linear")
    assert keep.tolist() == [3, 2, 0, 1]
    assert_close(kept.cpu(), torch.tensor([nan, 0.95, 0.9, 0.4]), "elementwise")


def test_wide_range_of_decays(device):
    # exp from 1 down to below the smallest normal number.
    steps = torch.linspace(0, 9.9, 200, dtype=torch.float64)
    boxes = torch.stack([steps, torch.zeros(200), steps + 10, torch.full((200,), 10.0)], 1).to(device)
    scores = torch.linspace(1, 0.5, 200, dtype=torch.float64).to(device)
    arrays = boxes.cpu().numpy(), scores.cpu().numpy()
    for sigma in (0.001, 0.02, 0.5, 1e300):
        keep, kept = ops.soft_nms(boxes, scores, sigma=sigma, score_threshold=1e-300)
        expected_keep, expected = reference_soft_nms(*arrays, sigma=sigma, score_threshold=1e-300)
        assert keep.tolist() == expected_keep.tolist()
        torch.testing.assert_close(kept.cpu(), torch.from_numpy(expected), rtol=1e-12, atol=0)


def test_torch_features():
    boxes, scores = random_boxes(20, 3)
    torch.library.opcheck(torch.ops.saccade.soft_nms.default, (boxes, scores, 0.3, 0.5, 0.001, 2))
    compiled = torch.compile(lambda b, s: ops.soft_nms(b, s)[1] * 2, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(boxes, scores), ops.soft_nms(boxes, scores)[1] * 2)
    with torch.autocast("cpu", torch.bfloat16):
        keep, kept = ops.soft_nms(boxes, scores.to(torch.bfloat16))
    assert kept.dtype == torch.float32
    assert torch.equal(keep, ops.soft_nms(boxes, scores.to(torch.bfloat16).float())[0])


def test_errors(device):
    boxes, scores = torch.zeros(10, 4, device=device), torch.zeros(10, device=device)
    for error, message, args in (
        (ValueError, "boxes must have shape (N, 4), got (10, 5)", (torch.zeros(10, 5), scores)),
        (ValueError, "scores must have shape (N,), got (10, 1)", (boxes, scores[:, None])),
        (ValueError, "boxes and scores must have the same length, got 10 and 3", (boxes, scores[:3])),
        (ValueError, "iou_threshold must be a number, got nan", (boxes, scores, float("nan"))),
        (ValueError, "sigma must be greater than 0, got 0", (boxes, scores, 0.3, 0.0)),
        (ValueError, "sigma must be greater than 0, got nan", (boxes, scores, 0.3, float("nan"))),
        (ValueError, "score_threshold must be a number, got nan", (boxes, scores, 0.3, 0.5, float("nan"))),
        (
            ValueError,
            "method must be 'gaussian', 'linear' or 'naive', got 'hard'",
            (boxes, scores, 0.3, 0.5, 0.1, "hard"),
        ),
        (TypeError, "boxes must be float16, bfloat16, float32 or float64, got int64", (boxes.long(), scores)),
        (TypeError, "scores must be a torch.Tensor, got NoneType", (boxes, None)),
    ):
        with pytest.raises(error) as caught:
            ops.soft_nms(*args)
        assert str(caught.value) == f"soft_nms: {message}"


@settings(max_examples=100, deadline=None)
@given(boxes=strategies.boxes(30), data=st.data(), method=st.sampled_from(METHODS), threshold=st.floats(-1, 1))
def test_any_boxes(boxes, data, method, threshold):
    scores = data.draw(hnp.arrays(np.float32, len(boxes), elements=strategies.awkward_floats))
    keep, kept = ops.soft_nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.3, 0.5, threshold, method)
    assert len(set(keep.tolist())) == len(keep) == len(kept)
    assert not (kept < torch.tensor(threshold, dtype=torch.float32)).any()
    first = ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), 2.0, 1)
    if len(keep):
        assert keep[0] == first[0]
