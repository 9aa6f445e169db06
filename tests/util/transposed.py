"""Transposed convolutions that the tests share."""

import torch

# Shapes of input and weight, stride, padding, output_padding, groups, dilation. Strides that divide the kernel and that
# do not, channels that fill registers and tiles and that do not, sums long enough to be cut.
CASES = {
    "k4 s2": ((2, 17, 7, 9), (17, 33, 4, 4), 2, 1, 0, 1, 1),
    "k4 s2, whole registers": ((1, 64, 6, 5), (64, 64, 4, 4), 2, 1, 1, 1, 1),
    "k2 s2": ((2, 33, 7, 6), (33, 40, 2, 2), 2, 0, 0, 1, 1),
    "k16 s8": ((1, 5, 6, 7), (5, 5, 16, 16), 8, 4, 0, 1, 1),
    "k64 s32": ((1, 3, 2, 3), (3, 3, 64, 64), 32, 16, 0, 1, 1),
    "k16 s8, groups": ((2, 21, 5, 6), (21, 1, 16, 16), 8, 4, 0, 21, 1),
    "k4 s2, depthwise": ((2, 18, 9, 21), (18, 1, 4, 4), 2, 1, 1, 18, 1),
    "k2 s2, depthwise": ((1, 5, 4, 40), (5, 1, 2, 2), 2, 0, 0, 5, 1),
    "k6 s3, depthwise multiplied": ((1, 7, 5, 6), (7, 3, 6, 6), 3, 2, 2, 7, 1),
    "k4 s2, small groups": ((2, 16, 5, 6), (16, 2, 4, 4), 2, 1, 0, 8, 1),
    "depthwise, any rows": ((1, 6, 5, 7), (6, 1, 3, 4), (2, 2), (1, 1), (1, 0), 6, (2, 1)),
    "depthwise, rows without taps": ((1, 6, 5, 7), (6, 1, 1, 4), (3, 2), 0, (2, 0), 6, 1),
    "k4 s2, groups": ((2, 32, 5, 6), (32, 24, 4, 4), 2, 1, 0, 2, 1),
    "k3 s2": ((2, 16, 7, 8), (16, 24, 3, 3), 2, 1, 1, 1, 1),
    "k3 s2, depthwise": ((2, 17, 7, 8), (17, 1, 3, 3), 2, 1, 1, 17, 1),
    "k3 s1": ((1, 16, 7, 8), (16, 20, 3, 3), 1, 1, 0, 1, 1),
    "k3 s1, depthwise": ((1, 19, 7, 8), (19, 1, 3, 3), 1, 1, 0, 19, 1),
    "k1": ((2, 9, 5, 6), (9, 17, 1, 1), 1, 0, 0, 1, 1),
    "k1 s3": ((1, 9, 4, 5), (9, 10, 1, 1), 3, 0, 2, 1, 1),
    "each axis its own": ((2, 15, 6, 5), (15, 17, 2, 6), (3, 2), (0, 3), (1, 1), 1, (2, 1)),
    "dilated": ((2, 8, 6, 7), (8, 9, 3, 2), (2, 1), (2, 1), (1, 0), 1, (2, 3)),
    "dilated beyond the stride": ((2, 2, 4, 4), (2, 2, 4, 5), (3, 2), (1, 2), (2, 3), 2, (4, 4)),
    "padding beyond the kernel": ((1, 9, 9, 8), (9, 9, 2, 2), 2, 4, 0, 1, 1),
    "stride beyond the kernel": ((1, 6, 4, 5), (6, 7, 2, 3), (5, 4), 0, (4, 0), 1, 1),
    "tall and wide": ((1, 8, 1, 40), (8, 8, 2, 4), (2, 2), (0, 1), 0, 1, 1),
    "one channel": ((2, 1, 8, 9), (1, 1, 4, 4), 2, 1, 0, 1, 1),
    "one channel to many": ((1, 1, 7, 7), (1, 100, 4, 4), 2, 1, 0, 1, 1),
    "many channels to one": ((1, 70, 6, 6), (70, 1, 4, 4), 2, 1, 0, 1, 1),
    "long sums": ((1, 530, 4, 5), (530, 9, 4, 4), 2, 1, 0, 1, 1),
    "very long sums": ((1, 1100, 3, 2), (1100, 18, 2, 2), 2, 0, 0, 1, 1),
    "one pixel": ((3, 33, 1, 1), (33, 17, 4, 4), 1, 0, 0, 1, 1),
}


def tensors(case, dtype=torch.float32, layout=torch.contiguous_format, device="cpu"):
    """Input, weight (results of variance about 1) and bias; and the other arguments by name."""
    input_shape, weight_shape, stride, padding, output_padding, groups, dilation = case
    generator = torch.Generator().manual_seed(sum(input_shape) + sum(weight_shape))
    x, weight, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in (input_shape, weight_shape, (weight_shape[1] * groups,))
    )
    weight /= max(1, input_shape[1] // groups) ** 0.5
    x = x.to(device, dtype).contiguous(memory_format=layout)
    sizes = {
        "stride": stride, "padding": padding, "output_padding": output_padding, "groups": groups, "dilation": dilation,
    }  # fmt: skip
    return (x, weight.to(device, dtype), bias.to(device, dtype)), sizes
