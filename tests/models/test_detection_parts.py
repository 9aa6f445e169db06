"""Anchors, offsets, matching, sampling, batching and masks beside torchvision's."""

import pytest
import torch

from saccade.models.detection import (
    AnchorGenerator,
    BalancedSampler,
    BoxCoder,
    DetectionTransform,
    Matcher,
    matching,
)

torchvision = pytest.importorskip("torchvision")
from torchvision.models.detection import _utils, anchor_utils, image_list, transform  # noqa: E402


def some_boxes(count, side=100, dtype=torch.float32):
    corners = torch.rand(count, 2, dtype=dtype) * side
    return torch.cat([corners, corners + 1 + torch.rand(count, 2, dtype=dtype) * side / 2], 1)


# ---- Anchors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("sizes", "ratios"), [(((32,), (64,)), ((0.5, 1.0, 2.0),) * 2), (((8, 11), (20,)), ((0.3, 1.0), (1.7, 2.0)))]
)
def test_anchors(sizes, ratios, dtype):
    maps = [torch.zeros(2, 3, 7, 11, dtype=dtype), torch.zeros(2, 3, 4, 5, dtype=dtype)]
    theirs = anchor_utils.AnchorGenerator(sizes, ratios)
    images = image_list.ImageList(torch.zeros(2, 3, 60, 90), [(60, 90)] * 2)
    ours = AnchorGenerator(sizes, ratios)
    assert torch.equal(ours((60, 90), maps), theirs(images, maps)[1])
    assert ours((60, 90), maps).dtype == dtype
    assert ours.num_anchors_per_location() == theirs.num_anchors_per_location()


def test_flat_sizes_and_halves():
    flat = AnchorGenerator((16, 32), (1.0,))
    maps = [torch.zeros(1, 1, 3, 2, dtype=torch.bfloat16), torch.zeros(1, 1, 1, 1, dtype=torch.bfloat16)]
    assert flat((24, 16), maps).dtype == torch.float32
    assert torch.equal(flat((24, 16), maps), AnchorGenerator(((16,), (32,)), ((1.0,),) * 2)((24, 16), maps))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (((8,), (16,)), ((1.0,),)),
            "AnchorGenerator: sizes and aspect_ratios must be given for equally many maps, got 2 and 1",
        ),
        (
            (((0,),), ((1.0,),)),
            "AnchorGenerator: sizes must be positive, at least one for each map, got [(0,)]",
        ),
        (
            (((8,),), ((1.0, -1.0),)),
            "AnchorGenerator: aspect_ratios must be positive, at least one for each map, got [(1.0, -1.0)]",
        ),
    ],
)
def test_anchor_errors(arguments, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        AnchorGenerator(*arguments)
    assert str(error.value) == message


def test_anchors_of_the_wrong_number_of_maps():
    with pytest.raises(ValueError, match=r"^AnchorGenerator: maps must be 1 tensors, got 2$"):
        AnchorGenerator(((8,),), ((1.0,),))((8, 8), [torch.zeros(1, 1, 1, 1)] * 2)


# ---- Offsets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
def test_offsets(weights):
    boxes, anchors = some_boxes(50), some_boxes(50)
    ours, theirs = BoxCoder(weights), _utils.BoxCoder(weights)
    assert torch.equal(ours.encode(boxes, anchors), theirs.encode_single(boxes, anchors))
    codes = torch.randn(50, 12) * 4
    decoded = ours.decode(codes.view(50, 3, 4), anchors[:, None])
    torch.testing.assert_close(decoded, theirs.decode(codes, [anchors[:20], anchors[20:]]), rtol=1e-6, atol=1e-4)
    back = ours.decode(ours.encode(boxes.double(), anchors.double()), anchors.double())
    torch.testing.assert_close(back, boxes.double())


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 1, 1, 0)])
def test_offset_errors(weights):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        BoxCoder(weights)
    assert str(error.value) == f"BoxCoder: weights must be 4 positive numbers, got {weights!r}"


# ---- Matching --------------------------------------------------------------------------------------------------------


def on_a_grid(count):
    """Boxes of few different corners: many equal overlaps, some exactly at a threshold."""
    corners = torch.randint(0, 6, (count, 2)).float()
    return torch.cat([corners, corners + torch.randint(1, 5, (count, 2))], 1)


@pytest.mark.parametrize("low_quality", [False, True])
@pytest.mark.parametrize("thresholds", [(0.7, 0.3), (0.5, 0.5), (0.5, 0.4)])
@pytest.mark.parametrize("pairs", [1, 100, 2**18])
def test_matches(pairs, thresholds, low_quality, monkeypatch):
    monkeypatch.setitem(matching._PAIRS, "cpu", pairs)
    for boxes, anchors in ((on_a_grid(7), on_a_grid(300)), (some_boxes(20), some_boxes(200)), (on_a_grid(1),) * 2):
        ours = Matcher(*thresholds, low_quality)(boxes, anchors)
        expected = _utils.Matcher(*thresholds, low_quality)(torchvision.ops.box_iou(boxes, anchors))
        assert torch.equal(ours, expected)


def test_matches_of_a_box_that_nothing_touches():
    boxes = torch.tensor([[0.0, 0, 4, 4], [500, 500, 510, 510]])
    anchors = on_a_grid(40)
    expected = _utils.Matcher(0.7, 0.3, True)(torchvision.ops.box_iou(boxes, anchors))
    assert torch.equal(Matcher(0.7, 0.3, True)(boxes, anchors), expected)
    assert (expected == 0).sum() > 5


def test_matches_of_nothing():
    anchors = on_a_grid(5)
    assert Matcher(0.7, 0.3, True)(torch.zeros(0, 4), anchors).tolist() == [-1] * 5
    assert Matcher(0.7, 0.3, True)(anchors, torch.zeros(0, 4)).shape == (0,)


def peak(function):
    """The most bytes that a call held at once beyond those held before."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        result = function()
    held = most = 0
    events = recorded.profiler.kineto_results.events()
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return result, most


def test_matching_takes_a_tenth_of_the_memory():
    boxes, anchors = some_boxes(60, 800), some_boxes(40_000, 800)
    ours, few = peak(lambda: Matcher(0.7, 0.3, True)(boxes, anchors))
    theirs, many = peak(lambda: _utils.Matcher(0.7, 0.3, True)(torchvision.ops.box_iou(boxes, anchors)))
    assert torch.equal(ours, theirs)
    assert 0 < few < many / 10


@pytest.mark.parametrize("thresholds", [(0.3, 0.7), (0.5, -0.1)])
def test_matcher_errors(thresholds):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        Matcher(*thresholds)
    assert str(error.value) == (
        f"Matcher: low_threshold must be at least 0 and at most high_threshold, got {thresholds[1]} and {thresholds[0]}"
    )


# ---- Sampling --------------------------------------------------------------------------------------------------------


def test_the_same_draw_as_torchvision():
    labels = [torch.randint(-1, 3, (200,)) for _ in range(3)] + [torch.zeros(10), torch.ones(10)]
    torch.manual_seed(3)
    ours = BalancedSampler(32, 0.25)(labels)
    torch.manual_seed(3)
    theirs = _utils.BalancedPositiveNegativeSampler(32, 0.25)(labels)
    for drawn, masks in zip(ours, theirs, strict=True):
        for indices, mask in zip(drawn, masks, strict=True):
            assert torch.equal(indices, torch.where(mask)[0])


def test_draws_by_a_generator():
    labels = [torch.randint(-1, 2, (500,))]
    draws = []
    for seed in (0, 0, 1):
        torch.rand(1)
        positive, negative = BalancedSampler(40, 0.5, torch.Generator().manual_seed(seed))(labels)
        assert positive[0].numel() == negative[0].numel() == 20
        assert set(labels[0][positive[0]].tolist()) == {1}
        assert set(labels[0][negative[0]].tolist()) == {0}
        draws.append(torch.cat([*positive, *negative]))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0.5), "BalancedSampler: batch_size_per_image must be at least 1, got 0"),
        ((8, 1.5), "BalancedSampler: positive_fraction must lie in [0, 1], got 1.5"),
    ],
)
def test_sampler_errors(arguments, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        BalancedSampler(*arguments)
    assert str(error.value) == message


# ---- Batching --------------------------------------------------------------------------------------------------------

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]


@pytest.mark.parametrize("training", [False, True])
def test_batches(training):
    images = [torch.rand(3, *size) for size in ((40, 60), (61, 33), (5, 100))]
    targets = [{"boxes": some_boxes(n, 20), "labels": torch.ones(n), "masks": torch.ones(n, *i.shape[1:]).byte()}
               for n, i in zip((2, 1, 3), images, strict=True)]  # fmt: skip
    ours = DetectionTransform([50, 64], 128, MEAN, STD).train(training)
    theirs = transform.GeneralizedRCNNTransform([50, 64], 128, MEAN, STD).train(training)
    torch.manual_seed(5)
    batch, scaled = ours(images, targets)
    torch.manual_seed(5)
    expected, scaled_expected = theirs(images, targets)
    assert torch.equal(batch.tensors, expected.tensors)
    assert batch.sizes == expected.image_sizes
    for found, wanted in zip(scaled, scaled_expected, strict=True):
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    back = ours.eval().postprocess(
        [{"boxes": target["boxes"]} for target in scaled], batch.sizes, [image.shape[1:] for image in images]
    )
    for found, target in zip(back, targets, strict=True):
        torch.testing.assert_close(found["boxes"], target["boxes"])


def test_thin_and_tiny_images():
    batch, _ = DetectionTransform(64, 100, MEAN, STD).eval()([torch.rand(3, 1, 500), torch.rand(3, 1, 1)])
    assert batch.sizes == [(1, 100), (64, 64)]
    assert batch.tensors.shape == (2, 3, 64, 128)
    assert batch.tensors[0, :, 1:].abs().max() == 0


def test_empty_targets_keep_the_size():
    images = [torch.rand(3, 20, 30)]
    targets = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0), "masks": torch.zeros(0, 20, 30).byte()}]
    _, scaled = DetectionTransform(40, 100, MEAN, STD)(images, targets)
    assert scaled[0]["masks"].shape == (0, 40, 60)
    assert targets[0]["masks"].shape == (0, 20, 30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 8, MEAN, STD), "min_size, max_size and size_divisible must be at least 1, got 0, 8 and 32"),
        (
            (8, 8, [0.5], [0.0]),
            "image_mean and image_std must be given for each channel, image_std positive, got [0.5] and [0.0]",
        ),
    ],
)
def test_transform_errors(arguments, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        DetectionTransform(*arguments)
    assert str(error.value) == f"DetectionTransform: {message}"
