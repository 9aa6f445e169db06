"""hog for tensors beside scikit-image, the NumPy half and the reference."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage import data
from skimage.feature import hog as skimage_hog

from saccade import classic, ops
from saccade.reference.hog import hog as reference
from tests.util.devices import runs_cuda_kernels
from tests.util.strategies import awkward_floats
from tests.util.threads import with_threads

NORMS = ["L1", "L1-sqrt", "L2", "L2-Hys"]
GREY = data.camera()[100:171, 90:183]
COLOUR = np.moveaxis(data.astronaut()[:43, 60:131], 2, 0)


def make(dtype, image=GREY):
    tensor = torch.from_numpy(image.copy())
    return (tensor.double() / 255).to(dtype) if dtype.is_floating_point else tensor.to(dtype)


def assert_equal_values(actual, expected):
    actual = actual.cpu().numpy()
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    tolerance = 1e-10 if expected.dtype == np.float64 else 2e-7
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def assert_equals_skimage(image, device, **options):
    """Of one image, (H, W) or (C, H, W)."""
    channels = {} if image.ndim == 2 else {"channel_axis": 0}
    assert_equal_values(ops.hog(image.to(device), **options), skimage_hog(image.numpy(), **channels, **options))


@pytest.mark.parametrize("block_norm", NORMS)
@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.bool, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64]
)
def test_equals_skimage(dtype, block_norm, device):
    image = make(dtype) if dtype != torch.bool else torch.from_numpy(GREY > 100)
    for orientations in (1, 9):
        assert_equals_skimage(image, device, orientations=orientations, block_norm=block_norm)
    assert_equals_skimage(image, device, block_norm=block_norm, feature_vector=False, transform_sqrt=True)


def test_bfloat16_is_computed_in_float32(device):
    image = make(torch.bfloat16).to(device)
    assert torch.equal(ops.hog(image), ops.hog(image.float()))


@pytest.mark.parametrize("orientations", [2, 4, 6, 8, 12, 18])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_gradients_on_the_edge_of_a_bin(orientations, dtype, device):
    # Of integers they are exact: at 0, 45, 90 and 135 degrees.
    for image in (GREY, GREY // 64):
        image = torch.from_numpy(image).to(dtype)
        assert_equals_skimage(image, device, orientations=orientations, block_norm="L1")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_colour(dtype, device):
    image = make(dtype, COLOUR)
    assert_equals_skimage(image, device)
    assert_equals_skimage(image[:1], device)
    assert_equals_skimage(torch.cat([image, image.flip(1)]), device, transform_sqrt=True)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_of_channels_with_equal_gradients_the_first_counts(dtype, device):
    # Turned, the second channel's gradients are as long as the first's and point elsewhere.
    square = torch.from_numpy(GREY[:40, :40].copy()).to(dtype)
    for second in (square, square.mT, square.flip(0), square.flip(1).mT):
        assert_equals_skimage(torch.stack([square, second]), device)
    # 1² + 8² = 4² + 7²; both lengths round to the same.
    first, second = (torch.zeros(3, 3, dtype=dtype) for _ in range(2))
    first[1, 2], first[2, 1], second[1, 2], second[2, 1] = 8, 1, 4, 7
    options = {"pixels_per_cell": (3, 3), "cells_per_block": (1, 1), "block_norm": "L2"}
    for pair in ((first, second), (second, first)):
        alone, both = (ops.hog(image.to(device), **options) for image in (pair[0], torch.stack(pair)))
        assert both[alone.argmax()] > 0.9


@pytest.mark.parametrize("pixels_per_cell", [(8, 8), (7, 5), (1, 1), (3, 30), (70, 2)])
@pytest.mark.parametrize("cells_per_block", [(1, 1), (1, 3)])
def test_sizes_of_cells_and_blocks(pixels_per_cell, cells_per_block, device):
    options = {"pixels_per_cell": pixels_per_cell, "cells_per_block": cells_per_block, "feature_vector": False}
    assert_equals_skimage(make(torch.float64), device, **options)


@pytest.mark.parametrize(
    ("shape", "cell"), [((2, 4000), (2, 1900)), ((3, 3700), (3, 3700)), ((64, 90), (64, 45)), ((9, 700), (3, 8))]
)
def test_cells_larger_than_what_a_block_of_threads_holds(shape, cell, device):
    image = torch.rand(shape, dtype=torch.float64)
    for orientations in (9, 300):
        assert_equals_skimage(
            image, device, pixels_per_cell=cell, cells_per_block=(1, 1), orientations=orientations, block_norm="L1"
        )


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 8), (3, 10), (9, 1), (5, 11), (4, 12), (17, 19)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
def test_sizes_of_images(shape, dtype, device):
    image = (torch.rand(shape) * 255).to(dtype)
    assert_equals_skimage(image, device, pixels_per_cell=(1, 1), cells_per_block=(1, 1))


@pytest.mark.parametrize("block_norm", NORMS)
def test_equals_reference(block_norm, device):
    images = make(torch.float64, np.stack([COLOUR, COLOUR[::-1]]))[..., :20, :27]
    actual = ops.hog(images.to(device), 7, (5, 4), (2, 3), block_norm, feature_vector=False)
    expected = np.stack([reference(image, 7, (5, 4), (2, 3), block_norm) for image in images.numpy()])
    np.testing.assert_allclose(actual.cpu().numpy(), expected, rtol=0, atol=1e-6)  # cells are added up in float32


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (1,), (9,), (2, 3), (0,), (2, 0)])
def test_batches_equal_the_numpy_half(batch, dtype, device):
    image = (torch.rand(*batch, 3, 25, 27) * 255).to(dtype)
    actual, blocks = ops.hog(image.to(device)), ops.hog(image.to(device), feature_vector=False)
    expected = [classic.hog(one, channel_axis=0) for one in image.numpy().reshape(math.prod(batch), 3, 25, 27)]
    kind = torch.float32 if dtype == torch.float32 else torch.float64
    assert actual.dtype == blocks.dtype == kind
    assert actual.shape == (*batch, 81)
    assert blocks.shape == (*batch, 1, 1, 3, 3, 9)
    assert torch.equal(blocks.flatten(-5), actual)
    if expected:
        assert_equal_values(actual, np.stack(expected).reshape(*batch, 81))
        if not runs_cuda_kernels(device):
            np.testing.assert_array_equal(actual.numpy().reshape(-1, 81), np.stack(expected))


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "every_other", "flipped", "expanded"])
def test_layouts(layout, device):
    image = torch.rand(2, 3, 50, 60, dtype=torch.float64).to(device)
    if layout == "channels_last":
        image = image.contiguous(memory_format=torch.channels_last)
    elif layout == "transposed":
        image = image.mT
    elif layout == "every_other":
        image = image[..., ::2, ::2]
    elif layout == "flipped":
        image = image.flip(-1).movedim(1, -1).contiguous().movedim(-1, 1)
    else:
        image = image[:1].expand(4, 3, 50, 60)
    assert torch.equal(ops.hog(image), ops.hog(image.contiguous()))


def test_nan_and_infinity(device):
    image = make(torch.float64)
    image[30, 40], image[50, 10], image[20, 70] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        expected = skimage_hog(image.numpy(), feature_vector=False)
    actual = ops.hog(image.to(device), feature_vector=False).cpu().numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)
    assert np.isnan(actual).any()
    assert not np.isnan(actual).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_nan_is_the_longest_gradient(dtype, device):
    image = make(dtype, COLOUR)
    image[0, 5, 5], image[1, 20, 20], image[2, 30, 40] = torch.nan, torch.inf, -torch.inf
    image[1, 30, 40] = torch.nan
    with np.errstate(invalid="ignore"):
        expected = skimage_hog(image.numpy(), channel_axis=0)
    np.testing.assert_allclose(ops.hog(image.to(device)).cpu().numpy(), expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e-20, 1e20, 1e150, 1e300])
def test_extreme_values(scale, device):
    assert_equals_skimage(make(torch.float64) * scale, device)


@given(
    st.lists(awkward_floats, min_size=48, max_size=48),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(1, 2),
    st.integers(1, 12),
)
def test_any_values(values, dtype, channels, orientations):
    image = torch.tensor(values, dtype=torch.float64).to(dtype).reshape(channels, 4, 12 // channels)
    options = {"orientations": orientations, "pixels_per_cell": (2, 3), "cells_per_block": (1, 1), "block_norm": "L2"}
    with np.errstate(all="ignore"):
        expected = classic.hog(image.numpy(), channel_axis=0, **options)
    np.testing.assert_allclose(ops.hog(image, **options).numpy(), expected, rtol=0, atol=1e-6)


def test_flat_image(device):
    assert not ops.hog(torch.full((2, 3, 40, 50), 7, dtype=torch.uint8, device=device)).any()


def test_thread_count_changes_nothing():
    for shape in ((1, 200, 300), (3, 1, 120, 130), (40, 1, 33, 34)):
        image = torch.rand(shape)
        results = with_threads(lambda image=image: ops.hog(image))
        assert torch.equal(results[0], results[1])
        assert torch.equal(results[0], results[2])


def test_the_result_carries_no_gradient(device):
    image = torch.rand(30, 30, device=device, requires_grad=True)
    assert not ops.hog(image).requires_grad
    assert not ops.hog(image, transform_sqrt=True).requires_grad


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_opcheck(dtype, device):
    image = (torch.rand(2, 3, 20, 27, device=device) * 255).to(dtype)
    torch.library.opcheck(torch.ops.saccade.hog.default, (image, 9, 5, 4, 2, 3, 3))
    torch.library.opcheck(torch.ops.saccade.hog.default, (image[:0].mT, 1, 5, 4, 1, 1, 0))


@pytest.mark.parametrize("options", [{}, {"transform_sqrt": True, "feature_vector": False, "cells_per_block": (1, 2)}])
def test_compile_and_export(options, device):
    class Model(torch.nn.Module):
        def forward(self, image):
            return ops.hog(image, **options) + 1

    for image in (make(torch.uint8), make(torch.float32, COLOUR)[None]):
        image = image.to(device)
        expected = Model()(image)
        compiled = torch.compile(Model(), fullgraph=True, backend="aot_eager", dynamic=True)
        assert torch.equal(compiled(image), expected)
        assert torch.equal(torch.export.export(Model(), (image,)).module()(image), expected)


def test_autocast(device):
    image = make(torch.bfloat16).to(device)
    with torch.autocast(device, torch.bfloat16):
        assert torch.equal(ops.hog(image), ops.hog(image.float()))


PLAIN = torch.zeros(40, 40)
CHANNELS = "image must have shape (N, C, H, W) with a channel at least"


@pytest.mark.parametrize(
    ("error", "message", "image", "options"),
    [
        (TypeError, "image must be a torch.Tensor, got ndarray", GREY, {}),
        (TypeError, "image must be real numbers, got complex64", torch.zeros(40, 40, dtype=torch.complex64), {}),
        (ValueError, "image must have shape (H, W) or (..., C, H, W), got (5,)", torch.zeros(5), {}),
        (ValueError, f"{CHANNELS}, got (2, 0, 40, 40)", torch.zeros(2, 0, 40, 40), {}),
        (ValueError, "image must have at least 24 rows and 24 columns, got 23 and 93", torch.zeros(23, 93), {}),
        (ValueError, "image must have at least 24 rows and 24 columns, got 0 and 0", torch.zeros(0, 0), {}),
        (ValueError, "block_norm must be one of L1, L1-sqrt, L2, L2-Hys, got 'L3'", PLAIN, {"block_norm": "L3"}),
        (ValueError, "orientations must be from 1 to 65536, got 0", PLAIN, {"orientations": 0}),
        (TypeError, "orientations must be an integer, got 9.0", PLAIN, {"orientations": 9.0}),
        (ValueError, "pixels_per_cell must be from 1 to 2^30, got (0, 8)", PLAIN, {"pixels_per_cell": (0, 8)}),
        (ValueError, "cells_per_block must be two integers, rows and columns, got 3", PLAIN, {"cells_per_block": 3}),
    ],
)  # fmt: skip
def test_errors(error, message, image, options):
    with pytest.raises(error) as caught:
        ops.hog(image, **options)
    assert str(caught.value) == f"hog: {message}"


@pytest.mark.parametrize(
    ("kind", "message", "change"),
    [
        ("TypeError", "image must be uint8, float32 or float64, got int32", {0: PLAIN.int()[None, None]}),
        ("ValueError", f"{CHANNELS}, got (40, 40)", {0: PLAIN}),
        ("ValueError", "pixels_per_cell must be from 1 to 2^30, got (0, 1)", {2: 0}),
        ("ValueError", "cells_per_block must be from 1 to 2^30, got (1, -1)", {5: -1}),
        ("ValueError", "block_norm must be from 0 to 3, got 4", {6: 4}),
    ],
)  # fmt: skip
def test_errors_of_the_operator_itself(kind, message, change, device):
    arguments = [torch.zeros(1, 1, 9, 9), 9, 1, 1, 1, 1, 0]
    for place, value in change.items():
        arguments[place] = value
    arguments[0] = arguments[0].to(device)
    with pytest.raises(RuntimeError) as caught:
        torch.ops.saccade.hog(*arguments)
    assert str(caught.value).split("\n")[0] == f"{kind}: hog: {message}"
