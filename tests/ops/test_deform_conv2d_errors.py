import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade import ops

KERNEL = "weight must have shape (out_channels, C / groups, kernel_h, kernel_w)"
OFFSET = "offset must have shape (N, 2 * offset_groups * kernel_h * kernel_w, out_h, out_w)"
MASK = "mask must have shape (N, offset_groups * kernel_h * kernel_w, out_h, out_w)"


def ones(*shape, dtype=torch.float32):
    return torch.ones(shape, dtype=dtype)


CASES = [
    ({"input": [1]}, TypeError, "input must be a torch.Tensor, got list"),
    ({"offset": None}, TypeError, "offset must be a torch.Tensor, got NoneType"),
    ({"mask": 1}, TypeError, "mask must be a torch.Tensor, got int"),
    ({"input": ones(4, 5, 5)}, ValueError, "input must have shape (N, C, H, W), got (4, 5, 5)"),
    ({"input": ones(1, 4, 5, 5).long()}, TypeError, "input must be float16, bfloat16, float32 or float64, got int64"),
    ({"weight": ones(6, 4, 3)}, ValueError, f"{KERNEL}, got (6, 4, 3)"),
    ({"weight": ones(6, 4, 3, 3).double()}, TypeError,
     "weight and input must have the same dtype, got float64 and float32"),
    ({"weight": ones(6, 3, 3, 3)}, ValueError, f"{KERNEL} with groups that divide C = 4, got (6, 3, 3, 3)"),
    ({"weight": ones(6, 0, 3, 3)}, ValueError, f"{KERNEL} with groups that divide C = 4, got (6, 0, 3, 3)"),
    ({"weight": ones(5, 2, 3, 3)}, ValueError,
     "groups must divide out_channels, which must be positive, got 2 for 5"),
    ({"weight": ones(6, 4, 3, 0)}, ValueError, f"{KERNEL} with C / groups = 4, got (6, 4, 3, 0)"),
    ({"stride": 0}, ValueError, "stride must be 2 numbers from 1 to 2**31 - 1, got (0, 0)"),
    ({"stride": (1, 2, 3)}, ValueError, "stride must be an int or a pair of ints, got (1, 2, 3)"),
    ({"padding": -1}, ValueError, "padding must be 4 numbers from 0 to 2**31 - 1, got (-1, -1, -1, -1)"),
    ({"dilation": (1, 0)}, ValueError, "dilation must be 2 numbers from 1 to 2**31 - 1, got (1, 0)"),
    ({"dilation": 4}, ValueError,
     "input with its padding must be at least as large as the kernel with its dilation, got 5 for 9"),
    ({"offset": ones(1, 17, 3, 3)}, ValueError, f"{OFFSET}, with a multiple of 18 channels, got (1, 17, 3, 3)"),
    ({"offset": ones(1, 0, 3, 3)}, ValueError, f"{OFFSET}, with a multiple of 18 channels, got (1, 0, 3, 3)"),
    ({"offset": ones(1, 18, 9)}, ValueError, f"{OFFSET}, with a multiple of 18 channels, got (1, 18, 9)"),
    ({"offset": ones(1, 54, 3, 3)}, ValueError, "offset groups must divide the channels of input, got 3 for 4"),
    ({"offset": ones(1, 18, 4, 3)}, ValueError, f"{OFFSET} = (1, 18, 3, 3), got (1, 18, 4, 3)"),
    ({"offset": ones(2, 36, 3, 3)}, ValueError, f"{OFFSET} = (1, 36, 3, 3), got (2, 36, 3, 3)"),
    ({"offset": ones(1, 18, 3, 3).double()}, TypeError,
     "offset and input must have the same dtype, got float64 and float32"),
    ({"mask": ones(1, 18, 3, 3)}, ValueError, f"{MASK} = (1, 9, 3, 3), got (1, 18, 3, 3)"),
    ({"mask": ones(1, 9, 3)}, ValueError, f"{MASK} = (1, 9, 3, 3), got (1, 9, 3)"),
    ({"mask": ones(1, 9, 3, 3).half()}, TypeError, "mask and input must have the same dtype, got float16 and float32"),
    ({"bias": ones(5)}, ValueError, "bias must have shape (out_channels,) = (6,), got (5,)"),
    ({"bias": ones(6).double()}, TypeError, "bias must be float32, got float64"),
]  # fmt: skip


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize(("changes", "error", "message"), CASES)
def test_errors(changes, error, message, trained):
    # A weight that is being trained is not packed beforehand.
    arguments = {"input": ones(1, 4, 5, 5), "offset": ones(1, 18, 3, 3), "weight": ones(6, 4, 3, 3)} | changes
    arguments["weight"].requires_grad_(trained)
    with pytest.raises(error) as caught:
        ops.deform_conv2d(**arguments)
    assert str(caught.value) == f"deform_conv2d: {message}"


def test_errors_of_the_operators():
    x, offset, weight, sizes = ones(1, 4, 5, 5), ones(1, 18, 3, 3), ones(6, 4, 3, 3), ([1, 1], [0, 0], [1, 1])
    operators = torch.ops.saccade
    with pytest.raises(RuntimeError, match=r"deform_conv2d: packed must be the weight packed for this shape, got 3 el"):
        operators.deform_conv2d(x, offset, weight, None, None, ones(3), *sizes)
    with pytest.raises(
        RuntimeError, match=r"deform_conv2d: padding must be 2 numbers from 0 to 2\*\*31 - 1, got \(0,\)"
    ):
        operators.deform_conv2d(x, offset, weight, None, None, None, [1, 1], [0], [1, 1])
    with pytest.raises(RuntimeError, match=r"deform_conv2d: groups must divide out_channels, .* got 4 for 6"):
        operators._deform_conv2d_pack(weight, 4)
    with pytest.raises(
        RuntimeError, match=r"deform_conv2d: grad must have shape \(N, out_channels, out_h, out_w\), got \(1, 6, 3, 4\)"
    ):
        operators._deform_conv2d_backward(ones(1, 6, 3, 4), x, offset, weight, None, *sizes, [True] * 5)


def test_errors_of_the_module():
    with pytest.raises(ValueError, match=r"^DeformConv2d: groups must divide in_channels, got 2 for 3$"):
        ops.DeformConv2d(3, 4, 3, groups=2)
    with pytest.raises(ValueError, match=r"^DeformConv2d: groups must divide out_channels, got 3 for 4$"):
        ops.DeformConv2d(3, 4, 3, groups=3)
    with pytest.raises(ValueError, match=r"^DeformConv2d: stride must be an int or a pair of ints, got \(1, 2, 3\)$"):
        ops.DeformConv2d(3, 4, 3, stride=(1, 2, 3))


shapes = st.lists(st.integers(0, 5), max_size=5)
dtypes = st.sampled_from([torch.float32, torch.float64, torch.int64])
sizes = st.integers(-2, 4) | st.tuples(st.integers(-2, 4), st.integers(-2, 4))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_bad_arguments_raise(data):
    def draw(usual):
        shape = data.draw(st.just(usual) | st.just(usual) | shapes)
        return torch.zeros(shape, dtype=data.draw(st.just(torch.float32) | dtypes))

    tensors = draw([1, 4, 5, 5]), draw([1, 18, 3, 3]), draw([6, 4, 3, 3]), draw([6])
    geometry = [data.draw(st.just(usual) | sizes) for usual in (1, 0, 1)]
    mask = draw([1, 9, 3, 3])
    try:
        out = ops.deform_conv2d(*tensors, *geometry, mask=mask)
    except (ValueError, TypeError) as error:
        assert str(error).startswith("deform_conv2d: ")  # noqa: PT017
    else:
        assert out.shape[:2] == (tensors[0].shape[0], tensors[2].shape[0])
