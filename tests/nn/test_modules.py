"""Drop-in modules beside torch's."""

import pytest
import torch
from torch import nn

import saccade
from tests.util.tolerance import assert_close

CASES = {
    "Conv2d": ((4, 6, 3), {}),
    "Conv2d, strided": (
        (4, 6, (3, 2)),
        {"stride": (2, 1), "padding": (1, 0), "dilation": 2, "groups": 2, "bias": False},
    ),
    "Conv2d, same": ((4, 6, 3), {"padding": "same"}),
    "Conv2d, reflect": ((4, 6, 3), {"padding": (1, 2), "padding_mode": "reflect"}),
    "Conv2d, circular, same": ((4, 6, (3, 2)), {"padding": "same", "padding_mode": "circular"}),
    "Conv2d, one pixel": ((4, 6, (9, 8)), {}),
    "ConvTranspose2d": ((4, 6, 4), {"stride": 2, "padding": 1}),
    "ConvTranspose2d, all arguments": (
        (4, 6, (3, 2)),
        {"stride": (2, 3), "padding": 1, "output_padding": (1, 0), "groups": 2, "bias": False, "dilation": 2},
    ),
    "BatchNorm2d": ((4,), {}),
    "BatchNorm2d, cumulative": ((4,), {"momentum": None, "eps": 1e-3}),
    "BatchNorm2d, no affine": ((4,), {"affine": False}),
    "BatchNorm2d, untracked": ((4,), {"track_running_stats": False}),
    "MaxPool2d": ((3,), {"stride": 2, "padding": 1, "ceil_mode": True}),
    "MaxPool2d, dilated": ((2,), {"dilation": 2}),
    "AvgPool2d": (((3, 2),), {"stride": 2, "padding": 1, "count_include_pad": False}),
    "AvgPool2d, divisor": ((2,), {"divisor_override": 3}),
    "AdaptiveAvgPool2d": (((3, None),), {}),
}


def pair(case):
    name = case.split(",")[0]
    arguments, options = CASES[case]
    theirs = getattr(nn, name)(*arguments, **options)
    ours = getattr(saccade.nn, name)(*arguments, **options)
    return ours, theirs


@pytest.mark.parametrize("case", CASES)
def test_state_dict_goes_both_ways(case):
    ours, theirs = pair(case)
    assert isinstance(ours, type(theirs))
    with torch.no_grad():
        for tensor in (*theirs.parameters(), *theirs.buffers()):
            tensor.copy_(torch.rand(tensor.shape) + 0.5 if tensor.is_floating_point() else torch.tensor(3))
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_results_and_gradients(case, training, memory_format):
    ours, theirs = (module.train(training) for module in pair(case))
    ours.load_state_dict(theirs.state_dict())
    results = []
    for module in (ours, theirs):
        torch.manual_seed(1)
        for _ in range(2):  # twice: running statistics accumulate
            x = torch.randn(2, 4, 9, 8).contiguous(memory_format=memory_format).requires_grad_()
            out = module(x)
        gradients = torch.autograd.grad(out, [x, *module.parameters()], torch.randn(out.shape))
        results.append([out, *gradients, *module.buffers()])
    for actual, expected in zip(*results, strict=True):
        assert_close(actual, expected, "reduction" if expected.is_floating_point() else "exact")


@pytest.mark.parametrize("case", [case for case in CASES if "BatchNorm" not in case])
def test_one_image(case):
    ours, theirs = pair(case)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(4, 9, 8)
    assert_close(ours(x), theirs(x), "reduction")


@pytest.mark.parametrize("size", [(18, 16), [19, 16], (2, 6, 18, 17)])
def test_output_size_of_a_transposed_convolution(size):
    ours, theirs = pair("ConvTranspose2d")
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 4, 9, 8)
    assert list(ours(x, size).shape[2:]) == list(size[-2:])
    assert_close(ours(x, output_size=size), theirs(x, output_size=size), "reduction")
    with pytest.raises(ValueError, match="requested an output size of"):
        ours(x, [40, 40])


def test_indices():
    x = torch.randn(1, 2, 6, 6)
    values, indices = saccade.nn.MaxPool2d(2, return_indices=True)(x)
    expected = nn.MaxPool2d(2, return_indices=True)(x)
    assert_close(values, expected[0], "exact")
    assert_close(indices, expected[1], "exact")


def test_min_pool():
    x = torch.randn(2, 3, 9, 8)
    pool = saccade.nn.MinPool2d(3, stride=2, padding=1, ceil_mode=True)
    assert_close(pool(x), -nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)(-x), "exact")
    assert repr(pool) == "MinPool2d(kernel_size=3, stride=2, padding=1, dilation=1, ceil_mode=True)"
    values, indices = saccade.nn.MinPool2d(2, return_indices=True)(x)
    assert_close(x.flatten(2).gather(2, indices.flatten(2)).reshape(values.shape), values, "exact")


def test_normalize_rejects_other_shapes_as_torch_does():
    with pytest.raises(ValueError, match=r"expected 4D input"):
        saccade.nn.BatchNorm2d(4)(torch.rand(4, 4))


# ---- ConvBNAct -------------------------------------------------------------------------------------------------------

ACTIVATIONS = {
    None: nn.Identity(), "relu": nn.ReLU(), "leaky_relu": nn.LeakyReLU(), "elu": nn.ELU(), "sigmoid": nn.Sigmoid(),
}  # fmt: skip


def block(activation, **options):
    module = saccade.nn.ConvBNAct(4, 6, 3, activation=activation, **options)
    with torch.no_grad():
        module.bn.running_mean.normal_()
        module.bn.running_var.uniform_(0.5, 2)
        module.bn.weight.normal_()
        module.bn.bias.normal_()
    conv = nn.Conv2d(4, 6, 3, module.conv.stride, module.conv.padding, bias=module.conv.bias is not None)
    norm = nn.BatchNorm2d(6)
    conv.load_state_dict(module.conv.state_dict())
    norm.load_state_dict(module.bn.state_dict())
    return module, conv, norm, ACTIVATIONS[activation]


@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_block(activation, training, with_residual):
    module, conv, norm, act = block(activation, stride=2, bias=with_residual)
    module.train(training)
    norm.train(training)
    x = torch.randn(2, 4, 9, 8, requires_grad=True)
    residual = torch.randn(2, 6, 5, 4, requires_grad=True) if with_residual else None
    actual = module(x, residual)
    expected = norm(conv(x))
    expected = act(expected + residual if with_residual else expected)
    assert_close(actual, expected, "reduction")
    leaves = [x, residual] if with_residual else [x]
    grad = torch.randn(expected.shape)
    ours = torch.autograd.grad(actual, [*leaves, *module.parameters()], grad)
    theirs = torch.autograd.grad(expected, [*leaves, *conv.parameters(), *norm.parameters()], grad)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b, "reduction")
    assert_close(module.bn.running_var, norm.running_var, "reduction")
    with torch.no_grad():
        assert_close(
            module.eval()(x, residual), act(norm.eval()(conv(x)) + (residual if with_residual else 0)), "reduction"
        )


def test_block_notices_new_statistics_and_parameters():
    module, conv, norm, act = block("relu")
    module.eval()
    x = torch.randn(1, 4, 6, 6)
    with torch.no_grad():
        module(x)
        for tensor in (module.bn.running_mean, module.bn.running_var, module.bn.weight, module.bn.bias):
            tensor.mul_(1.5)
            norm.load_state_dict(module.bn.state_dict())
            assert_close(module(x), act(norm.eval()(conv(x))), "reduction")
        module.bn.weight.data = module.bn.weight.data * 2  # another address, the same version
        norm.load_state_dict(module.bn.state_dict())
        assert_close(module(x), act(norm.eval()(conv(x))), "reduction")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_block_in_other_dtypes(dtype):
    module, conv, norm, act = block("elu")
    x = torch.randn(1, 4, 6, 6).to(dtype)
    module, conv, norm = module.eval().to(dtype), conv.to(dtype), norm.eval().to(dtype)
    with torch.no_grad():
        out = module(x)
        assert out.dtype == dtype
        assert_close(out, act(norm.double()(conv.double()(x.double()))), "reduction")


def test_block_refuses_unknown_activations():
    with pytest.raises(ValueError, match=r"^ConvBNAct: activation must be None, 'relu'"):
        saccade.nn.ConvBNAct(1, 1, activation="gelu")


def test_block_keeps_the_size():
    assert saccade.nn.ConvBNAct(2, 3, (5, 3), dilation=(1, 2)).eval()(torch.rand(1, 2, 9, 7)).shape == (1, 3, 9, 7)
