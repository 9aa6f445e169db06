"""Penalties, early stopping, weights of several tasks."""

import copy
import math

import pytest
import torch
from torch import nn

from saccade.train import (
    AlexNetSGD,
    EarlyStopping,
    MultiTaskLoss,
    l1_penalty,
    l2_penalty,
    weight_decay_groups,
)


@pytest.fixture
def model():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 4))


def test_weights_only_by_default(model):
    weights = [model[0].weight, model[3].weight]
    torch.testing.assert_close(l1_penalty(model), sum(w.abs().sum() for w in weights))
    torch.testing.assert_close(l2_penalty(model), sum(w.pow(2).sum() for w in weights) / 2)
    torch.testing.assert_close(
        l1_penalty(model, lambda name, w: name.endswith("bias")),
        l1_penalty([model[0].bias, model[1].bias, model[3].bias]),
    )
    model[3].requires_grad_(False)
    torch.testing.assert_close(l2_penalty(model), model[0].weight.pow(2).sum() / 2)
    assert l1_penalty(nn.ReLU()) == 0
    with pytest.raises(ValueError, match=r"^l1_penalty, l2_penalty: select needs a module, which has names$"):
        l1_penalty([torch.ones(1)], lambda name, w: True)


def test_l2_is_weight_decay(model):
    other = copy.deepcopy(model)
    x = torch.randn(5, 2, 3, 3)
    decayed = AlexNetSGD(weight_decay_groups(model, 0.1), 0.05)
    penalised = AlexNetSGD(other.parameters(), 0.05, weight_decay=0)
    for _ in range(3):
        decayed.zero_grad(), penalised.zero_grad()
        model(x).square().sum().backward()
        (other(x).square().sum() + 0.1 * l2_penalty(other)).backward()
        decayed.step(), penalised.step()
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_l1_makes_weights_zero():
    # Of ten features one matters; with the penalty the others' weights go towards zero.
    torch.manual_seed(0)
    x = torch.randn(40, 10)
    y = 2 * x[:, :1] + 0.5 * torch.randn(40, 1)
    found = []
    for strength in (0.0, 0.3):
        linear = nn.Linear(10, 1)
        optimizer = torch.optim.SGD(linear.parameters(), 0.02)
        for _ in range(400):
            optimizer.zero_grad()
            ((linear(x) - y).square().mean() + strength * l1_penalty(linear)).backward()
            optimizer.step()
        found.append(linear.weight.detach()[0, 1:].abs().sum())
    assert found[1] < found[0] / 3


def test_early_stopping_waits_and_restores():
    linear = nn.Linear(1, 1)
    stopping = EarlyStopping(2, mode="max", min_delta=0.1, module=linear)
    for epoch, (value, stop) in enumerate([(0.5, False), (0.7, False), (0.75, False), (float("nan"), True)]):
        linear.weight.data.fill_(epoch)
        assert stopping(torch.tensor(value)) == stop
    assert (stopping.best, stopping.best_epoch, stopping.epoch) == (pytest.approx(0.7), 1, 3)
    stopping.restore()
    assert linear.weight.item() == 1


def test_early_stopping_resumes():
    first = EarlyStopping(3)
    assert not any(first(loss) for loss in (1.0, 2.0, 3.0))
    second = EarlyStopping(3)
    second.load_state_dict(first.state_dict())
    assert second(4.0)


def test_early_stopping_bad_arguments():
    with pytest.raises(ValueError, match=r"^EarlyStopping: patience must be at least 1, got 0$"):
        EarlyStopping(0)
    with pytest.raises(ValueError, match=r"^EarlyStopping: min_delta must not be negative, got -1$"):
        EarlyStopping(min_delta=-1)
    with pytest.raises(ValueError, match=r"^EarlyStopping: mode must be 'min' or 'max', got 'up'$"):
        EarlyStopping(mode="up")
    with pytest.raises(RuntimeError, match=r"^EarlyStopping: restore needs a module and a first improvement$"):
        EarlyStopping().restore()


def test_fixed_weights():
    total = MultiTaskLoss({"a": 2.0, "b": 0.25})
    a = torch.tensor(3.0, requires_grad=True)
    value = total({"b": torch.tensor(4.0), "a": a})
    value.backward()
    assert value == 7
    assert a.grad == 2
    assert list(total.parameters()) == []


def test_learned_weights_find_half_the_inverse_loss():
    total = MultiTaskLoss({"a": 1.0, "b": 4.0}, learned=True)
    assert total.weights == pytest.approx({"a": 1.0, "b": 4.0})
    first = total({"a": torch.tensor(0.2), "b": torch.tensor(5.0)})
    assert first.item() == pytest.approx(0.2 + 4 * 5 - math.log(4) / 2)
    optimizer = torch.optim.SGD(total.parameters(), 0.05)
    for _ in range(500):
        optimizer.zero_grad()
        total({"a": torch.tensor(0.2), "b": torch.tensor(5.0)}).backward()
        optimizer.step()
    assert total.weights == pytest.approx({"a": 2.5, "b": 0.1}, rel=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MultiTaskLoss([]), "MultiTaskLoss: tasks must name at least one, got none"),
        (lambda: MultiTaskLoss({"a": 0.0}), "MultiTaskLoss: weights must be positive, got 0.0 for 'a'"),
        (
            lambda: MultiTaskLoss(["a", "b"])({"a": torch.tensor(1.0), "c": torch.tensor(1.0)}),
            "MultiTaskLoss: losses must be of ['a', 'b'], got ['b'] missing, ['c'] unknown",
        ),
        (
            lambda: MultiTaskLoss(["a"])({"a": torch.ones(2)}),
            "MultiTaskLoss: losses must be scalars, got shape (2,) for 'a'",
        ),
    ],
)
def test_multi_task_bad_arguments(call, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the whole message is compared
        call()
    assert str(error.value) == message
