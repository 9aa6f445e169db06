"""Dilated residual networks beside a plain forward over the same state dict."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional

import saccade
from tests.util.drn_reference import Drn
from tests.util.reference_models import randomised, relative

NAMES = [name for name in saccade.models.list_models() if name.startswith("drn_") and "seg" not in name]


def test_names():
    assert NAMES == sorted(
        ["drn_a_50", "drn_c_26", "drn_c_42", "drn_c_58"] + [f"drn_d_{depth}" for depth in (22, 24, 38, 40, 54, 56, 105)]
    )


@pytest.mark.parametrize("name", ["drn_a_50", "drn_c_26", "drn_c_58", "drn_d_24"])
def test_logits(name):
    arch = name[4].upper()
    model = randomised(saccade.models.build(name, num_classes=7)).eval()
    images = torch.rand(2, 3, 32, 24)
    with torch.no_grad():
        assert model.features(images).shape == (2, model.out_dim, 4, 3)
        assert relative(model(images), Drn(model.state_dict(), arch)(images)) < 1e-4
        model, images = model.double().train(), images.double()
        expected = Drn(model.state_dict(), arch, training=True)(images)
        assert relative(model(images), expected) < 1e-10


@pytest.mark.parametrize("name", ["drn_c_26", "drn_d_22"])
def test_gradients(name):
    model = randomised(saccade.models.build(name, num_classes=3)).double()
    images, labels = torch.rand(2, 3, 16, 16, dtype=torch.float64), torch.tensor([0, 2])
    state = {key: value.detach().clone().requires_grad_(value.is_floating_point()) for key, value in
             model.state_dict().items()}  # fmt: skip
    functional.cross_entropy(model(images), labels).backward()
    functional.cross_entropy(Drn(state, name[4].upper(), training=True)(images), labels).backward()
    for key, parameter in model.named_parameters():
        assert relative(parameter.grad, state[key].grad) < 1e-8, key


@pytest.mark.parametrize("name", NAMES)
def test_depth_and_keys(name):
    with torch.device("meta"):
        model = saccade.models.build(name)
    names = [n for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and "downsample" not in n]
    # A counts as ResNet does. C and D count all convolutions; the classifier is one of them.
    assert len(names) == int(name[6:])
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if name.startswith("drn_a"):
        assert shapes["fc.weight"] == (1000, 2048)
        assert {key.split(".")[0] for key in shapes} == {"conv1", "bn1", "fc", *(f"layer{i}" for i in range(1, 5))}
        return
    assert shapes["fc.weight"] == (1000, 512, 1, 1)
    stem = {"conv1", "bn1"} if "_c_" in name else {"layer0"}
    assert {key.split(".")[0] for key in shapes} == {*stem, "fc", *(f"layer{i}" for i in range(1, 9))}
    widths = [next(v[0] for k, v in shapes.items() if k.startswith(f"layer{i}.0.")) for i in (1, 2, 7, 8)]
    assert widths == [16, 32, 512, 512]
    if "_d_" in name:
        assert shapes["layer0.0.weight"] == (16, 3, 7, 7)
        assert all(re.fullmatch(r"layer[01278]\.\d+\.\w+", key) for key in shapes if key[5] in "01278")


def test_what_lies_idle_is_frozen():
    with torch.device("meta"):
        model = saccade.models.drn_c_58()
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert frozen == [f"layer7.0.downsample.{key}" for key in ("0.weight", "1.weight", "1.bias")]


def test_initial_weights():
    model = saccade.models.drn_d_22()
    conv = model.layer6[1].conv2
    assert conv.weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)
    assert model.fc.weight.std().item() == pytest.approx((2 / 1000) ** 0.5, rel=0.01)


def test_accelerated():
    for name in ("drn_c_26", "drn_d_22"):
        model = randomised(saccade.models.build(name, num_classes=5)).eval()
        images = torch.rand(1, 3, 32, 32)
        fast = saccade.accelerate(model, images)
        assert "left to torch: 1× flatten" in saccade.explain(fast) or "left to torch" not in saccade.explain(fast)
        assert "conv2d + batch_norm + residual + relu" in saccade.explain(fast)
        with torch.no_grad():
            assert relative(fast(images), model(images)) < 1e-4


@pytest.mark.parametrize(("name", "parts"), [("drn_a_50", 8), ("drn_c_26", 11), ("drn_d_22", 9)])
def test_backbone_of_a_segmentation_network(name, parts):
    model, other = (saccade.models.build(name, num_classes=3) for _ in range(2))
    base = nn.Sequential(*list(model.children())[:-2])  # how fyu/drn makes one
    assert len(base) == parts
    state = {f"base.{key}": value for key, value in base.state_dict().items()}
    state |= {"seg.weight": torch.zeros(3, 512, 1, 1), "up.weight": torch.zeros(3, 1, 16, 16)}
    report = saccade.models.load_checkpoint(other, state, strict=False)
    assert report.renamed == ["fyu/drn segmentation"]
    assert (report.missing, report.unexpected) == (["fc.weight", "fc.bias"], ["seg.weight", "up.weight"])
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(other.eval().features(images), model.eval().features(images))


def test_weights_of_a_resnet_fit_drn_a():
    resnet = saccade.models.resnet50(num_classes=3)
    assert saccade.models.load_checkpoint(saccade.models.drn_a_50(num_classes=3), resnet.state_dict()).fits


@pytest.mark.parametrize(("name", "op"), [("drn_a_50", "DRN-A"), ("drn_c_26", "DRN-C"), ("drn_d_22", "DRN-D")])
def test_errors(name, op):
    with torch.device("meta"):
        model = saccade.models.build(name)
    with pytest.raises(ValueError, match=rf"^{op}: images must have shape \(N, 3, H, W\), got \(1, 4, 8, 8\)$"):
        model(torch.zeros(1, 4, 8, 8))
    with pytest.raises(ValueError, match=rf"^{op}: num_classes must be at least 1, got 0$"):
        saccade.models.build(name, num_classes=0)
