"""Second derivatives that there are none of are refused: torch would warn and take zeros."""

import pytest
import torch

from saccade import ops

ROIS = torch.tensor([[0.0, 0.0, 0.0, 4.0, 5.0], [0.0, 1.0, 2.0, 6.0, 6.0]])
# Operation -> a function of maps (1, 4, 8, 9) that it differentiates.
REFUSING = {
    "conv2d": lambda x: ops.conv2d(x, torch.ones(3, 4, 2, 2)),
    "conv_transpose2d": lambda x: ops.conv_transpose2d(x, torch.ones(4, 3, 2, 2)),
    "deform_conv2d": lambda x: ops.deform_conv2d(x, torch.zeros(1, 8, 7, 8), torch.ones(3, 4, 2, 2)),
    "batch_norm": lambda x: ops.batch_norm(x, None, None, training=True),
    "max_pool2d": lambda x: ops.max_pool2d(x, 2),
    "avg_pool2d": lambda x: ops.avg_pool2d(x, 2),
    "adaptive_avg_pool2d": lambda x: ops.adaptive_avg_pool2d(x, 3),
    "roi_pool": lambda x: ops.roi_pool(x, ROIS, 2),
    "multiscale_roi_align": lambda x: ops.multiscale_roi_align([x, 2 * x], [ROIS[:, 1:]], 2, [1.0, 0.5]),
    "box_iou": lambda x: ops.box_iou(x.reshape(-1, 4), torch.tensor([[0.0, 0.0, 1.0, 1.0]])),
}


@pytest.mark.parametrize("name", REFUSING)
def test_refused(name):
    x = torch.rand(1, 4, 8, 9, requires_grad=True)
    (grad,) = torch.autograd.grad(REFUSING[name](x).sin().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=f"^{name}: differentiable once, not twice$"):
        torch.autograd.grad(grad.sum(), x)
