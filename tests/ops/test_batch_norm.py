import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saccade import ops
from saccade.reference.batch_norm import batch_norm as reference
from tests.util.opinfo import opinfo
from tests.util.strategies import awkward_floats
from tests.util.tolerance import assert_close

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
FORMATS = [torch.contiguous_format, torch.channels_last]
ACTIVATIONS = [None, "relu", "leaky_relu", "elu", "sigmoid"]
# Rows, single elements, planes shorter and longer than a register, planes of several chunks, chunks of several planes.
SHAPES = [
    (4, 3), (67, 17), (3, 5, 7), (2, 17, 1), (2, 3, 1, 1), (5, 16, 4, 4), (2, 33, 5, 3), (1, 2, 65, 67), (70, 2, 9, 9),
    (3, 4, 2, 3, 5),
]  # fmt: skip
COMPOSED = {
    None: lambda x: x,
    "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.01),
    "elu": F.elu,
    "sigmoid": torch.sigmoid,
}


def layouts_of(shape):
    return FORMATS if len(shape) == 4 else FORMATS[:1]


CASES = [(shape, layout) for shape in SHAPES for layout in layouts_of(shape)]


def inputs(shape, layout=torch.contiguous_format, dtype=torch.float32, parameters=None, device="cpu"):
    """Input, running mean and variance, weight, bias, residual."""
    generator = torch.Generator().manual_seed(sum(shape))
    x, residual = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    channels, parameters = shape[1], parameters or dtype
    x = x * 2 + torch.arange(channels).reshape(1, -1, *[1] * (len(shape) - 2)) % 7
    mean, weight, bias = (torch.randn(channels, generator=generator, dtype=torch.float64) for _ in range(3))
    var = torch.rand(channels, generator=generator, dtype=torch.float64) + 0.5
    laid_out = [t.to(device, dtype).contiguous(memory_format=layout) for t in (x, residual)]
    return laid_out[0], *(t.to(device, parameters) for t in (mean, var, weight, bias)), laid_out[1]


def composed(x, mean, var, weight, bias, training, residual=None, activation=None, **more):
    y = F.batch_norm(x, mean, var, weight, bias, training, **more)
    return COMPOSED[activation](y if residual is None else y + residual)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("shape", "layout"), CASES)
def test_equals_reference(shape, layout, training, with_residual, activation, device):
    x, mean, var, weight, bias, residual = inputs(shape, layout, device=device)
    residual = residual if with_residual else None
    expected, new_mean, new_var = reference(
        *(t.double().cpu().numpy() for t in (x, mean, var, weight, bias)),
        training, 0.3, 1e-3, None if residual is None else residual.double().cpu().numpy(), activation,
    )  # fmt: skip
    ours = ops.batch_norm(x, mean, var, weight, bias, training, 0.3, 1e-3, residual=residual, activation=activation)
    assert ours.stride() == x.stride()
    assert_close(ours.cpu(), torch.from_numpy(expected), "reduction")
    assert_close(mean.cpu(), torch.from_numpy(new_mean), "reduction")
    assert_close(var.cpu(), torch.from_numpy(new_var), "reduction")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("parameters", [None, torch.float32])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "layout"), CASES)
def test_every_dtype(shape, layout, dtype, parameters, training, device):
    if dtype == torch.float64 and parameters is not None:
        pytest.skip("float64 parameters only beside float64")
    arguments = [t.requires_grad_(t.is_floating_point()) for t in inputs(shape, layout, dtype, parameters, device)]
    x, mean, var, weight, bias, residual = arguments
    for running in (mean, var):
        running.requires_grad_(False)
    expected_mean, expected_var = mean.double(), var.double()
    ours = ops.batch_norm(x, mean, var, weight, bias, training, residual=residual, activation="relu")
    wide = [t.detach().double().requires_grad_() for t in (x, weight, bias, residual)]
    theirs = composed(wide[0], expected_mean, expected_var, *wide[1:3], training, wide[3], "relu")
    assert ours.dtype == dtype
    assert_close(ours.cpu(), theirs.cpu(), "reduction")
    assert mean.dtype == var.dtype == (parameters or dtype)
    assert_close(mean.cpu(), expected_mean.cpu(), "elementwise")
    assert_close(var.cpu(), expected_var.cpu(), "elementwise")
    # The gradient of the double twin, with the zeros where ours has them: at a rounded zero either is right.
    grad = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1)).to(device, dtype)
    grad = torch.where((ours > 0) == (theirs > 0), grad, 0).contiguous(memory_format=layout)
    ours_grad = torch.autograd.grad(ours, (x, weight, bias, residual), grad)
    for mine, other, leaf in zip(
        ours_grad, torch.autograd.grad(theirs, wide, grad.double()), (x, weight, bias, residual), strict=True
    ):
        assert mine.dtype == leaf.dtype
        assert_close(mine.cpu(), other.cpu(), "reduction")


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("shape", "layout"), CASES)
def test_gradient_equals_torch(shape, layout, training, with_residual, activation, device):
    x, mean, var, weight, bias, residual = inputs(shape, layout, torch.float64, device=device)
    leaves = [t.requires_grad_() for t in ([x, weight, bias, residual] if with_residual else [x, weight, bias])]
    more = {"residual": residual if with_residual else None, "activation": activation}
    ours = ops.batch_norm(x, mean.clone(), var.clone(), weight, bias, training, **more)
    theirs = composed(x, mean, var, weight, bias, training, **more)
    grad = torch.randn_like(theirs)
    found = torch.autograd.grad(ours, leaves, grad)
    assert found[0].stride() == x.stride()
    for mine, other in zip(found, torch.autograd.grad(theirs, leaves, grad), strict=True):
        assert_close(mine.cpu(), other.cpu(), "reduction")


@pytest.mark.parametrize("given", ["nothing", "weight", "bias", "running"])
@pytest.mark.parametrize(("shape", "layout"), [((3, 5, 4, 6), FORMATS[1]), ((3, 5, 4, 6), FORMATS[0]), ((9, 18), None)])
def test_without_parameters(shape, layout, given, device):
    x, mean, var, weight, bias, _ = inputs(shape, layout or FORMATS[0], device=device)
    x.requires_grad_()
    arguments = {
        "nothing": (None, None),
        "weight": (None, None, weight.requires_grad_()),
        "bias": (None, None, None, bias.requires_grad_()),
        "running": (mean, var),
    }[given]
    for training in [True, False] if given == "running" else [True]:
        ours, theirs = (f(x, *arguments, training=training) for f in (ops.batch_norm, F.batch_norm))
        assert_close(ours.detach().cpu(), theirs.detach().cpu(), "reduction")
        leaves = [x, *(t for t in arguments if t is not None and t.requires_grad)]
        for mine, other in zip(
            torch.autograd.grad(ours.sin().sum(), leaves), torch.autograd.grad(theirs.sin().sum(), leaves), strict=True
        ):
            assert_close(mine.cpu(), other.cpu(), "reduction")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_of_torch(dtype, device):
    info = opinfo("nn.functional.batch_norm")
    assert info.error_inputs_func is None  # test_raises_where_torch_does has some of its own
    count = 0
    for sample in info.sample_inputs(device, dtype, requires_grad=True):
        results = []
        for function in (ops.batch_norm, F.batch_norm):
            running = [None if t is None else t.clone() for t in sample.args[:2]]
            out = function(sample.input, *running, *sample.args[2:], **sample.kwargs)
            leaves = [sample.input, *(t for t in sample.args[2:] if t is not None)]
            results.append(
                [
                    out,
                    *running,
                    *torch.autograd.grad(out, leaves, torch.linspace(-1, 1, out.numel()).to(out).reshape(out.shape)),
                ]
            )
        for ours, theirs in zip(*results, strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                assert_close(ours.detach().cpu(), theirs.detach().cpu(), "reduction")
        count += 1
    assert count > 8


def ones(*shape, dtype=torch.float32):
    return torch.ones(shape, dtype=dtype)


ERRORS = [
    ((ones(4, 3, 5), None, None), {}, ValueError,
     "running_mean and running_var must be given in evaluation, got None"),
    ((ones(4, 3, 5), ones(2), ones(3)), {}, ValueError, "running_mean must have shape (C,) = (3,), got (2,)"),
    ((ones(4, 3, 5), ones(3), ones(3), ones(2)), {}, ValueError, "weight must have shape (C,) = (3,), got (2,)"),
    ((ones(4, 3, 5), ones(3), ones(3), None, ones(4)), {}, ValueError, "bias must have shape (C,) = (3,), got (4,)"),
    ((ones(4, 3), ones(3), None), {"training": True}, ValueError,
     "running_mean and running_var must both be given or both be None"),
    ((ones(1, 3), None, None), {"training": True}, ValueError,
     "input must have more than 1 value per channel when training, got shape (1, 3)"),
    ((ones(1, 3, 1, 1), None, None), {"training": True}, ValueError,
     "input must have more than 1 value per channel when training, got shape (1, 3, 1, 1)"),
    ((ones(3), ones(3), ones(3)), {}, ValueError, "input must have shape (N, C) or (N, C, ...), got (3,)"),
    ((ones(4, 3), None, None), {"training": True, "momentum": None}, TypeError, "momentum must be a number, got None"),
    ((ones(4, 3, dtype=torch.int64), ones(3), ones(3)), {}, TypeError,
     "input must be float16, bfloat16, float32 or float64, got int64"),
    ((ones(4, 3), ones(3, dtype=torch.float64), ones(3, dtype=torch.float64)), {}, TypeError,
     "running_mean must be float32, got float64"),
    ((ones(4, 3, dtype=torch.float16), ones(3), ones(3), ones(3, dtype=torch.float16)), {}, TypeError,
     "parameters must have one dtype, got float32 and float16"),
    ((ones(4, 3, dtype=torch.float16), *[ones(3, dtype=torch.bfloat16)] * 2), {}, TypeError,
     "running_mean must be float16 or float32, got bfloat16"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "more", "error", "message"), ERRORS)
def test_raises_where_torch_does(arguments, more, error, message):
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        F.batch_norm(*arguments, **more)
    with pytest.raises(error) as caught:
        ops.batch_norm(*arguments, **more)
    assert str(caught.value) == f"batch_norm: {message}"


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"residual": ones(4, 3, 6)}, ValueError, "residual must have the shape of input, (4, 3, 5), got (4, 3, 6)"),
        ({"residual": ones(4, 3, 5).double()}, TypeError,
         "residual and input must have the same dtype, got float64 and float32"),
        ({"activation": "tanh"}, ValueError,
         "activation must be None, 'relu', 'leaky_relu', 'elu' or 'sigmoid', got 'tanh'"),
    ],
)  # fmt: skip
def test_errors_of_its_own(more, error, message):
    with pytest.raises(error) as caught:
        ops.batch_norm(ones(4, 3, 5), ones(3), ones(3), **more)
    assert str(caught.value) == f"batch_norm: {message}"


@pytest.mark.parametrize("offset", [0.0, 1e4, -3e4])
@pytest.mark.parametrize("layout", FORMATS)
def test_an_offset_costs_nothing(layout, offset, device):
    x = (torch.randn(3, 5, 40, 41) + offset).contiguous(memory_format=layout)
    mean, var = torch.zeros(5, device=device), torch.zeros(5, device=device)
    ours = ops.batch_norm(x.to(device), mean, var, training=True, momentum=1.0).cpu()
    wide = x.double()
    torch.testing.assert_close(ours.double(), F.batch_norm(wide, None, None, training=True), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(var.cpu().double(), wide.var((0, 2, 3)), rtol=1e-5, atol=0)
    torch.testing.assert_close(mean.cpu().double(), wide.mean((0, 2, 3)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layout", FORMATS)
def test_a_first_part_unlike_the_rest_is_a_fair_pivot(layout, device):
    # The moments are taken about the mean of the first sixteenth of each chunk; here that is an outlier of its own.
    x = torch.randn(1, 2, 64, 64)
    x[:, :, :4] += 1e4
    x[:, 1] = 5
    x[0, 1, 0, 0] = 1e6
    ours = ops.batch_norm(x.to(device).contiguous(memory_format=layout), None, None, training=True).cpu()
    assert_close(ours, F.batch_norm(x.double(), None, None, training=True), "reduction")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nan_spreads_over_its_channel_only(activation, layout, value, device):
    x, mean, var, weight, bias, residual = inputs((2, 18, 5, 7), layout, device=device)
    x[1, 3, 2, 2] = value
    ours = ops.batch_norm(x, mean.clone(), var.clone(), weight, bias, True, residual=residual, activation=activation)
    theirs = composed(x, mean.clone(), var.clone(), weight, bias, True, residual, activation)
    assert ours[:, 3].isnan().all()
    assert_close(ours.cpu(), theirs.cpu(), "reduction")
    frozen = ops.batch_norm(x, mean, var, weight, bias, residual=residual, activation=activation)
    assert_close(frozen.cpu(), composed(x, mean, var, weight, bias, False, residual, activation).cpu(), "reduction")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4, 4), (2, 3, 0), (2, 0, 4), (0, 0)])
def test_empty(shape, training, device):
    channels = shape[1]
    x = torch.zeros(shape, device=device, requires_grad=True)
    weight = torch.ones(channels, device=device, requires_grad=True)
    mean, var = torch.full((channels,), 2.0, device=device), torch.full((channels,), 3.0, device=device)
    out = ops.batch_norm(x, mean, var, weight, weight, training, residual=x, activation="elu")
    assert out.shape == shape
    out.sum().backward()
    assert x.grad.shape == shape
    assert weight.grad.tolist() == [0] * channels
    assert mean.tolist() == [2] * channels
    assert var.tolist() == [3] * channels


@pytest.mark.parametrize("layout", FORMATS)
def test_any_strides(layout, device):
    x, mean, var, weight, bias, residual = inputs((3, 8, 6, 10), layout, device=device)
    strided = torch.stack([x, x], -1)[..., 0].transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    parameters = torch.stack([mean, var.abs(), weight, bias], 1)
    ours = ops.batch_norm(strided, *parameters.unbind(1), residual=residual.flip(0), activation="relu")
    theirs = composed(x, mean, var, weight, bias, False, residual.flip(0), "relu")
    assert_close(ours.detach().cpu(), theirs.cpu(), "reduction")
    (expanded,) = torch.autograd.grad(ours.sum(), strided)
    (plain,) = torch.autograd.grad(ours2 := ops.batch_norm(
        strided, mean, var, weight, bias, residual=residual.flip(0), activation="relu"), strided, torch.ones_like(ours2)
    )  # fmt: skip
    assert torch.equal(expanded, plain)


@pytest.mark.native
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(8, 30, 113, 117), (3, 64, 130, 131), (1, 1, 2000, 1700), (300, 100, 11, 11)])
@pytest.mark.parametrize("layout", FORMATS)
def test_same_bits_for_any_number_of_threads(layout, shape, dtype):
    # Sizes at which results are streamed past the cache, with and without whole registers in a row.
    x, mean, var, weight, bias, residual = inputs(shape, layout, dtype, torch.float32)
    leaves = [t.requires_grad_() for t in (x, weight, bias, residual)]
    grad = torch.randn(shape).to(dtype).contiguous(memory_format=layout)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            running = mean.clone(), var.clone()
            out = ops.batch_norm(x, *running, weight, bias, True, residual=residual, activation="leaky_relu")
            results.append([out, *running, *torch.autograd.grad(out, leaves, grad)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)
    wide = [t.detach().double().requires_grad_() for t in (x, weight, bias, residual)]
    theirs = composed(wide[0], None, None, *wide[1:3], True, wide[3], "leaky_relu")
    assert_close(results[0][0].detach(), theirs.detach(), "reduction")
    settled = torch.where(results[0][0].sign() == theirs.sign(), grad, 0)
    found = torch.autograd.grad(
        ops.batch_norm(x, None, None, weight, bias, True, residual=residual, activation="leaky_relu"), leaves, settled
    )
    for mine, other in zip(found, torch.autograd.grad(theirs, wide, settled.double()), strict=True):
        assert_close(mine, other, "reduction")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("activation", ["elu", "sigmoid", None])
def test_gradcheck_and_opcheck(activation, training, layout, device):
    x, mean, var, weight, bias, residual = inputs((3, 3, 4, 2), layout, torch.float64, device=device)
    leaves = [t.requires_grad_() for t in (x, weight, bias, residual)]

    def run(x, weight, bias, residual):
        running = mean.clone(), var.clone()
        return ops.batch_norm(x, *running, weight, bias, training, residual=residual, activation=activation)

    assert torch.autograd.gradcheck(run, leaves)
    number = {None: 0, "elu": 3, "sigmoid": 4}[activation]
    arguments = (x, mean, var, weight, bias, training, 1e-5, residual, number)
    torch.library.opcheck(torch.ops.saccade.batch_norm.default, arguments)
    with torch.no_grad():
        out, used_mean, used_var = torch.ops.saccade.batch_norm(*arguments)
        arguments = (out, x, out, weight, used_mean, used_var, training, 1e-5, number, True)
        torch.library.opcheck(torch.ops.saccade._batch_norm_backward.default, arguments)


@pytest.mark.parametrize("training", [False, True])
def test_compile(training):
    x, mean, var, weight, bias, residual = inputs((2, 5, 6, 7), torch.channels_last)
    x.requires_grad_()

    def run(x, mean, var):
        return ops.batch_norm(x, mean, var, weight, bias, training, residual=residual, activation="relu")

    compiled, results = torch.compile(run, fullgraph=True, backend="aot_eager"), []
    for function in (run, compiled):
        running = mean.clone(), var.clone()
        out = function(x, *running)
        results.append([out, *running, *torch.autograd.grad(out.sin().sum(), x)])
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast(dtype):
    x, mean, var, weight, bias, _ = inputs((2, 5, 6, 7))
    with torch.autocast("cpu", dtype):
        for input in (x, x.to(dtype)):
            ours = ops.batch_norm(input, mean, var, weight, bias)
            assert ours.dtype == F.batch_norm(input, mean, var, weight, bias).dtype == input.dtype


@settings(max_examples=150, deadline=None)
@given(
    x=hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=7), elements=awkward_floats),
    training=st.booleans(),
    activation=st.sampled_from(ACTIVATIONS),
    layout=st.sampled_from(FORMATS),
)
def test_any_values_at_all(x, training, activation, layout):
    input = torch.from_numpy(x)
    if input.dim() == 4:
        input = input.contiguous(memory_format=layout)
    channels = input.shape[1]
    mean, var = torch.full((channels,), 0.5), torch.full((channels,), 2.0)
    if training and np.prod([*x.shape[:1], *x.shape[2:]]) == 1:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            ops.batch_norm(input, mean, var, training=True)
        return
    ours = ops.batch_norm(input, mean, var, training=training, activation=activation)
    assert ours.stride() == input.stride() or input.numel() == 0
    if (
        training and input.numel()
    ):  # squares beyond float32 are infinite, so only tame channels have a result to compare
        axes = [d for d in range(input.dim()) if d != 1]
        tame = input.double().abs().amax(axes) < 1e6
        input, ours, mean, var = input[:, tame], ours[:, tame], mean[tame], var[tame]
    theirs = composed(input.double(), torch.full_like(mean, 0.5).double(), torch.full_like(var, 2).double(), None,
                      None, training, None, activation)  # fmt: skip
    if input.numel():
        assert_close(ours, theirs, "reduction")
