"""The accelerated copy: checked on example inputs, apart from the original, and what it refuses."""

import copy
import itertools

import pytest
import torch
from torch import nn

import saccade
from tests.util.networks import Deciding, Net, same
from tests.util.tolerance import assert_close

# ---- The check on example inputs -------------------------------------------------------------------------------------

scales = itertools.cycle([1.0, 2.0])


def test_mismatch_is_found():
    model = Net(lambda m, x: m.conv(x) * next(scales)).eval()
    with pytest.raises(
        RuntimeError,
        match=r"^accelerate: the model must give on example_inputs what it gave before it was rewritten, to within "
        r"0.001 of its largest magnitude [\d.]+, got a difference of [\d.]+$",
    ):
        saccade.accelerate(model, torch.rand(1, 4, 6, 6))


def test_wrong_type_is_found():
    kinds = itertools.cycle([list, tuple])
    model = Net(lambda m, x: next(kinds)([m.conv(x)])).eval()
    with pytest.raises(RuntimeError, match=r"what it gave before it was rewritten, "):
        saccade.accelerate(model, torch.rand(1, 4, 6, 6))


def test_part_is_named():
    model = Deciding().eval()
    model.stem.append(Net(lambda m, x: m.conv(x) * next(scales)))
    with pytest.raises(RuntimeError, match=r"^accelerate: stem must give on example_inputs"):
        saccade.accelerate(model, torch.rand(1, 3, 9, 9))


# ---- The copy --------------------------------------------------------------------------------------------------------


def test_original_and_copy_are_apart():
    model = Net(lambda m, x: m.act(m.bn(m.conv(x)) + x))
    before = copy.deepcopy(model.state_dict())
    fast = saccade.accelerate(model, dtype=torch.bfloat16)
    assert type(fast) is Net
    assert list(fast.state_dict()) == list(before)
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, tensor in model.state_dict().items():
        assert_close(tensor, before[name], "exact")
    assert "forward" not in model.__dict__


def test_new_weights_take_effect():
    model, other = (Net(lambda m, x: m.act(m.bn(m.conv(x)) + m.bn2(m.conv2(x)))) for _ in range(2))
    x = torch.rand(1, 4, 6, 6)
    fast = saccade.accelerate(model, x)
    fast.load_state_dict(other.state_dict())
    same(fast(x), other(x).detach())
    another = copy.deepcopy(fast)
    another.load_state_dict(model.state_dict())
    same(another(x), model(x).detach())
    same(fast(x), other(x).detach())
    with torch.no_grad():
        fast.double()
        same(fast(x.double()), other.double()(x.double()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtype(dtype):
    model = Net(lambda m, x: (m.act(m.bn(m.conv(x)) + x), m.bn2(x), x.shape[0]))
    x = torch.randn(2, 4, 6, 6)
    fast = saccade.accelerate(model, x, dtype=dtype)
    first, second, number = fast(x)
    assert first.dtype == second.dtype == torch.float32
    assert number == 2
    assert fast.conv.weight.dtype == dtype
    expected = model.double()(x.double())[0].detach()
    difference = float((first - expected).abs().max() / expected.abs().max())
    assert difference < {torch.bfloat16: 3e-2, torch.float16: 4e-3, torch.float64: 1e-6}[dtype]
    assert dtype == torch.float64 or difference > 1e-5  # it did compute in halves


def test_gradient_of_the_input():
    model = Net(lambda m, x: m.act(m.bn(m.conv(x)) + x))
    fast = saccade.accelerate(model)
    x = torch.randn(1, 4, 6, 6, requires_grad=True)
    for ours, theirs in zip(torch.autograd.grad(fast(x).sum(), x), torch.autograd.grad(model(x).sum(), x), strict=True):
        assert_close(ours, theirs, "reduction")


def test_accelerated_part_of_a_larger_model():
    inner = saccade.accelerate(Net(lambda m, x: m.act(m.conv(x))))
    model = nn.Sequential(nn.Conv2d(4, 4, 1), inner).eval()
    x = torch.rand(1, 4, 6, 6)
    fast = saccade.accelerate(model, x)
    assert "ours: 1× conv2d, 1× conv2d + relu" in saccade.explain(fast)
    same(fast(x), model(x).detach())


def test_wrong_arguments():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout())
    with pytest.raises(
        ValueError, match=r"^accelerate: model must be in evaluation mode .*, but it is in training mode$"
    ):
        saccade.accelerate(model)
    model.eval()[1].train()
    with pytest.raises(
        ValueError, match=r"^accelerate: model must be in evaluation mode .*, but 1 is in training mode$"
    ):
        saccade.accelerate(model)
    with pytest.raises(TypeError, match=r"^accelerate: model must be a torch.nn.Module, got function$"):
        saccade.accelerate(test_wrong_arguments)
    with pytest.raises(TypeError, match=r"^accelerate: dtype must be .* or None, got torch.int32$"):
        saccade.accelerate(model.eval(), dtype=torch.int32)
    with pytest.raises(ValueError, match=r"^accelerate: model must not be accelerated already$"):
        saccade.accelerate(saccade.accelerate(model))
    with pytest.raises(ValueError, match=r"^explain: model must come from saccade.accelerate, got Sequential$"):
        saccade.explain(model)


def test_nothing_to_do():
    fast = saccade.accelerate(nn.LayerNorm(2).eval(), torch.rand(1, 2))
    assert saccade.explain(fast) == (
        "nothing to rewrite: no convolution, fully connected layer, batch normalisation or pooling"
    )
