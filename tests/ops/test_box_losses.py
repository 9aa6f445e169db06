import pytest
import torch
from hypothesis import given

from saccade import ops
from tests.util import strategies
from tests.util.tolerance import assert_close

tv = pytest.importorskip("torchvision.ops")

LOSSES = ["generalized_box_iou_loss", "distance_box_iou_loss", "complete_box_iou_loss"]
FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def random_boxes(n, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(n, 2, generator=generator, dtype=torch.float64) * 20
    return torch.cat([corner, corner + torch.rand(n, 2, generator=generator, dtype=torch.float64) * 20], 1).to(dtype)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", [0, 1, 33])
def test_equals_torchvision(name, dtype, n, device):
    for reduction in ("none", "mean", "sum"):
        a, b = random_boxes(n, dtype, 0), random_boxes(n, dtype, 1)
        a[::5] = b[::5]
        results = []
        for module, place in ((ops, device), (tv, "cpu")):
            x, y = a.clone().to(place).requires_grad_(), b.clone().to(place).requires_grad_()
            loss = getattr(module, name)(x, y, reduction, 1e-6)
            loss.sum().backward()
            results.append((loss.detach().cpu(), x.grad.cpu(), y.grad.cpu()))
        assert_close(results[0][0], results[1][0], "exact")
        for actual, expected in zip(results[0][1:], results[1][1:], strict=True):
            assert_close(actual, expected, "reduction")


@pytest.mark.parametrize("name", LOSSES)
@given(a=strategies.boxes(), b=strategies.boxes())
def test_any_coordinates(name, a, b):
    n = min(len(a), len(b))
    a, b = torch.from_numpy(a[:n]), torch.from_numpy(b[:n])
    assert_close(getattr(ops, name)(a, b), getattr(tv, name)(a, b), "exact")


@pytest.mark.parametrize("name", LOSSES[:2])
def test_gradcheck(name):
    a, b = (random_boxes(4, torch.float64, seed).requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(getattr(ops, name), (a, b))


@pytest.mark.parametrize("name", LOSSES)
def test_compile(name):
    a, b = random_boxes(9, torch.float32, 0), random_boxes(9, torch.float32, 1)
    compiled = torch.compile(getattr(ops, name), fullgraph=True, backend="aot_eager")
    assert_close(compiled(a, b), getattr(ops, name)(a, b), "exact")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("alpha", [0.25, 0, 1, -1])
@pytest.mark.parametrize("gamma", [0, 2, 1.5])
def test_focal_loss_equals_torchvision(dtype, alpha, gamma, device):
    generator = torch.Generator().manual_seed(0)
    inputs = (torch.randn(5, 7, generator=generator) * 3).to(dtype)
    targets = (torch.rand(5, 7, generator=generator) > 0.5).to(dtype)
    for reduction in ("none", "mean", "sum"):
        results = []
        for module, place in ((ops, device), (tv, "cpu")):
            x = inputs.clone().to(place).requires_grad_()
            loss = module.sigmoid_focal_loss(x, targets.to(place), alpha, gamma, reduction)
            loss.sum().backward()
            results.append((loss.detach().cpu(), x.grad.cpu()))
        assert_close(results[0][0], results[1][0], "exact")
        assert_close(results[0][1], results[1][1], "exact")


def test_focal_loss_without_focus_is_cross_entropy():
    inputs, targets = torch.randn(20), (torch.rand(20) > 0.5).float()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    torch.testing.assert_close(ops.sigmoid_focal_loss(inputs, targets, alpha=-1, gamma=0), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_errors(name):
    loss, boxes = getattr(ops, name), torch.rand(3, 4)
    with pytest.raises(ValueError, match=rf"^{name}: boxes1 must have shape \(\.\.\., 4\), got \(3, 5\)$"):
        loss(torch.rand(3, 5), boxes)
    with pytest.raises(
        ValueError, match=rf"^{name}: boxes1 and boxes2 must have the same shape, got \(3, 4\) and \(2, 4\)$"
    ):
        loss(boxes, boxes[:2])
    with pytest.raises(ValueError, match=rf"^{name}: reduction must be 'none', 'mean' or 'sum', got 'median'$"):
        loss(boxes, boxes, "median")
    with pytest.raises(TypeError, match=rf"^{name}: boxes2 must be a torch.Tensor, got list$"):
        loss(boxes, [])


def test_focal_loss_errors():
    x = torch.rand(3)
    with pytest.raises(ValueError, match=r"^sigmoid_focal_loss: alpha must be between 0 and 1, or -1, got 1.5$"):
        ops.sigmoid_focal_loss(x, x, alpha=1.5)
    with pytest.raises(ValueError, match=r"^sigmoid_focal_loss: reduction must be 'none', 'mean' or 'sum', got 'max'$"):
        ops.sigmoid_focal_loss(x, x, reduction="max")
