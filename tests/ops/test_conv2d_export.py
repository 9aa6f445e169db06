"""An exported convolution whose sizes are left open."""

import pytest
import torch

from saccade import nn
from tests.util.tolerance import assert_close


@pytest.mark.parametrize("open_sizes", [(0,), (2,), (0, 2, 3)])
def test_export(open_sizes):
    conv = nn.Conv2d(64, 64, 3, padding=1).eval()  # one that Winograd's algorithm serves
    images = torch.randn(2, 64, 32, 32)
    sizes = {size: torch.export.Dim(f"size{size}", min=2, max=64) for size in open_sizes}
    run = torch.export.export(conv, (images,), dynamic_shapes=(sizes,)).module()
    shape = [3 if size == 0 and 0 in sizes else 20 if size in sizes else images.shape[size] for size in range(4)]
    for other in (images, torch.randn(shape)):
        assert_close(run(other).detach(), conv(other).detach(), "reduction")
