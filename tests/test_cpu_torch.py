"""The torch operators in an environment with nothing but torch: also run beside an older, CPU-only build of it."""

import torch

from saccade import ops


def test_nms_runs():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]])
    assert ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist() == [0, 2]


def test_roi_align_and_its_gradient_run():
    features = torch.arange(32.0).reshape(1, 2, 4, 4).requires_grad_()
    boxes = torch.tensor([[0.0, 0, 0, 4, 4]])
    out = ops.roi_align(features, boxes, 2, aligned=True)
    assert out.shape == (1, 2, 2, 2)
    out.sum().backward()
    assert features.grad.sum().item() == 8.0


def test_integral_image_runs():
    image = torch.ones(3, 5, dtype=torch.uint8)
    assert ops.integral_image(image)[..., -1, -1].item() == 15


def test_every_operator_has_a_schema_and_a_fake_kernel():
    for name in ops.__all__:
        assert callable(getattr(ops, name)), name
