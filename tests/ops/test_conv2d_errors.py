import pytest
import torch

from saccade import ops

KERNEL = "weight must have shape (out_channels, C / groups, kernel_h, kernel_w)"


def ones(*shape, dtype=torch.float32):
    return torch.ones(shape, dtype=dtype)


CASES = [
    ({"input": [1]}, TypeError, "input must be a torch.Tensor, got list"),
    ({"weight": None}, TypeError, "weight must be a torch.Tensor, got NoneType"),
    ({"input": ones(4, 5)}, ValueError, "input must have shape (N, C, H, W) or (C, H, W), got (4, 5)"),
    ({"input": ones(1, 4, 5, 5).long()}, TypeError, "input must be float16, bfloat16, float32 or float64, got int64"),
    ({"weight": ones(6, 4, 3)}, ValueError, f"{KERNEL}, got (6, 4, 3)"),
    ({"weight": ones(6, 4, 3, 3).double()}, TypeError,
     "weight and input must have the same dtype, got float64 and float32"),
    ({"weight": ones(6, 3, 3, 3)}, ValueError, f"{KERNEL} with C / groups = 4, got (6, 3, 3, 3)"),
    ({"weight": ones(6, 4, 0, 3)}, ValueError, f"{KERNEL} with C / groups = 4, got (6, 4, 0, 3)"),
    ({"weight": ones(0, 4, 3, 3)}, ValueError,
     "groups must divide out_channels, which must be positive, got 1 for 0"),
    ({"stride": 0}, ValueError, "stride must be 2 numbers from 1 to 2**31 - 1, got (0, 0)"),
    ({"stride": (1, 2**31)}, ValueError, "stride must be 2 numbers from 1 to 2**31 - 1, got (1, 2147483648)"),
    ({"stride": (1, 2, 3)}, ValueError, "stride must be an int or a pair of ints, got (1, 2, 3)"),
    ({"padding": -1}, ValueError, "padding must be 4 numbers from 0 to 2**31 - 1, got (-1, -1, -1, -1)"),
    ({"padding": (1, -2)}, ValueError, "padding must be 4 numbers from 0 to 2**31 - 1, got (1, 1, -2, -2)"),
    ({"dilation": (1, 0)}, ValueError, "dilation must be 2 numbers from 1 to 2**31 - 1, got (1, 0)"),
    ({"groups": 0}, ValueError, "groups must be positive, got 0"),
    ({"groups": -4}, ValueError, "groups must be positive, got -4"),
    ({"groups": 3}, ValueError, "groups must divide the channels of input, got 3 for 4"),
    ({"weight": ones(5, 2, 3, 3), "groups": 2}, ValueError,
     "groups must divide out_channels, which must be positive, got 2 for 5"),
    ({"dilation": 4}, ValueError,
     "input with its padding must be at least as large as the kernel with its dilation, got 5 for 9"),
    ({"bias": ones(5)}, ValueError, "bias must have shape (out_channels,) = (6,), got (5,)"),
    ({"bias": ones(6, 1)}, ValueError, "bias must have shape (out_channels,) = (6,), got (6, 1)"),
    ({"bias": ones(6).double()}, TypeError, "bias must be float32, got float64"),
    ({"input": ones(1, 4, 5, 5).half(), "weight": ones(6, 4, 3, 3).half(), "bias": ones(6).bfloat16()}, TypeError,
     "bias must be float16 or float32, got bfloat16"),
]  # fmt: skip
FUSED = [
    ({"scale": ones(5)}, ValueError, "scale must have shape (out_channels,) = (6,), got (5,)"),
    ({"shift": ones(6).half()}, TypeError, "shift must be float32, got float16"),
    ({"residual": ones(1, 6, 3, 4)}, ValueError,
     "residual must have shape (N, out_channels, out_h, out_w), got (1, 6, 3, 4)"),
    ({"residual": ones(1, 6, 3, 3).double()}, TypeError,
     "residual and input must have the same dtype, got float64 and float32"),
    ({"activation": "tanh"}, ValueError,
     "activation must be None, 'relu', 'leaky_relu', 'elu' or 'sigmoid', got 'tanh'"),
]  # fmt: skip


def assert_refused(function, changes, error, message):
    arguments = {"input": ones(1, 4, 5, 5), "weight": ones(6, 4, 3, 3)} | changes
    with pytest.raises(error) as caught:
        function(**arguments)
    assert str(caught.value) == f"{function.__name__}: {message}"


@pytest.mark.parametrize("function", [ops.conv2d, ops.conv2d_fused])
@pytest.mark.parametrize(("changes", "error", "message"), CASES)
def test_errors(function, changes, error, message):
    assert_refused(function, changes, error, message)


@pytest.mark.parametrize(("changes", "error", "message"), FUSED)
def test_errors_of_the_fused_form(changes, error, message):
    assert_refused(ops.conv2d_fused, changes, error, message)


def test_errors_of_the_operators():
    x, weight, sizes = ones(1, 4, 5, 5), ones(6, 4, 3, 3), ([1, 1], [0, 0, 0, 0], [1, 1], 1)
    operators = torch.ops.saccade
    with pytest.raises(RuntimeError, match=r"conv2d_fused: activation must be a number from 0 to 4, got 7"):
        operators.conv2d_fused(x, weight, None, None, *sizes, 0, None, None, None, 7)
    with pytest.raises(RuntimeError, match=r"conv2d: packed must be the weight packed for this shape, got 3 elements"):
        operators.conv2d(x, weight, None, ones(3), *sizes, 0)
    with pytest.raises(
        RuntimeError, match=r"conv2d: grad must have shape \(N, out_channels, out_h, out_w\), got \(1, 6, 3, 4\)"
    ):
        operators._conv2d_backward(ones(1, 6, 3, 4), x, weight, *sizes, [True] * 3, 0)
    with pytest.raises(RuntimeError, match=r"conv2d: grad and input must have the same dtype, got float64 and float32"):
        operators._conv2d_backward(ones(1, 6, 3, 3).double(), x, weight, *sizes, [True] * 3, 0)
    with pytest.raises(
        RuntimeError, match=r"conv2d: algorithm must be 'gemm' or 'winograd4' for the gradient of the weight"
    ):
        operators._conv2d_backward(ones(1, 6, 3, 3), x, weight, *sizes, [True] * 3, 3)
