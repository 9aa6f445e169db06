"""torchvision's models, seeded random weights and statistics, rewritten: the same outputs."""

import pytest
import torch
from torch import nn

import saccade
from tests.util.tolerance import assert_close

models = pytest.importorskip("torchvision.models")


def randomised(model):
    """Statistics and affine parameters that a mistake in folding would show in."""
    for module in model.modules():
        if hasattr(module, "running_var"):
            with torch.no_grad():
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.0)
                module.bias.normal_(0, 0.1)
    return model.eval()


def small_resnext():
    return models.ResNet(models.resnet.Bottleneck, [1, 2, 1, 1], groups=32, width_per_group=4)


# Model -> size of the images, what explain says that ours and torch's calls are.
CLASSIFIERS = {
    "resnet18": (
        models.resnet18,
        64,
        "  ours: 9× conv2d + batch_norm + relu, 8× conv2d + batch_norm + residual + relu, 3× conv2d + batch_norm, "
        "1× max_pool2d, 1× adaptive_avg_pool2d, 1× linear",
    ),
    "resnext": (
        small_resnext,
        64,
        "  ours: 11× conv2d + batch_norm + relu, 5× conv2d + batch_norm + residual + relu, 4× conv2d + batch_norm, "
        "1× max_pool2d, 1× adaptive_avg_pool2d, 1× linear",
    ),
    "mobilenet_v2": (
        models.mobilenet_v2,
        64,
        "  ours: 42× conv2d + batch_norm, 10× conv2d + batch_norm + residual, 1× adaptive_avg_pool2d, "
        "1× linear\n"
        "  left to torch: 35× ReLU6",
    ),
    "densenet121": (
        models.densenet121,
        48,
        "  ours: 62× batch_norm + relu, 61× conv2d, 59× conv2d + batch_norm + relu, 3× avg_pool2d, 1× max_pool2d, "
        "1× adaptive_avg_pool2d, 1× linear\n"
        "  left to torch: 62× cat",
    ),
    "shufflenet_v2_x0_5": (
        models.shufflenet_v2_x0_5,
        64,
        "  ours: 37× conv2d + batch_norm + relu, 19× conv2d + batch_norm, 1× max_pool2d, 1× linear\n"
        "  left to torch: 16× cat, 16× floordiv, 16× transpose, 13× chunk, 1× mean",
    ),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier(name):
    make, side, becomes = CLASSIFIERS[name]
    model = randomised(make(num_classes=10) if name != "resnext" else make())
    images = torch.rand(2, 3, side, side)
    fast = saccade.accelerate(model, images)
    assert saccade.explain(fast) == f"the model ({type(model).__name__})\n{becomes}"
    assert list(fast.state_dict()) == list(model.state_dict())
    with torch.no_grad():
        assert_close(fast(images), model(images), "reduction")
        assert_close(fast(images[:1]), model(images[:1]), "reduction")


def test_bfloat16():
    model = randomised(models.resnet18(num_classes=10))
    images = torch.rand(1, 3, 64, 64)
    fast = saccade.accelerate(model, images, dtype=torch.bfloat16)
    with torch.no_grad():
        out, expected = fast(images), model(images)
    assert out.dtype == torch.float32
    assert_close(out.bfloat16(), expected, "reduction")


@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_resnet50"])
def test_segmentation(name):
    make = getattr(models.segmentation, name)
    model = randomised(make(weights=None, weights_backbone=None, num_classes=5, aux_loss=True))
    images = torch.rand(1, 3, 40, 33)
    fast = saccade.accelerate(model, images)
    assert "16× conv2d + batch_norm + residual + relu" in saccade.explain(fast)
    with torch.no_grad():
        ours, theirs = fast(images), model(images)
    assert type(ours) is type(theirs)
    assert list(ours) == list(theirs) == ["out", "aux"]
    for key in theirs:
        assert ours[key].is_contiguous()
        assert_close(ours[key], theirs[key], "reduction")


DETECTORS = {
    "fasterrcnn_resnet50_fpn": [
        "backbone (BackboneWithFPN)",
        "rpn.head.conv (Sequential)",
        "box_head (TwoMLPHead)\n  ours: 2× linear + relu",
        "MultiScaleRoIAlign: 1",
    ],
    "maskrcnn_resnet50_fpn": ["backbone (BackboneWithFPN)", "roi_heads.mask_head (MaskRCNNHeads)", "RoIAlign: 2"],
    "retinanet_resnet50_fpn": ["backbone (BackboneWithFPN)", "head.regression_head.conv (Sequential)"],
}


@pytest.mark.parametrize("name", DETECTORS)
def test_detector(name):
    make = getattr(models.detection, name)
    few = {"score_thresh": 0.005} if "retina" in name else {"box_detections_per_img": 5}
    model = randomised(make(weights=None, weights_backbone=None, num_classes=4, min_size=64, max_size=96, **few))
    images = [torch.rand(3, 60, 80), torch.rand(3, 64, 50)]
    # Each part is compared on the model's own intermediate values: see accelerate.
    fast = saccade.accelerate(model, (images,))
    for part in DETECTORS[name]:
        assert part in saccade.explain(fast)
    with torch.no_grad():
        ours, theirs = fast(images), model(images)
    assert [list(found) for found in ours] == [list(found) for found in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert len(a["scores"]) > 0
        # Scores of random weights lie so close together that roundings decide which box comes first.
        torch.testing.assert_close(a["scores"], b["scores"], rtol=0, atol=1e-4)
        assert {key: (value.shape, value.dtype) for key, value in a.items()} == {
            key: (value.shape, value.dtype) for key, value in b.items()
        }


def test_detector_in_bfloat16():
    make = models.detection.fasterrcnn_resnet50_fpn
    model = randomised(make(weights=None, weights_backbone=None, num_classes=4, min_size=64, max_size=96))
    fast = saccade.accelerate(model, ([torch.rand(3, 60, 80)],), dtype=torch.bfloat16)
    assert fast.backbone.body.conv1.weight.dtype == torch.bfloat16
    assert fast.backbone.body.bn1.running_var.dtype == torch.float32
    assert fast.roi_heads.box_predictor.cls_score.weight.dtype == torch.float32
    assert fast.roi_heads.box_head.fc6.weight.dtype == torch.float32
    (found,) = fast([torch.rand(3, 60, 80)])
    assert found["boxes"].dtype == torch.float32


def test_frozen_batch_norm_of_ours():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), saccade.ops.FrozenBatchNorm2d(4), nn.ReLU())
    model[1].running_mean.normal_()
    x = torch.rand(1, 3, 6, 6)
    fast = saccade.accelerate(model.eval(), x)
    assert saccade.explain(fast).endswith("ours: 1× conv2d + batch_norm + relu")
    assert_close(fast(x), model(x).detach(), "reduction")


def test_transformer():
    model = models.VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5).eval()
    torch.nn.init.normal_(model.heads.head.weight)
    images = torch.rand(2, 3, 32, 32)
    fast = saccade.accelerate(model, images)
    assert "linear" in saccade.explain(fast)
    with torch.no_grad():
        assert_close(fast(images), model(images), "reduction")
