"""The notes' update against numbers worked out by hand, and against torch where both agree."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import PolynomialLR

from saccade.train import AlexNetSGD, PolyLR

FUSED = pytest.mark.parametrize("fused", [None, True, False])


def weights(values, dtype=torch.float64):
    return nn.Parameter(torch.tensor(values, dtype=dtype))


def step(optimizer, w, *gradients):
    for gradient in gradients:
        w.grad = torch.tensor(gradient, dtype=w.dtype)
        optimizer.step()
    return w.tolist()


@FUSED
def test_two_steps_by_hand(fused):
    # v1 = 0.9 * 0 - 0.01 * 0.5 - 0.0005 * 0.01 * 1 = -0.005005                            w1 = 0.994995
    # v2 = 0.9 * -0.005005 - 0.01 * 0.2 - 0.0005 * 0.01 * 0.994995 = -0.006509474975        w2 = 0.988485525025
    w = weights([1.0])
    optimizer = AlexNetSGD([w], fused=fused)
    assert step(optimizer, w, [0.5]) == pytest.approx([0.994995], rel=1e-14)
    assert step(optimizer, w, [0.2]) == pytest.approx([0.988485525025], rel=1e-14)
    assert optimizer.state[w]["velocity"].item() == pytest.approx(-0.006509474975, rel=1e-13)


@FUSED
def test_a_new_rate_by_hand(fused):
    # Ours:    v2 = 0.9 * -0.005005 - 0.1 * 0.2 - 0.0005 * 0.1 * 0.994995 = -0.02455424975  w2 = 0.97044075025
    # torch's: b1 = 0.5005, b2 = 0.9 * 0.5005 + 0.2 + 0.0005 * 0.994995 = 0.6509474975
    #          w2 = 0.994995 - 0.1 * 0.6509474975 = 0.92990025025
    ours, theirs = weights([1.0]), weights([1.0])
    for optimizer, w, expected in (
        (AlexNetSGD([ours], fused=fused), ours, 0.97044075025),
        (torch.optim.SGD([theirs], 0.01, 0.9, weight_decay=0.0005), theirs, 0.92990025025),
    ):
        step(optimizer, w, [0.5])
        optimizer.param_groups[0]["lr"] = 0.1
        assert step(optimizer, w, [0.2]) == pytest.approx([expected], rel=1e-14)


@FUSED
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_at_one_rate_it_is_torchs(fused, momentum):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    other = copy.deepcopy(model)
    ours = AlexNetSGD(model.parameters(), 0.05, momentum, 0.01, fused=fused)
    theirs = torch.optim.SGD(other.parameters(), 0.05, momentum, weight_decay=0.01)
    for _ in range(20):
        x = torch.randn(4, 5, dtype=torch.float64)
        for net, optimizer in ((model, ours), (other, theirs)):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@FUSED
def test_momentum_switched_on_later_knows_the_last_step(fused):
    # M = 0: v1 = -0.1 * 2 = -0.2; then M = 0.5: v2 = 0.5 * -0.2 - 0.1 * 1 = -0.2; w = 1 - 0.4
    w = weights([1.0])
    optimizer = AlexNetSGD([w], 0.1, 0.0, 0.0, fused=fused)
    step(optimizer, w, [2.0])
    optimizer.param_groups[0]["momentum"] = 0.5
    assert step(optimizer, w, [1.0]) == pytest.approx([0.6])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_both_implementations_agree(dtype, device):
    torch.manual_seed(0)
    start = [torch.randn(37, dtype=dtype, device=device), torch.randn(3, 5, 2, dtype=dtype, device=device)]
    results = []
    for fused in (True, False):
        torch.manual_seed(1)
        ws = [nn.Parameter(value.clone()) for value in start]
        optimizer = AlexNetSGD(ws, 0.1, fused=fused)
        for _ in range(3):
            for w in ws:
                w.grad = torch.randn_like(w)
            optimizer.step()
        results.append(ws)
    tolerance = {torch.float32: 1e-6, torch.float64: 1e-14, torch.bfloat16: 3e-2}[dtype]
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_gradients_are_left_alone():
    w = weights([1.0, 2.0])
    step(AlexNetSGD([w]), w, [0.25, -0.5])
    assert w.grad.tolist() == [0.25, -0.5]


def test_groups_and_missing_gradients():
    a, b, c = weights([1.0]), weights([1.0], torch.float32), weights([1.0])
    optimizer = AlexNetSGD([{"params": [a, b]}, {"params": [c], "lr": 1.0, "weight_decay": 0.0}], 0.1)
    a.grad, c.grad = torch.ones_like(a), torch.ones_like(c)
    optimizer.step()
    assert a.item() == pytest.approx(1 - 0.1 - 0.0005 * 0.1)
    assert b.item() == 1
    assert c.item() == 0
    assert b not in optimizer.state


def test_resumes_from_its_state():
    gradients = torch.randn(6, 4, dtype=torch.float64)
    straight = weights([1.0, 2.0, 3.0, 4.0])
    step(AlexNetSGD([straight]), straight, *gradients.tolist())
    first = weights([1.0, 2.0, 3.0, 4.0])
    optimizer = AlexNetSGD([first])
    step(optimizer, first, *gradients[:3].tolist())
    second = nn.Parameter(first.detach().clone())
    resumed = AlexNetSGD([second], lr=1.0)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert step(resumed, second, *gradients[3:].tolist()) == straight.tolist()


def test_closures_are_called_with_gradients():
    w = weights([3.0])
    optimizer = AlexNetSGD([w], 0.1, 0.0, 0.0)

    def closure():
        optimizer.zero_grad()
        loss = w.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 9
    assert w.item() == pytest.approx(3 - 0.1 * 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -0.1}, "AlexNetSGD: lr must not be negative, got -0.1"),
        ({"momentum": 1.0}, "AlexNetSGD: momentum must be from 0 to below 1, got 1.0"),
        ({"weight_decay": float("nan")}, "AlexNetSGD: weight_decay must not be negative, got nan"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the whole message is compared
        AlexNetSGD([weights([1.0])], **options)
    assert str(error.value) == message


def test_sparse_gradients_are_refused():
    table = nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match=r"^AlexNetSGD: gradients must be dense, got sparse ones$"):
        AlexNetSGD(table.parameters()).step()


def rates(make, steps):
    optimizer = AlexNetSGD([weights([1.0])], 0.02)
    schedule, seen = make(optimizer), []
    for _ in range(steps):
        seen += schedule.get_last_lr()
        optimizer.step()
        schedule.step()
    return seen


def test_poly_is_the_notes_formula_and_torchs():
    ours = rates(lambda optimizer: PolyLR(optimizer, 100, 0.9), 103)
    assert ours == pytest.approx([0.02 * max(1 - i / 100, 0) ** 0.9 for i in range(103)], rel=1e-9, abs=1e-18)
    assert ours == rates(lambda optimizer: PolynomialLR(optimizer, 100, 0.9), 103)


def test_poly_resumes():
    optimizer = AlexNetSGD([weights([1.0])], 0.02)
    schedule = PolyLR(optimizer, 10)
    for _ in range(4):
        optimizer.step()
        schedule.step()
    again = AlexNetSGD([weights([1.0])], 0.02)
    resumed = PolyLR(again, 10)
    again.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    again.step()
    resumed.step()
    assert resumed.get_last_lr() == pytest.approx([0.02 * 0.5**0.9])


def test_poly_bad_arguments():
    with pytest.raises(ValueError, match=r"^PolyLR: max_iterations must be at least 1, got 0$"):
        PolyLR(AlexNetSGD([weights([1.0])]), 0)
    with pytest.raises(ValueError, match=r"^PolyLR: power must be positive, got 0$"):
        PolyLR(AlexNetSGD([weights([1.0])]), 5, 0)
