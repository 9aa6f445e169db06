import pytest
import torch

from saccade import ops

KERNEL = "weight must have shape (C, out_channels / groups, kernel_h, kernel_w)"
OUTPUT = "output_padding must be less than stride or dilation, got"


def ones(*shape, dtype=torch.float32):
    return torch.ones(shape, dtype=dtype)


CASES = [
    ({"input": [1]}, TypeError, "input must be a torch.Tensor, got list"),
    ({"weight": None}, TypeError, "weight must be a torch.Tensor, got NoneType"),
    ({"input": ones(4, 5)}, ValueError, "input must have shape (N, C, H, W) or (C, H, W), got (4, 5)"),
    ({"input": ones(1, 4, 0, 5)}, ValueError, "input must have at least one row and column, got (1, 4, 0, 5)"),
    ({"input": ones(1, 4, 5, 5).long()}, TypeError, "input must be float16, bfloat16, float32 or float64, got int64"),
    ({"weight": ones(4, 6, 3)}, ValueError, f"{KERNEL}, got (4, 6, 3)"),
    ({"weight": ones(4, 6, 3, 3).double()}, TypeError,
     "weight and input must have the same dtype, got float64 and float32"),
    ({"weight": ones(3, 6, 3, 3)}, ValueError, f"{KERNEL} with C = 4, got (3, 6, 3, 3)"),
    ({"weight": ones(4, 0, 3, 3)}, ValueError, f"{KERNEL} with C = 4, got (4, 0, 3, 3)"),
    ({"weight": ones(4, 6, 0, 3)}, ValueError, f"{KERNEL} with C = 4, got (4, 6, 0, 3)"),
    ({"stride": 0}, ValueError, "stride must be 2 numbers from 1 to 2**31 - 1, got (0, 0)"),
    ({"stride": (1, 2**31)}, ValueError, "stride must be 2 numbers from 1 to 2**31 - 1, got (1, 2147483648)"),
    ({"stride": (1, 2, 3)}, ValueError, "stride must be an int or a pair of ints, got (1, 2, 3)"),
    ({"padding": -1}, ValueError, "padding must be 2 numbers from 0 to 2**31 - 1, got (-1, -1)"),
    ({"padding": (0, 4)}, ValueError,
     "padding must leave at least one row and column of the output, got 4 for a length of 7"),
    ({"output_padding": (0, -1)}, ValueError, "output_padding must be 2 numbers from 0 to 2**31 - 1, got (0, -1)"),
    ({"output_padding": 1}, ValueError, f"{OUTPUT} (1, 1) for (1, 1) and (1, 1)"),
    ({"output_padding": (0, 3), "stride": (4, 2), "dilation": (1, 3)}, ValueError,
     f"{OUTPUT} (0, 3) for (4, 2) and (1, 3)"),
    ({"dilation": (1, 0)}, ValueError, "dilation must be 2 numbers from 1 to 2**31 - 1, got (1, 0)"),
    ({"groups": 0}, ValueError, "groups must be positive, got 0"),
    ({"groups": 3}, ValueError, "groups must divide the channels of input, got 3 for 4"),
    ({"bias": ones(5)}, ValueError, "bias must have shape (out_channels,) = (6,), got (5,)"),
    ({"bias": ones(6).double()}, TypeError, "bias must be float32, got float64"),
    ({"input": ones(1, 4, 5, 5).half(), "weight": ones(4, 6, 3, 3).half(), "bias": ones(6).bfloat16()}, TypeError,
     "bias must be float16 or float32, got bfloat16"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "error", "message"), CASES)
def test_errors(changes, error, message):
    arguments = {"input": ones(1, 4, 5, 5), "weight": ones(4, 6, 3, 3)} | changes
    with pytest.raises(error) as caught:
        ops.conv_transpose2d(**arguments)
    assert str(caught.value) == f"conv_transpose2d: {message}"


def test_errors_of_the_operators():
    x, weight, sizes = ones(1, 4, 5, 5), ones(4, 6, 3, 3), ([1, 1], [0, 0], [0, 0], 1, [1, 1])
    operators = torch.ops.saccade
    with pytest.raises(RuntimeError, match=r"conv_transpose2d: packed must be the weight packed .*, got 3 elements"):
        operators.conv_transpose2d(x, weight, None, ones(3), *sizes)
    with pytest.raises(RuntimeError, match=r"grad must have shape \(N, out_channels, out_h, out_w\), got \(1, 6, 3, 4"):
        operators._conv_transpose2d_backward(ones(1, 6, 3, 4), x, weight, *sizes, [True] * 3)
    with pytest.raises(RuntimeError, match=r"grad and input must have the same dtype, got float64 and float32"):
        operators._conv_transpose2d_backward(ones(1, 6, 7, 7).double(), x, weight, *sizes, [True] * 3)
