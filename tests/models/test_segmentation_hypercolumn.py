"""Hypercolumns of models that torch.fx traces, and of others."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import saccade
from saccade.models import hypercolumn
from tests.util.reference_models import randomised, relative


def outputs(model, layers, images):
    """Copies of what the layers return, taken by hooks."""
    found = {}

    def keep(name):
        return lambda module, inputs, output: found.__setitem__(name, output.clone())

    handles = [model.get_submodule(name).register_forward_hook(keep(name)) for name in layers]
    model(images)
    for handle in handles:
        handle.remove()
    return [found[name] for name in layers]


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.relu, self.second = nn.Conv2d(3, 4, 3, 2), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3, 2)
        self.idle = nn.Conv2d(1, 1, 1)

    def forward(self, images):
        maps = self.relu(self.first(images))
        return self.second(maps) if maps.sum() > 0 else maps


BACKBONES = {
    "resnet": (lambda: saccade.models.resnet_small(), ["layer1.0.conv1", "layer2", "layer3.2"], (16, 32, 64)),
    "alexnet, before and after ReLU": (
        lambda: saccade.models.alexnet(num_classes=2), ["features.0", "features.1", "features.10"], (64, 64, 256)
    ),
    "untraceable": (Untraceable, ["first", "second"], (4, 5)),
}  # fmt: skip


@pytest.mark.parametrize("name", BACKBONES)
def test_classifier_of_columns(name):
    make, layers, channels = BACKBONES[name]
    backbone = randomised(make()).eval()
    model = hypercolumn(backbone, layers, num_classes=3).eval()
    images = torch.rand(2, 3, 67, 70)
    with torch.no_grad():
        maps = outputs(backbone, layers, images)
        assert model.channels == channels == tuple(m.shape[1] for m in maps)
        columns = torch.cat([functional.interpolate(m, size=(67, 70), mode="bilinear") for m in maps], 1)
        assert relative(model.columns(images), columns) < 1e-5
        weight = torch.cat([part.weight for part in model.classifiers], 1)
        expected = functional.conv2d(columns, weight, model.classifiers[0].bias)
        assert relative(model(images), expected) < 1e-4


def test_what_follows_is_left_out():
    backbone = saccade.models.resnet18(num_classes=5)
    model = hypercolumn(backbone, ["layer2", "layer1"], num_classes=2)
    assert model.channels == (128, 64)
    keys = {key.split(".")[1] for key in model.state_dict() if key.startswith("backbone.")}
    assert keys == {"conv1", "bn1", "layer1", "layer2"}
    assert model.backbone.conv1 is backbone.conv1
    assert model.backbone.training
    assert torch.equal(backbone.bn1.running_mean, torch.zeros(64))  # finding out the channels left no trace
    model(torch.rand(2, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_part_of_a_layer_that_is_one_call():
    inner = pytest.importorskip("torchvision.ops").SqueezeExcitation(6, 2)
    model = hypercolumn(nn.Sequential(nn.Conv2d(3, 6, 3), inner), ["1.fc1", "0"], num_classes=2).eval()
    images = torch.rand(1, 3, 9, 9)
    assert model.channels == (2, 6)
    with torch.no_grad():
        expected = [inner.fc1(inner.avgpool(model.features(images)[1])), model.backbone.model[0](images)]
        assert all(torch.equal(a, b) for a, b in zip(model.features(images), expected, strict=True))


def test_initial_weights():
    model = hypercolumn("resnet_small", ["layer1", "layer3"], num_classes=50)
    weight = torch.cat([part.weight for part in model.classifiers], 1)
    assert weight.abs().max().item() == pytest.approx(1 / 80**0.5, rel=0.01)
    assert sum(part.bias is not None for part in model.classifiers) == 1


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((3, ["a"]), TypeError, "hypercolumn: backbone must be a torch.nn.Module, got int"),
        (("resnet_small", []), ValueError, "hypercolumn: layers must be one name at least, in a sequence, got []"),
        (("resnet_small", "fc"), ValueError, "hypercolumn: layers must be one name at least, in a sequence, got 'fc'"),
        (("resnet_small", ["layer9"]), ValueError,
         "hypercolumn: layers must be submodules of the backbone, got 'layer9'"),
        (("resnet_small", ["fc"]), ValueError,
         "hypercolumn: layers must return maps (N, C, H, W), got (1, 10) from 'fc'"),
        ((Untraceable(), ["idle"]), ValueError,
         "hypercolumn: layers must be called in the backbone's forward, got 'idle'"),
        ((nn.ModuleDict({"a": nn.ReLU()}), ["a"], 0), ValueError, "hypercolumn: num_classes must be at least 1, got 0"),
        (("resnet_small", ["layer1"], 2, 3, (1, 2)), ValueError,
         "hypercolumn: channels must have 1 values, got [1, 2]"),
    ],
)  # fmt: skip
def test_errors(arguments, kind, message):
    with pytest.raises(kind) as error:
        hypercolumn(*arguments)
    assert str(error.value) == message


def test_errors_of_images():
    with pytest.raises(ValueError, match=r"^hypercolumn: images must have shape \(N, 3, H, W\), got \(1, 1, 8, 8\)$"):
        saccade.models.hypercolumn_small(num_classes=2)(torch.rand(1, 1, 8, 8))
    assert saccade.models.hypercolumn_small(num_classes=2).eval()(torch.rand(1, 3, 1, 1)).shape == (1, 2, 1, 1)
