"""Losses against scikit-learn, SciPy, torch and plain numbers."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import minkowski
from sklearn.metrics import f1_score, log_loss, mean_absolute_error, mean_squared_error

from saccade.ops import sigmoid_focal_loss
from saccade.train import losses


@pytest.mark.parametrize("p", [1, 1.5, 2, 3, math.inf])
def test_p_norm_as_scipy(p):
    a, b = torch.randn(5, 2, 3, dtype=torch.float64), torch.randn(5, 2, 3, dtype=torch.float64)
    pairs = zip(a.flatten(1), b.flatten(1), strict=True)
    expected = torch.tensor([minkowski(x, y, p) for x, y in pairs], dtype=torch.float64)
    torch.testing.assert_close(losses.p_norm_loss(a, b, p, root=True, reduction="none"), expected)
    if p < math.inf:
        torch.testing.assert_close(losses.p_norm_loss(a, b, p, reduction="none"), expected**p)
        torch.testing.assert_close(losses.PNormLoss(p, reduction="sum")(a, b), (expected**p).sum())


def test_p_norm_has_gradients_at_zero():
    for options in ({"p": 1}, {"p": 1.5}, {"p": 2, "root": True}, {"p": 3, "root": True}):
        x = torch.zeros(2, 3, requires_grad=True)
        losses.p_norm_loss(x, torch.zeros(2, 3), **options).backward()
        assert x.grad.tolist() == [[0] * 3] * 2


def test_mse_and_mae_as_scikit_learn():
    a, b, weight = torch.randn(40), torch.randn(40), torch.rand(40)
    for ours, theirs in ((losses.mse_loss, mean_squared_error), (losses.mae_loss, mean_absolute_error)):
        assert ours(a, b).item() == pytest.approx(theirs(b, a), rel=1e-5)
        weighted = theirs(b, a, sample_weight=weight)
        assert ours(a, b, weight=weight).item() == pytest.approx(weighted, rel=1e-5)
    assert losses.MSELoss(reduction="sum")(a, b).item() == pytest.approx(((a - b) ** 2).sum().item(), rel=1e-5)
    assert losses.MAELoss(reduction="none")(a, b).shape == (40,)


def test_binary_cross_entropy_as_scikit_learn():
    logits, y = torch.randn(50), torch.randint(0, 2, (50,))
    expected = log_loss(y, torch.sigmoid(logits).double())
    assert losses.binary_cross_entropy(logits, y).item() == pytest.approx(expected, rel=1e-5)
    assert losses.binary_cross_entropy(logits, y.bool()).item() == pytest.approx(expected, rel=1e-5)
    given = losses.binary_cross_entropy(torch.sigmoid(logits), y, from_logits=False)
    assert given.item() == pytest.approx(expected, rel=1e-5)
    weighted = losses.BinaryCrossEntropyLoss(pos_weight=torch.tensor(3.0), reduction="none")(logits, y)
    torch.testing.assert_close(weighted, losses.binary_cross_entropy(logits, y, reduction="none") * (1 + 2 * y))


def test_binary_smoothing_is_two_class_smoothing():
    logits, y = torch.randn(9), torch.randint(0, 2, (9,))
    two = torch.stack([torch.zeros(9), logits], 1)
    torch.testing.assert_close(
        losses.binary_cross_entropy(logits, y, label_smoothing=0.2), F.cross_entropy(two, y, label_smoothing=0.2)
    )


def test_cross_entropy_as_scikit_learn():
    logits, y = torch.randn(60, 4), torch.arange(60) % 4
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0])
    probabilities = torch.softmax(logits.double(), 1)
    assert losses.cross_entropy(logits, y).item() == pytest.approx(log_loss(y, probabilities), rel=1e-5)
    expected = log_loss(y, probabilities, sample_weight=weight[y])
    assert losses.CrossEntropyLoss(weight)(logits, y).item() == pytest.approx(expected, rel=1e-5)
    y[::3] = -100
    kept = y != -100
    expected = log_loss(y[kept], probabilities[kept], sample_weight=weight[y[kept]])
    assert losses.cross_entropy(logits, y, weight=weight).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_is_torchs(reduction):
    logits, soft = torch.randn(7, 3, 5), torch.softmax(torch.randn(7, 3, 5), 1)
    y = torch.randint(0, 3, (7, 5))
    options = {"label_smoothing": 0.1, "weight": torch.rand(3), "reduction": reduction}
    for target in (y, soft):
        torch.testing.assert_close(
            losses.cross_entropy(logits, target, **options), F.cross_entropy(logits, target, **options)
        )


def test_pixels_are_classified_one_by_one():
    logits, y = torch.randn(2, 4, 3, 5), torch.randint(0, 4, (2, 3, 5), dtype=torch.uint8)
    y[0, :2] = 255
    rows, labels = logits.permute(0, 2, 3, 1).reshape(-1, 4).double(), y.flatten()
    kept = labels != 255
    expected = log_loss(labels[kept], torch.softmax(rows[kept], 1), labels=range(4))
    assert losses.pixel_cross_entropy(logits, y).item() == pytest.approx(expected, rel=1e-5)
    smooth = losses.PixelCrossEntropyLoss(torch.rand(4), label_smoothing=0.1, reduction="none")
    value = smooth(logits, y)
    assert value.shape == y.shape
    assert (value[y == 255] == 0).all()
    assert "weight" in smooth.state_dict()


@pytest.mark.parametrize(
    "loss", [losses.cross_entropy, losses.pixel_cross_entropy, losses.focal_loss, losses.dice_loss]
)
def test_nothing_to_learn_is_zero_with_a_gradient(loss):
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((2, 4, 4), 255), ignore_index=255)
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()


def test_focal_loss_of_two_classes_is_the_sigmoid_one():
    logits, y = torch.randn(30, dtype=torch.float64), torch.randint(0, 2, (30,))
    two = torch.stack([torch.zeros(30), logits], 1)
    for gamma in (0.0, 0.5, 2.0, 5.0):
        expected = sigmoid_focal_loss(logits, y.double(), alpha=-1, gamma=gamma)
        torch.testing.assert_close(losses.focal_loss(two, y, gamma=gamma, reduction="none"), expected)
    expected = sigmoid_focal_loss(logits, y.double(), alpha=0.25, gamma=2, reduction="mean")
    value = losses.FocalLoss(torch.tensor([0.75, 0.25]))(two, y)
    torch.testing.assert_close(value, expected)


def test_focal_loss_without_gamma_is_cross_entropy():
    logits, y = torch.randn(3, 4, 2, 2), torch.randint(0, 4, (3, 2, 2))
    y[0] = -100
    torch.testing.assert_close(losses.focal_loss(logits, y, gamma=0), F.cross_entropy(logits, y))


def test_focal_loss_of_sure_hits_has_finite_gradients():
    for gamma in (0.5, 1.0, 2.0):
        logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
        losses.focal_loss(logits, torch.tensor([0, 0]), gamma=gamma).backward()
        assert torch.isfinite(logits.grad).all()
        assert logits.grad[0].abs().max() < 1e-6
        assert logits.grad[1, 1] > 0.4
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: losses.focal_loss(x, torch.tensor([0, 3, 1])), logits)


def test_dice_of_certain_predictions_is_the_f1_score():
    predicted, y = torch.randint(0, 3, (2, 6, 6)), torch.randint(0, 3, (2, 6, 6))
    logits = 200.0 * F.one_hot(predicted, 3).movedim(-1, 1)
    expected = f1_score(y.flatten(), predicted.flatten(), average=None)
    value = losses.dice_loss(logits, y, smooth=0.0, reduction="none")
    np.testing.assert_allclose(1 - value.numpy(), expected, rtol=1e-6)
    each = losses.dice_loss(logits, y, smooth=0.0, per_sample=True, reduction="none")
    for n in range(2):
        expected = f1_score(y[n].flatten(), predicted[n].flatten(), average=None)
        np.testing.assert_allclose(1 - each[n].numpy(), expected, rtol=1e-6)


def test_dice_of_one_foreground():
    logits, y = torch.randn(2, 1, 5, 5), torch.randint(0, 2, (2, 5, 5))
    p = torch.sigmoid(logits[:, 0])
    expected = 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
    for target in (y, y[:, None], y.bool()):
        torch.testing.assert_close(losses.dice_loss(logits, target), expected)
    ignored = y.clone()
    ignored[:, 0] = 255
    cropped = losses.DiceLoss()(logits[:, :, 1:], y[:, 1:])
    torch.testing.assert_close(losses.DiceLoss()(logits, ignored), cropped)


def test_dice_has_the_right_gradient():
    logits, y = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True), torch.tensor([[0, 1, 255, 2]])
    assert torch.autograd.gradcheck(lambda x: losses.dice_loss(x, y), logits)


def test_modules_compile_without_looking_at_labels():
    logits, y = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    for module in (losses.CrossEntropyLoss(), losses.FocalLoss(), losses.BinaryCrossEntropyLoss()):
        target = F.one_hot(y, 3).float() if isinstance(module, losses.BinaryCrossEntropyLoss) else y
        compiled = torch.compile(module, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(logits, target), module(logits, target))


Z = torch.zeros


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: losses.cross_entropy(Z(5, 3), torch.tensor([0, 3, 3, -1, 2])),
            ValueError,
            "cross_entropy: target must be from 0 to 2 or ignore_index -100, got 3 (2 times), -1 (once)",
        ),
        (
            lambda: losses.pixel_cross_entropy(Z(1, 3, 1, 2), torch.tensor([[[9, 255]]])),
            ValueError,
            "pixel_cross_entropy: target must be from 0 to 2 or ignore_index 255, got 9 (once)",
        ),
        (
            lambda: losses.dice_loss(Z(1, 3, 2), torch.tensor([[5, 5]]), ignore_index=None),
            ValueError,
            "dice_loss: target must be from 0 to 2, got 5 (2 times)",
        ),
        (
            lambda: losses.dice_loss(Z(1, 1, 2), torch.tensor([[2, 1]])),
            ValueError,
            "dice_loss: target must be from 0 to 1 or ignore_index 255, got 2 (once)",
        ),
        (
            lambda: losses.focal_loss(Z(1, 2), torch.tensor([7])),
            ValueError,
            "focal_loss: target must be from 0 to 1 or ignore_index -100, got 7 (once)",
        ),
        (
            lambda: losses.cross_entropy(Z(2, 3), Z(2).bool()),
            TypeError,
            "cross_entropy: target must be integer labels, got torch.bool",
        ),
        (
            lambda: losses.focal_loss(Z(2, 3), Z(2)),
            TypeError,
            "focal_loss: target must be integer labels, got torch.float32",
        ),
        (
            lambda: losses.cross_entropy(Z(2, 3), Z(2, 1).long()),
            ValueError,
            "cross_entropy: target must have shape (2,) for an input of (2, 3), got (2, 1)",
        ),
        (
            lambda: losses.cross_entropy(Z(2, 3), Z(2, 4)),
            ValueError,
            "cross_entropy: input and target must have the same shape, got (2, 3) and (2, 4)",
        ),
        (
            lambda: losses.cross_entropy(Z(3), Z(3).long()),
            ValueError,
            "cross_entropy: input must have shape (N, C, ...), got (3,)",
        ),
        (
            lambda: losses.cross_entropy(Z(2, 3), Z(2).long(), weight=torch.ones(2)),
            ValueError,
            "cross_entropy: weight must have shape (3,), got (2,)",
        ),
        (
            lambda: losses.cross_entropy(Z(2, 3), Z(2).long(), label_smoothing=1.5),
            ValueError,
            "cross_entropy: label_smoothing must be from 0 to 1, got 1.5",
        ),
        (
            lambda: losses.pixel_cross_entropy(Z(2, 3), Z(2).long()),
            ValueError,
            "pixel_cross_entropy: input must have shape (N, C, H, W), got (2, 3)",
        ),
        (
            lambda: losses.mse_loss(Z(4, 1), Z(4)),
            ValueError,
            "mse_loss: input and target must have the same shape, got (4, 1) and (4,)",
        ),
        (
            lambda: losses.mae_loss(Z(4), Z(4), reduction="avg"),
            ValueError,
            "mae_loss: reduction must be 'none', 'mean' or 'sum', got 'avg'",
        ),
        (
            lambda: losses.CrossEntropyLoss(reduction="avg"),
            ValueError,
            "CrossEntropyLoss: reduction must be 'none', 'mean' or 'sum', got 'avg'",
        ),
        (
            lambda: losses.p_norm_loss(Z(4), Z(4), 0.5),
            ValueError,
            "p_norm_loss: p must be at least 1, and finite without root, got 0.5",
        ),
        (
            lambda: losses.binary_cross_entropy(Z(3), torch.tensor([0, 2, -1])),
            ValueError,
            "binary_cross_entropy: target must be from 0 to 1, got 2 of 3 values outside",
        ),
        (
            lambda: losses.binary_cross_entropy(torch.tensor([1.5]), Z(1), from_logits=False),
            ValueError,
            "binary_cross_entropy: input must be from 0 to 1, got 1 of 1 values outside",
        ),
        (
            lambda: losses.binary_cross_entropy(Z(1), Z(1), from_logits=False, pos_weight=torch.ones(1)),
            ValueError,
            "binary_cross_entropy: pos_weight needs from_logits=True, got False",
        ),
        (
            lambda: losses.focal_loss(Z(1, 2), Z(1).long(), gamma=-1),
            ValueError,
            "focal_loss: gamma must not be negative, got -1",
        ),
        (
            lambda: losses.dice_loss(Z(1, 2, 2), Z(1, 2).long(), smooth=-1),
            ValueError,
            "dice_loss: smooth must not be negative, got -1",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_a_wrong_label_leaves_the_device_usable(device):
    logits, y = torch.zeros(4, 3, device=device), torch.tensor([0, 1, 2, 9], device=device)
    for loss in (losses.cross_entropy, losses.focal_loss):
        with pytest.raises(ValueError, match=r"target must be from 0 to 2 or ignore_index -100, got 9 \(once\)$"):
            loss(logits, y)
        assert torch.isfinite(loss(logits, y % 3))


def test_without_validation_torch_decides():
    with pytest.raises(IndexError, match="Target 5 is out of bounds"):
        losses.cross_entropy(Z(1, 3), torch.tensor([5]), validate=False)
