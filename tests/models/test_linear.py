"""The linear model, the logistic model, perceptrons."""

import numpy as np
import pytest
import torch

import saccade
from saccade import models
from tests.util.tolerance import assert_close

sklearn = pytest.importorskip("sklearn")
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.linear_model import LogisticRegression, Ridge  # noqa: E402


def test_linear_is_least_squares():
    x, y = torch.randn(40, 5, dtype=torch.float64), torch.randn(40, 3, dtype=torch.float64)
    model = models.linear(5, 3).double().fit(x, y)
    solution, *_ = np.linalg.lstsq(np.c_[x.numpy(), np.ones(40)], y.numpy(), rcond=None)
    assert_close(model.fc.weight.detach(), torch.from_numpy(solution[:5].T), "reduction")
    assert_close(model(x).detach(), torch.from_numpy(np.c_[x.numpy(), np.ones(40)] @ solution), "reduction")


def test_linear_with_a_penalty():
    x, y = torch.randn(40, 5, dtype=torch.float64), torch.randn(40, dtype=torch.float64)
    model = models.linear(5).double().fit(x, y, ridge=3.0)
    theirs = Ridge(alpha=3.0).fit(x.numpy(), y.numpy())
    assert_close(model.fc.weight.detach()[0], torch.from_numpy(theirs.coef_), "reduction")
    assert model.fc.bias.item() == pytest.approx(theirs.intercept_)


def test_linear_with_fewer_samples_than_features():
    x, y = torch.randn(3, 5), torch.randn(3, 2)
    assert_close(models.linear(5, 2).fit(x, y)(x).detach(), y, "reduction")


def digits():
    x, y = load_digits(return_X_y=True)
    return torch.from_numpy(x / 16).float(), torch.from_numpy(y)


def test_logistic_as_scikit_learn():
    x, y = digits()
    theirs = LogisticRegression(C=1.0, max_iter=1000, tol=1e-6).fit(x[:1000].double().numpy(), y[:1000].numpy())
    model = models.build("logistic", in_features=(8, 8), num_classes=10).fit(x[:1000].reshape(-1, 8, 8), y[:1000])
    expected = torch.from_numpy(theirs.predict_proba(x[1000:].double().numpy()))
    found = model.probabilities(x[1000:]).detach()
    assert (found - expected).abs().max() < 2e-3
    assert (
        (found.argmax(1) == y[1000:]).float().mean() - theirs.score(x[1000:].numpy(), y[1000:].numpy())
    ).abs() < 0.005
    assert model.fc.weight.grad is None


def test_logistic_of_two_classes():
    x, y = digits()
    x, y = x[y < 2], y[y < 2]
    theirs = LogisticRegression(C=2.0, max_iter=2000, tol=1e-8).fit(x.double().numpy(), y.numpy())
    found = models.logistic(64).fit(x, y, l2=0.5).probabilities(x).detach()[:, 0]
    assert (found - torch.from_numpy(theirs.predict_proba(x.double().numpy())[:, 1])).abs().max() < 2e-3


def test_perceptron_is_the_logistic_model_with_its_activation_inside():
    x = torch.randn(4, 6)
    for name, function in [("sigmoid", torch.sigmoid), ("tanh_sigmoid", lambda a: a.tanh() / 2 + 0.5)]:
        model = models.perceptron(6, 3, activation=name)
        assert torch.equal(model(x), function(x @ model.fc.weight.T + model.fc.bias))


@pytest.mark.parametrize("classes", [2, 3])
def test_perceptron_ends_without_mistakes_where_classes_are_separable(classes):
    x = torch.randn(60, 4)
    truth = torch.randn(classes, 4)
    y = (x @ truth.T).argmax(1)
    outputs = 1 if classes == 2 else classes
    out = models.perceptron(4, outputs).fit(x, y, epochs=2000)(x)
    guess = (out[:, 0] > 0.5).long() if classes == 2 else out.argmax(1)
    assert torch.equal(guess, y)


def test_rosenblatt_by_hand():
    model = models.perceptron(1)
    with torch.no_grad():
        model.fc.weight.fill_(0.0)
        model.fc.bias.fill_(0.0)
    # 2.0 -> 1 is a mistake at sum 0: w = 2, b = 1. 1.0 -> 0 is one at sum 3: w = 1, b = 0.
    model.fit(torch.tensor([[2.0], [1.0]]), torch.tensor([1, 0]), epochs=1)
    assert (model.fc.weight.item(), model.fc.bias.item()) == (1.0, 0.0)


def test_mlp_by_hand():
    model = models.mlp(3, 2, hidden=(4, 5), activation="elu").eval()
    x = torch.randn(6, 3)
    h = x
    for layer in model.hidden:
        h = torch.nn.functional.elu(h @ layer[0].weight.T + layer[0].bias)
    assert_close(model(x).detach(), (h @ model.fc.weight.T + model.fc.bias).detach(), "elementwise")


def test_mlp_without_hidden_layers_and_with_everything():
    x = torch.randn(6, 2, 3)
    plain = models.mlp((2, 3), 4, hidden=())
    assert_close(plain(x).detach(), (x.flatten(1) @ plain.fc.weight.T + plain.fc.bias).detach(), "elementwise")
    model = models.mlp((2, 3), 4, hidden=(8,), dropout=0.5, batch_norm=True)
    assert [type(part).__name__ for part in model.hidden[0]] == ["Linear", "BatchNorm1d", "ReLU", "Dropout"]
    assert not torch.equal(model(x), model(x))


def labelled(*labels):
    return torch.rand(len(labels), 2), torch.tensor(labels)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: models.mlp(0), ValueError, "mlp: in_features must be at least 1, got 0"),
        (lambda: models.mlp(2, hidden=(3, 0)), ValueError, "mlp: hidden must be at least 1, got 0"),
        (lambda: models.linear(2, 0), ValueError, "linear: num_classes must be at least 1, got 0"),
        (
            lambda: models.mlp(2, activation="gelu"),
            ValueError,
            "mlp: activation must be one of relu, leaky_relu, elu, sigmoid, tanh_sigmoid, scaled_tanh, got 'gelu'",
        ),
        (
            lambda: models.mlp(4)(torch.rand(2, 3)),
            ValueError,
            "MLP: samples must have 4 features each, got shape (2, 3)",
        ),
        (
            lambda: models.linear(4)(torch.rand(4)),
            ValueError,
            "Linear: samples must have 4 features each, got shape (4,)",
        ),
        (
            lambda: models.logistic(2, 3).fit(*labelled(0, 3)),
            ValueError,
            "Logistic.fit: labels must be from 0 to 2, got 3",
        ),
        (
            lambda: models.logistic(2).fit(*labelled(0.0, 1.0)),
            TypeError,
            "Logistic.fit: labels must be integers, (N,), got torch.float32, (2,)",
        ),
        (
            lambda: models.perceptron(2).fit(torch.rand(3, 2), torch.tensor([0])),
            ValueError,
            "Perceptron.fit: one label is needed for each sample, got 1 for 3",
        ),
        (
            lambda: models.linear(2, 2).fit(torch.rand(3, 2), torch.rand(3)),
            ValueError,
            "Linear.fit: targets must have shape (N, 2), got (3, 1)",
        ),
        (
            lambda: models.linear(2).fit(torch.rand(3, 2), torch.rand(3), ridge=-1),
            ValueError,
            "Linear.fit: ridge must not be negative, got -1",
        ),
        (
            lambda: models.logistic(2).fit(*labelled(0, 1), l2=-1),
            ValueError,
            "Logistic.fit: l2 must not be negative, got -1",
        ),
    ],
)
def test_errors(call, kind, message):
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == message


def test_bad_weights_stay_out_of_the_fitted_model():
    model = saccade.models.linear(2)
    before = model.fc.weight.clone()
    with pytest.raises(ValueError, match="targets"):
        model.fit(torch.rand(3, 2), torch.rand(3, 2))
    assert torch.equal(model.fc.weight, before)
