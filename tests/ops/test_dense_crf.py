import numpy as np
import pytest
import torch

from saccade import ops
from saccade.ops.dense_crf import crf_terms, mean_field
from saccade.reference.dense_crf import dense_crf as reference_crf
from saccade.reference.dense_crf import image_features
from saccade.reference.permutohedral import gaussian_sum
from tests.util.threads import with_threads
from tests.util.tolerance import assert_close

# Where a pixel lies on the border of two simplices, rounding decides which vertices exist, and a blur passes through
# existing ones only: at a width of 3 that is so for every third row. The reference rounds differently, hence 3.1.
WIDTHS = {"gaussian_sxy": 3.1, "bilateral_sxy": 8.0}
NORMALIZATIONS = ["none", "before", "after", "symmetric"]


def problem(labels, height, width, seed=0, dtype=torch.float64, batch=1):
    """Costs, and an image of two noisy halves in [0, 255]."""
    generator = torch.Generator().manual_seed(seed)
    unary = 2 * torch.randn(batch, labels, height, width, generator=generator, dtype=torch.float64)
    image = 20 * torch.rand(batch, 3, height, width, generator=generator, dtype=torch.float64)
    image[..., width // 2 :] += 100
    return unary.to(dtype), image.to(dtype)


def expected(unary, image, gaussian, bilateral, iterations, normalization="symmetric", **kernel):
    """The reference of each image; compatibilities as matrices of costs, of WIDTHS."""
    results = []
    for costs, pixels in zip(unary.double().numpy(), image.double().numpy(), strict=True):
        shape = costs.shape[1:]
        terms = []
        if gaussian is not None:
            terms.append((image_features(shape, 3.1), gaussian))
        if bilateral is not None:
            terms.append((image_features(shape, 8, pixels, 13), bilateral))
        q = reference_crf(costs.reshape(len(costs), -1), terms, iterations, normalization, **kernel)
        results.append(q.reshape(costs.shape))
    return torch.from_numpy(np.stack(results))


@pytest.mark.parametrize("labels", [1, 2, 3, 4, 5, 8, 9, 21, 33, 40])
def test_labels(labels, device):
    unary, image = problem(labels, 5, 9, labels)
    q = ops.dense_crf(unary.to(device), image.to(device), **WIDTHS)
    costs = -np.eye(labels)
    assert_close(q.cpu(), expected(unary, image, 3 * costs, 10 * costs, 5), "reduction")


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("kind", ["Potts", "diagonal", "matrix"])
@pytest.mark.parametrize("grad", [False, True])
def test_compatibilities(kind, normalization, grad, device):
    unary, image = problem(4, 6, 7)
    generator = torch.Generator().manual_seed(1)
    diagonal, matrix = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in ((4,), (4, 4)))
    compat, costs = {
        "Potts": (torch.tensor(0.7, dtype=torch.float64), -0.7 * np.eye(4)),
        "diagonal": (diagonal, np.diag(diagonal.numpy())),
        "matrix": (matrix, (matrix + matrix.T).numpy() / 2),
    }[kind]
    q = ops.dense_crf(
        unary.to(device, copy=True).requires_grad_(grad), image.to(device), iterations=3, normalization=normalization,
        gaussian_compat=compat.to(device), bilateral_compat=compat.to(device), gaussian_sxy=3.1, bilateral_sxy=(8, 8),
        bilateral_srgb=[13, 13, 13],
    )  # fmt: skip
    assert_close(q.detach().cpu(), expected(unary, image, costs, costs, 3, normalization), "reduction")


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 1), (8, 8), (7, 11), (9, 15)])
@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_sizes(size, iterations, device):
    unary, image = problem(3, *size, batch=2)
    q = ops.dense_crf(unary.to(device), image.to(device), iterations=iterations, **WIDTHS)
    assert_close(q.cpu(), expected(unary, image, -3 * np.eye(3), -10 * np.eye(3), iterations), "reduction")


def test_empty(device):
    for shape in ((0, 3, 4, 4), (1, 3, 0, 4)):
        assert ops.dense_crf(torch.zeros(shape, device=device)).shape == shape
        image = torch.zeros(shape, device=device)
        assert ops.dense_crf(torch.zeros(shape, device=device), image).shape == shape


def test_terms_can_be_left_out(device):
    unary, image = problem(3, 6, 5)
    costs = -np.eye(3)
    here = unary.to(device), image.to(device)
    only_gaussian = expected(unary, image, 3 * costs, None, 5)
    assert_close(ops.dense_crf(here[0], **WIDTHS).cpu(), only_gaussian, "reduction")
    assert_close(ops.dense_crf(*here, bilateral_compat=None, **WIDTHS).cpu(), only_gaussian, "reduction")
    only_bilateral = ops.dense_crf(*here, gaussian_compat=None, **WIDTHS)
    assert_close(only_bilateral.cpu(), expected(unary, image, None, 10 * costs, 5), "reduction")
    assert_close(ops.dense_crf(here[0], gaussian_compat=None).cpu(), torch.softmax(-unary, 1), "elementwise")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtypes(dtype, device):
    unary, image = problem(5, 9, 12, dtype=dtype)
    bytes_image = image.to(torch.uint8)
    q = ops.dense_crf(unary.to(device), bytes_image.to(device), iterations=2, **WIDTHS)
    assert q.dtype == dtype
    # Float32's features are off by 1e-6, and a logit of up to 13 multiplies that.
    right = expected(unary, bytes_image, -3 * np.eye(5), -10 * np.eye(5), 2)
    torch.testing.assert_close(q.cpu().double(), right, rtol=0, atol=1e-4 if dtype == torch.float32 else 1e-2)


def test_no_batch_and_layouts(device):
    unary, image = (t.to(device) for t in problem(3, 8, 6, batch=2))
    together = ops.dense_crf(unary, image)
    for b in range(2):
        assert torch.equal(ops.dense_crf(unary[b], image[b]), together[b])
    last = torch.channels_last
    strided = ops.dense_crf(unary.contiguous(memory_format=last), image.contiguous(memory_format=last))
    assert torch.equal(strided, together)


def test_near_the_sum_over_all_pairs(device):
    # The labels of a noisy two-coloured image, beside those with exact Gaussians.
    unary, image = problem(2, 20, 24, 3)
    unary[:, 0, :, :12] -= 1
    unary[:, 1, :, 12:] -= 1
    q = ops.dense_crf(unary.to(device), image.to(device), **WIDTHS).cpu()
    exact = expected(unary, image, -3 * np.eye(2), -10 * np.eye(2), 5, kernel=gaussian_sum)
    truth = (torch.arange(24) >= 12).long().expand(20, 24)
    assert (unary.argmin(1)[0] != truth).double().mean() > 0.2
    assert (q.argmax(1)[0] != truth).double().mean() < 0.02
    assert (q.argmax(1) != exact.argmax(1)).double().mean() < 0.01


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradient(normalization, device):
    unary, image = (t.to(device) for t in problem(3, 3, 4))
    potts = torch.tensor(0.4, dtype=torch.float64, device=device, requires_grad=True)
    matrix = (0.3 * torch.eye(3, dtype=torch.float64, device=device) - 0.4).requires_grad_()

    def run(unary, potts, matrix):
        return ops.dense_crf(
            unary, image, iterations=2, gaussian_compat=potts, bilateral_compat=matrix, normalization=normalization
        )

    assert torch.autograd.gradcheck(run, (unary.requires_grad_(), potts, matrix))
    diagonal = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64, device=device, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d: run(unary.detach(), d, d), diagonal)


def exact_crf(unary, features, compat, iterations, normalization):
    """One Potts term by the sum over all pairs, in torch."""
    costs = unary.flatten(1)
    kernel = torch.exp(-torch.cdist(features, features).square() / 2)
    total = kernel.sum(1)
    factor = {"none": torch.ones_like(total), "symmetric": total.rsqrt()}.get(normalization, 1 / total)
    before, after = (factor if normalization != "after" else 1), (factor if normalization != "before" else 1)
    q = (-costs).softmax(0)
    for _ in range(iterations):
        q = (-costs + compat * after * ((q * before) @ kernel)).softmax(0)
    return q.view(unary.shape)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("full", [False, True])
def test_gradient_of_a_kernel(full, normalization, device):
    unary, image = problem(3, 10, 12, 5)
    weights = torch.randn(3, 10, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    kernel = torch.tensor([0.4, 0.3, 0.05, 0.04, 0.03], dtype=torch.float64)
    kernel = (kernel.diag() + 0.01 if full else kernel).requires_grad_()
    y, x = torch.meshgrid(torch.arange(10.0), torch.arange(12.0), indexing="ij")
    places = torch.stack([x, y, *image[0]], 2).flatten(0, 1).double()
    compat = 0.05 if normalization == "none" else 2.0
    theirs = exact_crf(unary[0], places @ kernel.mT if full else places * kernel, compat, 2, normalization)
    (right,) = torch.autograd.grad((theirs * weights).sum(), kernel)
    here = kernel.detach().to(device).requires_grad_()
    ours = ops.dense_crf(
        unary.to(device), image.to(device), iterations=2, gaussian_compat=None, bilateral_sxy=1, bilateral_srgb=1,
        bilateral_compat=compat, bilateral_kernel=here, normalization=normalization,
    )  # fmt: skip
    (found,) = torch.autograd.grad((ours.cpu()[0] * weights).sum(), here)
    alike = torch.nn.functional.cosine_similarity(found.cpu().flatten(), right.flatten(), dim=0)
    assert alike > 0.9
    # Sums on the lattice fall short where points are sparse, as here in five dimensions; means do not.
    assert (0.3 if normalization == "none" else 0.5) < found.norm().item() / right.norm().item() < 2
    plain = ops.dense_crf(
        unary, image, iterations=2, gaussian_compat=None, bilateral_sxy=1, bilateral_srgb=1, bilateral_compat=compat,
        bilateral_kernel=kernel.detach(), normalization=normalization,
    )  # fmt: skip
    assert_close(ours.detach().cpu(), plain, "reduction")


def test_a_kernel_is_learned(device):
    # Colour tells the halves apart, the third channel is noise: its scale has to go down.
    unary, image = (t.to(device) for t in problem(2, 16, 20, 7))
    truth = (torch.arange(20, device=device) >= 10).long().expand(1, 16, 20)
    unary[:, 0] -= 0.7 * (truth == 0)
    unary[:, 1] -= 0.7 * (truth == 1)
    image[:, 2] = 120 * torch.rand(16, 20, dtype=torch.float64, device=device)
    scales = torch.tensor([1 / 8, 1 / 8, 1 / 13, 1 / 13, 1 / 13], dtype=torch.float64, device=device).requires_grad_()
    optimizer = torch.optim.Adam([scales], 0.01)
    losses = []
    for _ in range(12):
        q = ops.dense_crf(
            unary, image, iterations=3, gaussian_compat=None, bilateral_sxy=1, bilateral_srgb=1, bilateral_kernel=scales
        )
        loss = torch.nn.functional.nll_loss(q.clamp_min(1e-9).log(), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert scales[4] < 0.8 / 13


def test_threads():
    unary, image = problem(21, 190, 200, dtype=torch.float32)
    results = with_threads(lambda: ops.dense_crf(unary, image, iterations=2))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_torch_features():
    unary, image = problem(3, 4, 5)
    costs, lattices = crf_terms("dense_crf", "unary", unary, image, "symmetric", gaussian=3.0, bilateral=(8.0, 13.0))
    flat = [t for lattice, before, after, _ in lattices for t in (*lattice, before, after)]
    arguments = (costs.flatten(2), -1.0, flat, [torch.ones(3).double()] * 2, 2, True)
    torch.library.opcheck(torch.ops.saccade._mean_field.default, arguments)
    compiled = torch.compile(ops.dense_crf, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(unary, image), ops.dense_crf(unary, image))
    with pytest.raises(RuntimeError, match="dense_crf: this operator has no gradient"):
        torch.ops.saccade._mean_field(costs.flatten(2).requires_grad_(), *arguments[1:]).sum().backward()


def test_logits_of_tracked_and_untracked_inference_agree(device):
    unary, image = (t.to(device) for t in problem(3, 5, 6))
    costs, lattices = crf_terms("dense_crf", "unary", unary, image, "after", gaussian=3.0, bilateral=(8.0, 13.0))
    matrices = [torch.randn(3, 3, dtype=torch.float64).to(device) for _ in range(2)]
    plain = mean_field(costs.flatten(2), 1.0, lattices, matrices, 3, False)
    tracked = mean_field(costs.flatten(2).requires_grad_(), 1.0, lattices, matrices, 3, False)
    assert_close(plain.cpu(), tracked.detach().cpu(), "reduction")


def test_errors(device):
    unary, image = (t.to(device) for t in problem(3, 4, 5, dtype=torch.float32))
    nan, infinite = unary.clone(), unary.clone()
    nan[0, 1, 2, 3], infinite[0, 0, 0, 0] = float("nan"), float("inf")
    finite = "unary must be finite, got NaN or an infinity"
    compat = "bilateral_compat must be a number, or have shape (), (3,) or (3, 3), got (2,)"
    for error, message, arguments, keywords in (
        (TypeError, "unary must be a torch.Tensor, got NoneType", (None, image), {}),
        (TypeError, "image must be a torch.Tensor, got int", (unary, 1), {}),
        (ValueError, "unary must have shape (B, L, H, W) or (L, H, W), got (5,)", (unary[0, 0, 0],), {}),
        (TypeError, "unary must be float16, bfloat16, float32 or float64, got int64", (unary.long(),), {}),
        (ValueError, "unary must have at least one label, got 0", (unary[:, :0],), {}),
        (
            ValueError,
            "image must have shape (B, C, H, W) beside unary of shape (1, 3, 4, 5), with 1 to 6 channels, "
            "got (1, 3, 4, 4)",
            (unary, image[..., :4]),
            {},
        ),
        (ValueError, finite, (nan, image), {}),
        (ValueError, finite, (infinite, image), {}),
        (ValueError, "iterations must be at least 0, got -1", (unary, image), {"iterations": -1}),
        (
            ValueError,
            "iterations must be at least 0, got -1",
            (unary.clone().requires_grad_(), image),
            {"iterations": -1},
        ),
        (
            ValueError,
            "gaussian_sxy must be a finite number above 0, or 2 of them, got 0",
            (unary, image),
            {"gaussian_sxy": 0},
        ),
        (
            ValueError,
            "bilateral_srgb must be a finite number above 0, or 3 of them, got [1, 2]",
            (unary, image),
            {"bilateral_srgb": [1, 2]},
        ),
        (
            ValueError,
            compat,
            (unary, image),
            {"bilateral_compat": torch.ones(2, device=device)},
        ),
        (
            ValueError,
            "normalization must be 'none', 'before', 'after' or 'symmetric', got 'mean'",
            (unary, image),
            {"normalization": "mean"},
        ),
    ):
        with pytest.raises(error) as caught:
            ops.dense_crf(*arguments, **keywords)
        assert str(caught.value) == f"dense_crf: {message}"
    with pytest.raises(ValueError, match=r"^permutohedral_filter: features must be finite and"):
        ops.dense_crf(unary, image * float("nan"))
