"""Integral images, box sums, mean filter and Haar features as torch operators."""

import numpy as np
import pytest
import torch

from saccade import classic, ops
from tests.util.devices import runs_cuda_kernels

SHAPES = [(0, 0), (1, 1), (3, 2), (5, 9), (2, 3, 17, 33), (0, 4, 4), (70, 130)]


def make(shape, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator, dtype=dtype)
    return torch.randint(0, 2 if dtype == torch.bool else 256, shape, generator=generator).to(dtype)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_integral_image_equals_classic(shape, dtype, device):
    image = make(shape, dtype)
    expected = classic.integral_image(image.numpy(), squared=True, tilted=True)
    actual = ops.integral_image(image.to(device), squared=True, tilted=True)
    for sums, wanted in zip(actual, expected, strict=True):
        assert sums.shape == wanted.shape
        if dtype.is_floating_point and runs_cuda_kernels(device):
            np.testing.assert_allclose(sums.cpu().numpy(), wanted, rtol=0, atol=1e-9 * max(1, image.numel()))
        else:
            np.testing.assert_array_equal(sums.cpu().numpy(), wanted, strict=True)


def test_integral_image_returns_what_is_asked_for(device):
    image = make((4, 5), torch.uint8).to(device)
    sums, squares, tilted = ops.integral_image(image, True, True)
    assert torch.equal(ops.integral_image(image), sums)
    assert all(map(torch.equal, ops.integral_image(image, squared=True), (sums, squares)))
    assert all(map(torch.equal, ops.integral_image(image, tilted=True), (sums, tilted)))


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "every_other", "expanded"])
def test_layouts(layout, device):
    image = make((2, 3, 12, 14), torch.float64).to(device)
    if layout == "channels_last":
        image = image.contiguous(memory_format=torch.channels_last)
    elif layout == "transposed":
        image = image.mT
    elif layout == "every_other":
        image = image[..., ::2, ::2]
    else:
        image = image[:1].expand(4, 3, 12, 14)
    assert torch.equal(ops.integral_image(image), ops.integral_image(image.contiguous()))
    assert torch.equal(ops.box_filter(image, 3), ops.box_filter(image.contiguous(), 3))


@pytest.mark.parametrize(("squared", "tilted"), [(False, False), (True, False), (False, True), (True, True)])
def test_integral_image_gradient(squared, tilted, device):
    image = make((2, 4, 3), torch.float64).to(device).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ops.integral_image(x, squared, tilted), image)
    assert torch.autograd.gradgradcheck(lambda x: ops.integral_image(x, squared, tilted), image)
    single = image.detach().to(torch.float32).requires_grad_()
    ops.integral_image(single).sum().backward()
    assert single.grad.dtype == torch.float32


def test_box_sum_gradient(device):
    table = make((2, 5, 6), torch.float64).to(device).requires_grad_()
    boxes = torch.tensor([[0, 0, 5, 4], [1, 1, 3, 3], [2, 2, 2, 4], [-3, -3, 2, 9], [1, 1, 3, 3]], device=device)
    assert torch.autograd.gradcheck(lambda x: ops.box_sum(x, boxes), table)
    assert torch.autograd.gradgradcheck(lambda x: ops.box_sum(x, boxes), table)


@pytest.mark.parametrize("size", [1, 2, (3, 5), (7, 4)])
def test_box_filter_gradient(size, device):
    image = make((2, 4, 5), torch.float64).to(device).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ops.box_filter(x, size), image)
    line = make((1, 3), torch.float64).to(device).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ops.box_filter(x, size), line)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_box_filter_equals_classic(dtype, device):
    image = make((2, 30, 41), dtype)
    for size in (1, 3, (4, 19), (33, 2), (5, 90), (200, 17)):
        expected = classic.box_filter(image.numpy(), size)
        actual = ops.box_filter(image.to(device), size).cpu().numpy()
        assert actual.dtype == expected.dtype
        np.testing.assert_allclose(actual, expected, rtol=0, atol=0 if device == "cpu" else 1e-6)


def test_box_sum_equals_classic(device):
    sums = ops.integral_image(make((3, 20, 21), torch.uint8))
    boxes = torch.randint(-4, 26, (50, 4), generator=torch.Generator().manual_seed(1))
    expected = classic.box_sum(sums.numpy(), boxes.numpy())
    for kind in (torch.int32, torch.int64):
        actual = ops.box_sum(sums.to(device), boxes.to(device, kind))
        np.testing.assert_array_equal(actual.cpu().numpy(), expected, strict=True)


def test_haar_features_equal_classic(device):
    features = classic.HaarFeatureSet(7, 6, "all")[::3]
    images = make((2, 15, 16), torch.uint8)
    windows = torch.tensor([[0, 0, 0], [1, 9, 9], [0, 4, 3]])
    expected = classic.haar_features(images.numpy(), features, windows.numpy())
    actual = ops.haar_features(images.to(device), features, windows.to(device))
    np.testing.assert_array_equal(actual.cpu().numpy(), expected, strict=True)


def test_haar_features_outside_the_image_are_zeros_on_a_gpu(device):
    if not runs_cuda_kernels(device):
        pytest.skip("an error on the CPU")
    features = classic.HaarFeatureSet(3, 3)
    image = make((5, 6), torch.uint8).to(device)
    far = 2**62
    windows = torch.tensor([[2, 1], [4, 0], [0, 3], [-1, 0], [far, -far]], device=device)
    values = ops.haar_features(image, features, windows)
    assert torch.equal(values[0], ops.haar_features(image, features, windows[:1])[0])
    assert values[0].any()
    assert not values[1:].any()
    assert not ops.haar_features(image, classic.HaarFeatureSet(7, 2), windows).any()
    # A table that points out of its windows, and one with more features than it describes.
    sums = ops.integral_image(image)[None]
    kinds, offsets, columns = (torch.from_numpy(part).to(device) for part in features._table)
    inside = torch.nn.functional.pad(windows[:1], (1, 0))
    evaluate = torch.ops.saccade.haar_features
    assert not evaluate(sums, None, kinds, torch.full_like(offsets, -1), columns, 3, 3, inside).any()
    assert not evaluate(sums, None, kinds[:0], offsets, columns, 3, 3, inside).any()
    assert not evaluate(sums, None, kinds, offsets[:0], columns, 3, 3, inside).any()


def test_box_sum_gradient_adds_in_the_order_of_the_boxes(device):
    generator = torch.Generator().manual_seed(3)
    boxes = torch.randint(-2, 7, (200, 4), generator=generator)
    grad = torch.randn((2, 200), generator=generator)
    expected = torch.zeros(2, 6, 7)
    for (x1, y1, x2, y2), g in zip(boxes.tolist(), grad.unbind(1), strict=True):
        x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, 6), min(y2, 5)
        if x1 < x2 and y1 < y2:
            expected[:, y2, x2] += g
            expected[:, y1, x2] -= g
            expected[:, y2, x1] -= g
            expected[:, y1, x1] += g
    actual = torch.ops.saccade._box_sum_backward(grad.to(device), boxes.to(device), 6, 7)
    assert torch.equal(actual.cpu(), expected)


def _cases(device):
    image = make((2, 6, 7), torch.float64).to(device)
    sums = ops.integral_image(image).requires_grad_()
    boxes = torch.tensor([[0, 0, 5, 4], [1, 1, 3, 3]], device=device)
    features = classic.HaarFeatureSet(3, 3)
    table = [torch.from_numpy(part).to(device) for part in features._table]
    windows = torch.tensor([[0, 1, 1], [1, 4, 3]], device=device)
    operators = torch.ops.saccade
    return {
        "integral_image": (operators.integral_image, (image.clone().requires_grad_(), True, True)),
        "integral_image_u8": (operators.integral_image, (make((6, 7), torch.uint8).to(device),)),
        "box_sum": (operators.box_sum, (sums, boxes)),
        "_box_sum_backward": (operators._box_sum_backward, (sums.new_ones(2, 2).requires_grad_(), boxes, 7, 8)),
        "box_filter": (operators.box_filter, (image.clone().requires_grad_(), 3, 2)),
        "haar_features": (operators.haar_features, (sums.detach(), None, *table, 3, 3, windows)),
    }


@pytest.mark.parametrize("name", list(_cases("cpu")))
def test_opcheck(name, device):
    operator, arguments = _cases(device)[name]
    torch.library.opcheck(operator, arguments)


def test_compile_and_export(device):
    boxes = torch.tensor([[0, 0, 5, 4], [1, 1, 3, 3]], device=device)

    class Model(torch.nn.Module):
        def forward(self, image):
            sums, squares, tilted = ops.integral_image(image, squared=True, tilted=True)
            return ops.box_sum(sums + squares + tilted, boxes), ops.box_filter(image, (3, 5))

    image = make((2, 9, 8), torch.float32).to(device)
    expected = Model()(image)
    compiled = torch.compile(Model(), fullgraph=True, backend="aot_eager")(image)
    exported = torch.export.export(Model(), (image,)).module()(image)
    for a, b, c in zip(expected, compiled, exported, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_autocast(device):
    image = make((4, 5), torch.float32).to(device)
    with torch.autocast(device, torch.bfloat16):
        assert torch.equal(ops.integral_image(image.bfloat16()), ops.integral_image(image.bfloat16().float()))
        assert ops.box_filter(image.bfloat16(), 3).dtype == torch.float32


def test_thread_count_changes_nothing():
    before = torch.get_num_threads()
    image = make((2, 200, 310), torch.float32)
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append(ops.integral_image(image, squared=True, tilted=True))
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_errors():
    with pytest.raises(ValueError, match=r"^integral_image: image must have shape \(\.\.\., H, W\), got \(5,\)$"):
        ops.integral_image(torch.zeros(5))
    with pytest.raises(
        TypeError, match=r"^integral_image: image must be bool, uint8, int32, float32 or float64, got float16$"
    ):
        ops.integral_image(torch.zeros(2, 2, dtype=torch.float16))
    with pytest.raises(TypeError, match=r"^integral_image: image must be a torch.Tensor, got list$"):
        ops.integral_image([[1]])
    with pytest.raises(ValueError, match=r"^box_sum: boxes must have shape \(N, 4\), got \(1, 5\)$"):
        ops.box_sum(torch.zeros(3, 3), torch.zeros(1, 5, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"^box_filter: image must be uint8, float32 or float64, got int64$"):
        ops.box_filter(torch.zeros(3, 3, dtype=torch.int64), 3)
    with pytest.raises(ValueError, match=r"^box_filter: size must be from 1 to 4095, got \(0, 0\)$"):
        ops.box_filter(torch.zeros(3, 3), 0)
