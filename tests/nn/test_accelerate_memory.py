"""Memory that rewritten graphs use again: never while someone can still see it."""

import copy
import pickle
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import saccade
from saccade._accelerate import memory, runtime
from saccade._accelerate.memory import Memory
from tests.util.networks import Net, same
from tests.util.tolerance import assert_close


@pytest.fixture
def large(monkeypatch):
    """Treat all results as large ones."""
    monkeypatch.setattr(memory, "_LARGE", 1)


RESIDUALS = {
    "last use": (lambda m, x: m.conv(m.act(m.conv2(x))) + m.conv(x), 1),
    "chain": (lambda m, x: (lambda y: (lambda z: m.conv(z) + z)(m.conv(m.conv2(y)) + y))(m.act(m.conv(x))), 1),
    "used later": (lambda m, x: (lambda y: m.conv2(m.conv(m.conv2(y)) + y) + y)(m.conv(x)), 1),
    "returned": (lambda m, x: (lambda y: (m.conv(m.conv2(y)) + y, y))(m.conv(x)), 0),
    "a view is left": (lambda m, x: (lambda y: (lambda v: (m.conv(m.conv2(y)) + y) * v)(y[:, :1]))(m.conv(x)), 0),
    "its own input": (lambda m, x: (lambda y: m.conv(y) + y)(m.conv2(x)), 0),
    "groups": (
        lambda m, x: m.conv(x) + functional.conv2d(m.conv2(x), m.conv.weight[:, :1], padding=1, groups=4), 0,
    ),
    "the model's input": (lambda m, x: m.conv(m.conv2(x)) + x, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", RESIDUALS)
def test_residuals(name, large, monkeypatch):
    forward, writes = RESIDUALS[name]
    model = Net(forward)
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    fast = saccade.accelerate(model)
    given, real = [], runtime.conv2d_fused_out

    def recording(out, *args, **kwargs):
        result = real(out, *args, **kwargs)
        given.append(result is kwargs["residual"])
        return result

    monkeypatch.setattr(runtime, "conv2d_fused_out", recording)
    with torch.no_grad():
        before = x.clone()
        same(fast(x), model(x))
        same(x, before)
    assert sum(given) == writes


def test_outputs_stay_as_they_are(large):
    fast = saccade.accelerate(Net(lambda m, x: [m.conv(x), m.conv2(m.act(m.conv(x)))[:, 1:]]))
    inputs = [torch.randn(1, 4, 6, 6) for _ in range(6)]
    with torch.no_grad():
        results = [fast(x) for x in inputs]
        copies = [copy.deepcopy(result) for result in results]
        for x, result, before in zip(inputs, results, copies, strict=True):
            same(result, before)
            same(fast(x), before)


@pytest.mark.parametrize("holder", [lambda t: t[0, 1:], lambda t: t.numpy(), torch.utils.dlpack.to_dlpack])
def test_a_piece_that_is_seen_is_not_taken(large, holder):
    kept = Memory()
    held = holder(kept.channels_last(torch.float32, [1, 8, 4, 4]))
    other = kept.channels_last(torch.float32, [1, 8, 4, 4])
    address = other.data_ptr()
    del other
    assert kept.channels_last(torch.float32, [1, 8, 4, 4]).data_ptr() == address
    del held


def test_a_shared_piece_is_not_taken(large):
    kept = Memory()
    tensor = kept.channels_last(torch.float32, [1, 8, 4, 4]).share_memory_()
    address = tensor.data_ptr()
    del tensor
    assert kept.channels_last(torch.float32, [1, 8, 4, 4]).data_ptr() != address


def test_pieces_fit_and_are_let_go(large):
    kept = Memory()
    first = kept.channels_last(torch.float32, [1, 8, 4, 4])
    assert first.is_contiguous(memory_format=torch.channels_last)
    storage = first.untyped_storage()
    del first
    assert kept.channels_last(torch.float32, [1, 5, 4, 4]).untyped_storage().data_ptr() == storage.data_ptr()
    assert kept.channels_last(torch.float32, [1, 2, 4, 4]).untyped_storage().data_ptr() != storage.data_ptr()
    for _ in range(memory._CALLS + 1):
        assert kept._pieces
        kept.end_call()
    assert not kept._pieces


def test_small_results_are_malloc_s():
    kept = Memory()
    kept.channels_last(torch.float32, [1, 8, 4, 4])
    assert not kept._pieces


def test_dispatch_modes_see_results(large):
    fast = saccade.accelerate(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval())
    seen = []

    class Mode(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func.__name__)
            return func(*args, **(kwargs or {}))

    with Mode():
        fast(torch.randn(1, 3, 8, 8))
    assert "conv2d_fused.default" in seen
    assert "_conv2d_fused_out.default" not in seen


def test_copies_and_pickles(large):
    fast = saccade.accelerate(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).eval())
    x = torch.randn(1, 3, 8, 8)
    expected = fast(x)
    same(copy.deepcopy(fast)(x), expected)
    assert pickle.loads(pickle.dumps(Memory()))._pieces == []


def test_threads(large):
    fast = saccade.accelerate(Net(lambda m, x: m.conv(m.act(m.conv2(m.conv(x)))) + m.conv(x)))
    inputs = [torch.randn(1, 4, 20, 20) for _ in range(4)]
    with torch.no_grad():
        expected = [fast(x).clone() for x in inputs]
    wrong = []

    def work(x, right):
        for _ in range(50):
            with torch.no_grad():
                if not torch.equal(fast(x), right):
                    wrong.append(x)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(inputs, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(("size", "outs"), [((1, 1), 5), ((3, 1), 2), ((4, 6), 1), ((1, 7), 1)])
def test_narrow_results(size, outs, large):
    model = nn.Sequential(nn.Conv2d(4, outs, 1), nn.ReLU(), nn.Conv2d(outs, 3, 1)).eval()
    x = torch.randn(2, 4, *size)
    same(saccade.accelerate(model)(x), model(x).detach())


def test_autocast(large):
    model = Net(lambda m, x: m.act(m.conv(m.act(m.conv2(m.conv(x)))) + m.conv(x)))
    x = torch.randn(1, 4, 6, 6)
    fast = saccade.accelerate(model)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = fast(x), model(x)
    assert ours.dtype == theirs.dtype
    assert_close(ours, theirs.double(), "reduction")


def test_gradients_of_inputs(large):
    model = Net(lambda m, x: m.act(m.conv(m.act(m.conv2(x))) + m.conv(x)))
    fast = saccade.accelerate(model)
    grads = []
    for net in (model, fast):
        x = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
        net(x).square().sum().backward()
        grads.append(x.grad)
    same(*grads)


ENLARGED = {
    "twice": (lambda m, x: m.conv(x) + functional.interpolate(m.conv2(x[:, :, ::2, ::2]), size=x.shape[-2:]), True),
    "other term first": (
        lambda m, x: functional.interpolate(m.conv2(x[:, :, ::2, ::2]), x.shape[-2:]) + m.conv(x), True,
    ),
    "three times": (lambda m, x: m.conv(x) + functional.interpolate(m.conv2(x[:, :, ::3, ::3]), size=(6, 6)), True),
    "one channel": (lambda m, x: m.conv(x) + functional.interpolate(x[:, :1, ::2, ::2], size=(6, 6)), True),
    "bilinear": (
        lambda m, x: m.conv(x) + functional.interpolate(x[:, :, ::2, ::2], size=(6, 6), mode="bilinear"), False,
    ),
    "by a factor": (lambda m, x: m.conv(x) + functional.interpolate(x[:, :, ::2, ::2], scale_factor=2), False),
    "term used again": (
        lambda m, x: (lambda y: (y + functional.interpolate(x[:, :, ::2, ::2], size=(6, 6))) * y)(m.conv(x)), False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENLARGED)
def test_enlarged_and_added(name, large):
    forward, rewritten = ENLARGED[name]
    model = Net(forward)
    x = torch.randn(2, 4, 6, 6)
    fast = saccade.accelerate(model, x)
    assert ("add_enlarged" in saccade.explain(fast)) == rewritten
    with torch.no_grad():
        same(fast(x), model(x))
        same(fast(x.contiguous(memory_format=torch.channels_last)), model(x))
