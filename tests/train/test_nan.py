"""Training stops at the first number that is none, names it and keeps the checkpoint before."""

import pytest
import torch
from torch import nn

from saccade import data as D
from saccade.train import ClassificationData, Classifier, NonFiniteError, fit
from tests.train.training import data, task


class Poisoned(nn.Module):
    """Gives NaN from a step on."""

    def __init__(self, step, value=float("nan")):
        super().__init__()
        self.step, self.value, self.count = step, value, 0

    def forward(self, x):
        if self.training:
            self.count += 1
        return x * self.value if self.count > self.step else x


def model(*extra):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), *extra, nn.ReLU(), nn.Linear(16, 10))


def stopped(module, tmp_path, sets=None, **options):
    with pytest.raises(NonFiniteError) as caught:
        fit(module, sets or data(augment=None), epochs=3, out=tmp_path, **options)
    return caught.value


def test_an_output_is_named_and_the_checkpoint_kept(tmp_path):
    error = stopped(Classifier(model(Poisoned(10)), 10), tmp_path)
    path = tmp_path / "last.ckpt"
    assert str(error) == (
        f"training stopped at step 10: the output of model.2 (Poisoned) is NaN; the last checkpoint before it is {path}"
    )
    assert (error.step, error.tensor, error.checkpoint) == (10, "the output of model.2 (Poisoned)", str(path))
    kept = torch.load(path, weights_only=True)
    assert kept["global_step"] == 8
    assert all(value.isfinite().all() for value in kept["state_dict"].values())
    assert (tmp_path / "curves.png").exists()


def test_infinite_output_before_any_checkpoint(tmp_path):
    error = stopped(Classifier(model(Poisoned(3, float("inf"))), 10), tmp_path)
    assert str(error) == "training stopped at step 3: the output of model.2 (Poisoned) is infinite"
    assert error.checkpoint is None


def test_a_bad_batch(tmp_path):
    images = torch.rand(64, 1, 8, 8)
    images[17, 0, 3, 3] = float("nan")
    sets = ClassificationData(D.ArrayDataset(images, torch.arange(64) % 10), batch_size=64)
    error = stopped(Classifier(model(nn.BatchNorm1d(16)), 10), tmp_path, sets)
    assert str(error) == "training stopped at step 0: the batch's tensor 0 is NaN"


def test_a_bad_parameter(tmp_path):
    network = model()
    with torch.no_grad():
        network[3].bias[2] = float("nan")
    error = stopped(Classifier(network, 10), tmp_path)
    assert str(error) == "training stopped at step 0: parameter model.3.bias is NaN"


def test_a_loss_of_finite_scores(tmp_path):
    def loss(scores, labels):
        return torch.nn.functional.cross_entropy(scores, labels) / 0.0

    error = stopped(Classifier(model(), 10, loss=loss), tmp_path)
    assert str(error) == "training stopped at step 0: the loss is infinite"


class Root(torch.autograd.Function):
    """x, whose gradient is infinite."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * float("inf")


def test_a_gradient_of_a_finite_loss(tmp_path):
    class Bad(nn.Module):
        def forward(self, x):
            return Root.apply(x)

    error = stopped(Classifier(model(Bad()), 10), tmp_path)
    assert error.tensor == "the gradient of model.1.bias"
    assert error.step == 0


def test_large_gradients_are_no_error(tmp_path):
    # Their squares overflow in float32; the values do not.
    module = Classifier(
        model(),
        10,
        loss=lambda scores, labels: 1e25 * torch.nn.functional.cross_entropy(scores, labels),
        optimizer=lambda p: torch.optim.SGD(p, 1e-27),
    )
    run = fit(module, data(augment=None), epochs=1, out=tmp_path)
    assert run.history[0]["train_loss"] > 1e24


def test_a_learning_rate_that_diverges(tmp_path):
    error = stopped(task(optimizer=lambda p: torch.optim.SGD(p, 1e30), schedule=None), tmp_path)
    assert error.step <= 3
