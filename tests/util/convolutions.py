"""Convolutions that the tests share."""

import torch

# Shapes of input and weight, stride, padding, dilation, groups. Channels that fill registers and tiles and that do not,
# groups of many and of few channels, images smaller than a tile and than the kernel, sums long enough to be cut.
CASES = {
    "3x3": ((2, 17, 9, 11), (33, 17, 3, 3), 1, 1, 1, 1),
    "3x3, whole registers": ((1, 64, 7, 6), (72, 64, 3, 3), 1, 1, 1, 1),
    "1x1, rows of seven": ((2, 6, 2, 7), (6, 3, 1, 1), 1, 0, 1, 2),
    "1x3, far apart": ((1, 3, 8, 15), (7, 3, 1, 3), 1, (0, 30), 30, 1),
    "3x3 stride 2": ((2, 16, 9, 12), (24, 16, 3, 3), 2, 1, 1, 1),
    "3x3 many pixels": ((2, 12, 24, 25), (12, 12, 3, 3), 1, 1, 1, 1),
    "1x1": ((2, 33, 5, 7), (17, 33, 1, 1), 1, 0, 1, 1),
    "1x1 stride 2": ((1, 16, 7, 8), (40, 16, 1, 1), 2, 0, 1, 1),
    "first layer": ((1, 3, 15, 18), (32, 3, 7, 7), 2, 3, 1, 1),
    "dilated": ((1, 16, 12, 13), (16, 16, 3, 3), 1, 2, 2, 1),
    "dilated, stride": ((2, 15, 11, 14), (17, 15, 2, 3), (3, 2), (2, 3), (2, 3), 1),
    "dilation a multiple of the stride": ((1, 9, 12, 13), (10, 9, 3, 3), (2, 3), (3, 4), (4, 3), 1),
    "padding beyond the kernel": ((1, 9, 4, 5), (9, 9, 3, 3), 1, 5, 1, 1),
    "groups": ((2, 32, 7, 8), (48, 16, 3, 3), 1, 1, 1, 2),
    "odd groups, stride 2": ((1, 45, 6, 5), (51, 15, 3, 3), 2, 1, 1, 3),
    "small groups": ((2, 16, 6, 9), (24, 4, 3, 3), 1, 1, 1, 4),
    "depthwise": ((2, 17, 9, 10), (17, 1, 3, 3), 1, 1, 1, 17),
    "depthwise, many pixels": ((1, 3, 47, 51), (3, 1, 3, 3), 1, 1, 1, 3),
    "depthwise 3x3, stride 2": ((1, 33, 9, 21), (33, 1, 3, 3), 2, 1, 1, 33),
    "depthwise 5x5": ((2, 35, 13, 20), (35, 1, 5, 5), 1, 2, 1, 35),
    "depthwise 7x7, stride 2": ((1, 33, 21, 19), (33, 1, 7, 7), 2, 3, 1, 33),
    "depthwise 7x7, narrow": ((1, 16, 9, 3), (16, 1, 7, 7), 1, 3, 1, 16),
    "depthwise multiplied, stride 2": ((2, 15, 9, 10), (45, 1, 5, 3), 2, (2, 1), 1, 15),
    "depthwise, dilated": ((1, 32, 8, 9), (32, 1, 3, 3), 1, 2, 2, 32),
    "depthwise, far apart": ((1, 17, 8, 9), (17, 1, 2, 2), 1, 35, 70, 17),
    "groups of two": ((1, 6, 5, 6), (6, 2, 3, 3), 1, 1, 1, 3),
    "groups of four": ((2, 36, 9, 11), (36, 4, 3, 3), 1, 1, 1, 9),
    "groups of eight, stride 2": ((1, 40, 11, 9), (40, 8, 3, 3), 2, 1, 1, 5),
    "one channel": ((2, 1, 8, 9), (1, 1, 5, 5), 1, 2, 1, 1),
    "one channel to many": ((1, 1, 7, 7), (100, 1, 3, 3), 1, 1, 1, 1),
    "many channels to one": ((1, 70, 6, 6), (1, 70, 3, 3), 1, 1, 1, 1),
    "one pixel": ((3, 33, 1, 1), (17, 33, 3, 3), 1, 1, 1, 1),
    "one row": ((1, 16, 1, 40), (16, 16, 1, 5), (1, 2), (0, 2), 1, 1),
    "even kernel": ((1, 16, 7, 9), (20, 16, 4, 2), 1, (1, 1), 1, 1),
    "stride beyond the image": ((1, 12, 5, 6), (12, 12, 2, 2), (7, 4), 0, 1, 1),
    "patches": ((2, 8, 12, 8), (24, 8, 4, 4), 4, 0, 1, 1),
}
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
FORMATS = [torch.contiguous_format, torch.channels_last]


def tensors(case, dtype=torch.float32, layout=torch.contiguous_format, device="cpu"):
    """Input, weight (results of variance 1) and bias; and the other arguments by name."""
    input_shape, weight_shape, stride, padding, dilation, groups = case
    generator = torch.Generator().manual_seed(sum(input_shape) + sum(weight_shape))
    x, weight, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in (input_shape, weight_shape, weight_shape[:1])
    )
    weight /= max(1, weight[0].numel()) ** 0.5
    x = x.to(device, dtype).contiguous(memory_format=layout)
    sizes = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (x, weight.to(device, dtype), bias.to(device, dtype)), sizes


def has_format_of(x, result):
    """Whether the result lies in memory as ``x`` does (contiguous where ``x`` is channels_last as well)."""
    return result.is_contiguous(memory_format=FORMATS[0] if x.is_contiguous() else FORMATS[1])
