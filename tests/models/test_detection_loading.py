"""Checkpoints of detectors: torchvision's present names, and those of its first COCO weights."""

import re

import pytest
import torch

import saccade
from saccade.ops import FrozenBatchNorm2d
from tests.util.reference_models import relative

torchvision = pytest.importorskip("torchvision")

NAMES = ["fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn"]


def old_names(state):
    """As torchvision 0.11 and before wrote them."""
    old = {}
    for key, value in state.items():
        key = re.sub(r"(fpn\.(inner|layer)_blocks\.\d)\.0\.", r"\1.", key)
        key = re.sub(r"rpn\.head\.conv\.0\.0\.", "rpn.head.conv.", key)
        key = re.sub(r"(ion_head\.conv)\.(\d)\.0\.", lambda m: f"{m[1]}.{2 * int(m[2])}.", key)
        key = re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", key)
        old[key] = value
    assert len(old) == len(state)
    return old


def theirs(name, frozen=True):
    norm = torchvision.ops.FrozenBatchNorm2d if frozen else torch.nn.BatchNorm2d
    backbone = torchvision.models.detection.backbone_utils._resnet_fpn_extractor
    resnet = torchvision.models.resnet50(norm_layer=norm)
    kind = torchvision.models.detection
    if name == "retinanet_resnet50_fpn":
        block = torchvision.ops.feature_pyramid_network.LastLevelP6P7(256, 256)
        return kind.RetinaNet(backbone(resnet, 3, returned_layers=[2, 3, 4], extra_blocks=block), 4)
    kind = kind.MaskRCNN if name.startswith("mask") else kind.FasterRCNN
    return kind(backbone(resnet, 3), 4)


@pytest.mark.parametrize("how", ["load_checkpoint", "load_state_dict"])
@pytest.mark.parametrize("name", NAMES)
def test_old_names(name, how):
    state = theirs(name).state_dict()
    old = old_names(state)
    assert set(old) != set(state)
    model = saccade.models.build(name, num_classes=4, norm_layer=FrozenBatchNorm2d)
    if how == "load_checkpoint":
        report = saccade.models.load_checkpoint(model, old)
        assert report.fits
        assert report.renamed == ["torchvision detection 1"]
    else:
        model.load_state_dict(old)
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert {m.eps for m in model.modules() if isinstance(m, FrozenBatchNorm2d)} == {0.0}


def test_old_weights_give_the_old_features():
    """Small variances, as trained networks have them in places: with ``eps`` the features would be others."""
    model, other = (saccade.models.fasterrcnn_resnet50_fpn(4, norm_layer=FrozenBatchNorm2d) for _ in range(2))
    reference = theirs("fasterrcnn_resnet50_fpn")
    state = reference.state_dict()
    for key, value in state.items():
        if key.endswith("running_var"):
            value.fill_(3e-5)
            state[key.replace("running_var", "weight")].fill_(4e-3)
    model.load_state_dict(old_names(state))
    other.load_state_dict(state)
    torchvision.models.detection._utils.overwrite_eps(reference, 0.0)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for name, expected in reference.backbone(images).items():
            assert relative(model.backbone(images)[name], expected) < 1e-4
            assert relative(other.backbone(images)[name], expected) > 0.1


def test_present_names_keep_eps():
    model = saccade.models.fasterrcnn_resnet50_fpn(4, norm_layer=FrozenBatchNorm2d)
    report = saccade.models.load_checkpoint(model, theirs("fasterrcnn_resnet50_fpn").state_dict())
    assert report.renamed == []
    assert {m.eps for m in model.modules() if isinstance(m, FrozenBatchNorm2d)} == {1e-5}


def test_counters_are_dropped_where_batch_norms_are_frozen():
    state = theirs("fasterrcnn_resnet50_fpn", frozen=False).state_dict()
    model = saccade.models.fasterrcnn_resnet50_fpn(4, norm_layer=FrozenBatchNorm2d)
    assert (len(state), len(model.state_dict())) == (348, 295)
    assert saccade.models.load_checkpoint(model, state).fits
    assert torch.equal(model.backbone.body.bn1.running_mean, state["backbone.body.bn1.running_mean"])


def test_what_does_not_fit_changes_nothing():
    model = saccade.models.fasterrcnn_small(norm_layer=FrozenBatchNorm2d)
    old = old_names(model.state_dict())
    del old["rpn.head.conv.weight"]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(saccade.models.CheckpointError) as error:
        saccade.models.load_checkpoint(model, {key: value + 1 for key, value in old.items()})
    assert error.value.report.missing == ["rpn.head.conv.0.0.weight"]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert {m.eps for m in model.modules() if isinstance(m, FrozenBatchNorm2d)} == {1e-5}


def test_a_backbone_of_imagenet():
    resnet = torchvision.models.resnet50().state_dict()
    model = saccade.models.retinanet_resnet50_fpn(4)
    report = saccade.models.load_checkpoint(model.backbone.body, resnet, strict=False)
    assert report.missing == []
    assert report.unexpected == ["fc.weight", "fc.bias"]
    assert torch.equal(model.backbone.body.layer4[2].conv3.weight, resnet["layer4.2.conv3.weight"])


def test_saved_and_loaded(tmp_path):
    model = saccade.models.maskrcnn_small(num_classes=4)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other = saccade.models.maskrcnn_small(num_classes=4)
    assert saccade.models.load_checkpoint(other, tmp_path / "weights.pt").fits
    images = [torch.rand(3, 40, 50)]
    with torch.no_grad():
        for key, value in model.eval()(images)[0].items():
            assert torch.equal(other.eval()(images)[0][key], value)
