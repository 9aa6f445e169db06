import numpy as np
import pytest
import torch

from saccade import ops
from saccade.ops.permutohedral import build_lattice, filter_rows
from saccade.reference.permutohedral import gaussian_sum, lattice_matrices
from saccade.reference.permutohedral import permutohedral_filter as reference_filter
from tests.util.threads import with_threads
from tests.util.tolerance import assert_close


def random_points(n, d, channels, seed=0, spread=1.5):
    generator = torch.Generator().manual_seed(seed)
    features = spread * torch.randn(n, d, generator=generator, dtype=torch.float64)
    return features, torch.randn(n, channels, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 9, 16, 21, 32, 37, 71])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_equals_reference(d, channels, device):
    features, values = random_points(60, d, channels, channels)
    filtered = ops.permutohedral_filter(features.to(device), values.to(device))
    assert_close(filtered.cpu(), torch.from_numpy(reference_filter(features.numpy(), values.numpy())), "reduction")


@pytest.mark.parametrize("d", range(1, 9))
def test_dimensions(d, device):
    features, values = random_points(67, d, 3, d, spread=0.7)
    filtered = ops.permutohedral_filter(features.to(device), values.to(device))
    assert_close(filtered.cpu(), torch.from_numpy(reference_filter(features.numpy(), values.numpy())), "reduction")


@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 63, 64, 65, 255, 257])
def test_numbers_of_points(n, device):
    features, values = random_points(n, 3, 4, n)
    filtered = ops.permutohedral_filter(features.to(device), values.to(device))
    expected = reference_filter(features.numpy(), values.numpy()) if n else np.zeros((0, 4))
    assert_close(filtered.cpu(), torch.from_numpy(expected), "reduction")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes(dtype, device):
    features, values = (t.to(dtype) for t in random_points(50, 2, 6))
    filtered = ops.permutohedral_filter(features.to(device), values.to(device))
    assert filtered.dtype == dtype
    expected = reference_filter(features.double().numpy(), values.double().numpy())
    assert_close(filtered.cpu(), torch.from_numpy(expected), "reduction")


def test_near_the_sum_over_all_pairs(device):
    # Means over a grid of pixels are within a twentieth of the range of the values; sums fall short by up to a third,
    # for the vertices around the image that no pixel reaches pass nothing on.
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(20.0), indexing="ij")
    colour = 60 * (x > 9) + torch.rand(24, 20, generator=torch.Generator().manual_seed(1)) * 8
    features = torch.stack([x / 4, y / 4, colour / 13], 2).reshape(-1, 3)
    values = torch.stack([torch.ones_like(x), (x > 9).float(), torch.sin(x / 3), torch.cos(y / 5)], 2).reshape(-1, 4)
    filtered = ops.permutohedral_filter(features.to(device), values.to(device)).cpu()
    exact = torch.from_numpy(gaussian_sum(features.numpy(), values.numpy()))
    means, expected = filtered[:, 1:] / filtered[:, :1], exact[:, 1:] / exact[:, :1]
    assert (means - expected).abs().max() < 0.1
    assert (means - expected).abs().mean() < 0.02
    shares = filtered[:, 0] / exact[:, 0]
    assert shares.min() > 0.6
    assert shares.max() < 1.05


def test_batch_is_one_lattice_each(device):
    features = torch.stack([random_points(9000, 2, 1, seed, 2.0)[0] for seed in range(3)]).to(device)
    values = torch.stack([random_points(9000, 2, 5, seed)[1] for seed in range(3)]).to(device)
    together = ops.permutohedral_filter(features, values)
    for b in range(3):
        assert torch.equal(together[b], ops.permutohedral_filter(features[b], values[b]))


def test_more_points_than_a_band(device):
    # 20,000 points in bands of 8,192: their vertices meet.
    features, values = random_points(20000, 2, 2, 3, 1.0)
    filtered = ops.permutohedral_filter(features.to(device), values.to(device)).cpu()
    # Every point once more, in another order: the order decides how points are split, not what is computed.
    order = torch.randperm(20000, generator=torch.Generator().manual_seed(2))
    shuffled = ops.permutohedral_filter(features[order].to(device), values[order].to(device)).cpu()
    assert_close(shuffled, filtered[order], "reduction")
    weights, blurs = lattice_matrices(features[:200].numpy())
    assert weights.sum() == pytest.approx(200)
    assert all((blur == blur.T).all() for blur in blurs)


def test_gradient(device):
    features, values = random_points(25, 3, 4)
    lattice = build_lattice(features[None].to(device))
    inputs = values.to(device).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: filter_rows(v, lattice), inputs)
    assert torch.autograd.gradgradcheck(lambda v: filter_rows(v, lattice), inputs)
    # The transpose blurs in the reverse order, which is another operator.
    eye = torch.eye(25, dtype=torch.float64, device=device)
    forward = torch.ops.saccade._permutohedral_filter(eye, *lattice, False)
    reverse = torch.ops.saccade._permutohedral_filter(eye, *lattice, True)
    assert_close(reverse.mT.cpu(), forward.cpu(), "reduction")
    assert (forward - reverse).abs().max() > 1e-3


def test_layouts(device):
    features, values = (t.to(device) for t in random_points(70, 2, 6))
    expected = ops.permutohedral_filter(features, values)
    for other_features, other_values in (
        (features.t().contiguous().t(), values.t().contiguous().t()),
        (features.repeat_interleave(2, 0)[::2], values.repeat_interleave(3, 1)[:, ::3]),
    ):
        assert torch.equal(ops.permutohedral_filter(other_features, other_values), expected)


def test_threads():
    features, values = random_points(40000, 3, 21, 5)
    results = with_threads(lambda: ops.permutohedral_filter(features.float(), values.float()))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_torch_features():
    features, values = random_points(30, 2, 3)
    torch.library.opcheck(torch.ops.saccade._permutohedral_lattice.default, (features[None],))
    lattice = build_lattice(features[None])
    arguments = (values.requires_grad_(), *lattice, False)
    torch.library.opcheck(torch.ops.saccade._permutohedral_filter.default, arguments)
    compiled = torch.compile(ops.permutohedral_filter, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(features, values.detach()), ops.permutohedral_filter(features, values.detach()))
    with torch.autocast("cpu", torch.bfloat16):
        assert ops.permutohedral_filter(features.bfloat16(), values.bfloat16()).dtype == torch.bfloat16


def test_errors(device):
    features, values = (t.to(device) for t in random_points(10, 2, 3))
    nan, far = features.clone(), features.clone()
    nan[3, 1], far[9, 0] = float("nan"), 1e7
    large = "features must be finite and, in units of the filter's width, below about 524288 (2 dimensions)"
    for error, message, arguments in (
        (TypeError, "features must be a torch.Tensor, got NoneType", (None, values)),
        (ValueError, "features must have shape (N, d) or (B, N, d), got (2,)", (features[0], values)),
        (
            ValueError,
            "values must have shape (N, C) beside features of shape (10, 2), got (9, 3)",
            (features, values[:9]),
        ),
        (
            ValueError,
            "values must have shape (B, N, C) beside features of shape (1, 10, 2), got (10, 3)",
            (features[None], values),
        ),
        (
            TypeError,
            "features and values must have the same dtype, got float64 and float32",
            (features, values.float()),
        ),
        (TypeError, "features must be float32 or float64, got int64", (features.long(), values.long())),
        (ValueError, "features must have 1 to 8 dimensions, got 9", (features.repeat(1, 5)[:, :9], values)),
        (ValueError, "features must have 1 to 8 dimensions, got 0", (features[:, :0], values)),
        (ValueError, large, (nan, values)),
        (ValueError, large, (far, values)),
        (
            ValueError,
            "features must not require a gradient, got some that do",
            (features.clone().requires_grad_(), values),
        ),
    ):
        with pytest.raises(error) as caught:
            ops.permutohedral_filter(*arguments)
        assert str(caught.value) == f"permutohedral_filter: {message}"
