"""Deformable convolutions that the tests share."""

import torch

from saccade.ops._conv import output_shape
from tests.util.convolutions import FORMATS

# Shapes of input and weight, stride, padding, dilation, offset groups. Channels that fill registers and panels and that
# do not, sums long enough to be cut, groups and offset groups that divide each other and that do not.
CASES = {
    "3x3": ((2, 17, 9, 11), (33, 17, 3, 3), 1, 1, 1, 1),
    "3x3, whole registers": ((1, 64, 7, 6), (72, 64, 3, 3), 1, 1, 1, 1),
    "long sums": ((1, 150, 5, 6), (20, 150, 3, 3), 1, 1, 1, 1),
    "more channels than a block": ((1, 1100, 3, 4), (9, 1100, 1, 2), 1, 0, 1, 4),
    "many results": ((2, 12, 24, 25), (12, 12, 3, 3), 1, 1, 1, 1),
    "stride 2": ((2, 16, 9, 12), (24, 16, 3, 3), 2, 1, 1, 1),
    "1x1": ((2, 33, 5, 7), (17, 33, 1, 1), 1, 0, 1, 1),
    "dilated, stride": ((2, 15, 11, 14), (17, 15, 2, 3), (3, 2), (2, 3), (2, 3), 3),
    "padding beyond the kernel": ((1, 9, 4, 5), (9, 9, 3, 3), 1, 5, 1, 1),
    "groups": ((2, 32, 7, 8), (48, 16, 3, 3), 1, 1, 1, 1),
    "offset groups": ((2, 24, 7, 8), (10, 24, 3, 3), 1, 1, 1, 4),
    "groups within offset groups": ((2, 32, 7, 8), (48, 4, 3, 3), 1, 1, 1, 2),
    "groups across offset groups": ((1, 36, 6, 5), (27, 12, 3, 3), 1, 1, 1, 2),
    "an offset group for each channel": ((1, 9, 6, 5), (12, 3, 3, 3), 2, 1, 1, 9),
    "depthwise": ((2, 17, 9, 10), (17, 1, 3, 3), 1, 1, 1, 1),
    "depthwise multiplied": ((2, 15, 9, 10), (45, 1, 5, 3), 2, (2, 1), 1, 5),
    "one channel": ((2, 1, 8, 9), (1, 1, 5, 5), 1, 2, 1, 1),
    "many channels to one": ((1, 70, 6, 6), (1, 70, 3, 3), 1, 1, 1, 2),
    "one pixel": ((3, 33, 1, 1), (17, 33, 3, 3), 1, 1, 1, 3),
    "one row": ((1, 16, 1, 40), (16, 16, 1, 5), (1, 2), (0, 2), 1, 1),
    "planes too large to turn": ((1, 16, 12, 13), (4, 16, 2, 2), 4, 0, 1, 1),
}
__all__ = ["CASES", "FORMATS", "pairs", "tensors"]


def pairs(*sizes):
    return [size if isinstance(size, tuple) else (size, size) for size in sizes]


def tensors(case, dtype=torch.float32, layout=torch.contiguous_format, device="cpu", spread=2.0):
    """Input, offset (deviation ``spread``), weight (results of variance about 1), bias, mask; the sizes by name."""
    input_shape, weight_shape, stride, padding, dilation, groups = case
    names = "stride", "padding", "dilation"
    sizes = dict(zip(names, pairs(stride, padding, dilation), strict=True))
    generator = torch.Generator().manual_seed(sum(input_shape) + sum(weight_shape))

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x, weight, bias = draw(*input_shape), draw(*weight_shape), draw(weight_shape[0])
    top, left = sizes["padding"]
    out = output_shape(x, weight, sizes["stride"], [top, top, left, left], sizes["dilation"])[2:]
    taps = groups * weight_shape[2] * weight_shape[3]
    offset, mask = draw(input_shape[0], 2 * taps, *out) * spread, draw(input_shape[0], taps, *out).sigmoid()
    weight /= max(1, weight[0].numel()) ** 0.5
    made = [t.to(device, dtype) for t in (x, offset, weight, bias, mask)]
    for i in (0, 1, 4):
        made[i] = made[i].contiguous(memory_format=layout)
    return made, sizes
