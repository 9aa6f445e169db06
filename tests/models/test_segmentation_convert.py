"""Fully connected layers as convolutions."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn import functional

import saccade
from saccade.models import convert_to_fcn
from tests.util.reference_models import randomised, relative

# Name -> options, shape of an image, shape of a larger one, what the larger one gives.
CLASSIFIERS = {
    "lenet5": ({}, (1, 32, 32), (1, 40, 36), (3, 2)),
    "alexnet": ({"num_classes": 5}, (3, 224, 224), (3, 256, 224), (2, 1)),
    "resnet_small": ({}, (3, 16, 24), (3, 24, 24), (3, 1)),
    "drn_d_22": ({"num_classes": 5}, (3, 16, 16), (3, 24, 32), (2, 3)),
    "mlp": ({"in_features": (3, 6, 5), "num_classes": 4}, (3, 6, 5), (3, 8, 5), (3, 1)),
}


def classifier(name):
    torch.manual_seed(4)
    return randomised(saccade.models.build(name, **CLASSIFIERS[name][0])).eval()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_equals_the_classifier(name):
    _, size, larger, positions = CLASSIFIERS[name]
    model = classifier(name)
    before = copy.deepcopy(model.state_dict())
    images = torch.rand(2, *size)
    fcn = convert_to_fcn(model, images[:1])
    with torch.no_grad():
        expected = model(images)
        assert relative(fcn(images), expected[:, :, None, None]) < 1e-5
        assert fcn(torch.rand(1, *larger)).shape == (1, expected.shape[1], *positions)
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    state = fcn.state_dict()
    for key, value in before.items():
        key = key.replace("output.centers", "output.layer.centers")
        assert torch.equal(state[key].flatten(), value.flatten()), key


def test_shapes_of_the_kernels():
    shapes = {key: tuple(value.shape) for key, value in
              convert_to_fcn(classifier("alexnet"), torch.rand(1, 3, 224, 224)).state_dict().items()}  # fmt: skip
    assert shapes["classifier.1.weight"] == (4096, 256, 6, 6)
    assert shapes["classifier.4.weight"] == (4096, 4096, 1, 1)
    assert shapes["classifier.6.weight"] == (5, 4096, 1, 1)


def test_vgg_pools_to_the_size_of_its_maps():
    model = saccade.models.vgg16(num_classes=2)
    model.features = nn.Sequential(*model.features[:5])  # its maps: 64 x h/2 x w/2, pooled to 7 x 7
    model.classifier = nn.Sequential(nn.Linear(64 * 49, 8), nn.ReLU(True), nn.Dropout(), nn.Linear(8, 2))
    model.eval()
    images = torch.rand(2, 3, 42, 42)
    fcn = convert_to_fcn(model, images)
    assert tuple(fcn.state_dict()["classifier.0.weight"].shape) == (8, 64, 7, 7)
    with torch.no_grad():
        assert relative(fcn(images), model(images)[:, :, None, None]) < 1e-5
        assert fcn(torch.rand(1, 3, 84, 48)).shape == (1, 2, 8, 2)


class Valid(nn.Module):
    """Without padding, so that a map holds what the classifier says of each crop."""

    def __init__(self, flatten):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(2, 4, 3), nn.MaxPool2d(2)
        self.flatten = flatten
        self.fc1, self.norm, self.fc2 = nn.Linear(4 * 2 * 3, 7), nn.BatchNorm1d(7), nn.Linear(7, 3, bias=False)

    def forward(self, x):
        x = self.flatten(self.pool(functional.relu(self.conv(x))))
        return functional.log_softmax(self.fc2(self.norm(torch.relu(self.fc1(x)))), dim=-1)


FLATTEN = {
    "method": lambda x: x.flatten(1),
    "function": lambda x: torch.flatten(x, 1),
    "view": lambda x: x.view(x.size(0), -1),
    "reshape by shape": lambda x: x.reshape(x.shape[0], -1),
    "module": nn.Flatten(),
}


@pytest.mark.parametrize("way", FLATTEN)
def test_each_position_is_a_crop(way):
    model = randomised(Valid(FLATTEN[way])).eval()
    fcn = convert_to_fcn(model, torch.rand(3, 2, 6, 8))
    image = torch.rand(1, 2, 10, 14)
    with torch.no_grad():
        maps = fcn(image)
        assert maps.shape == (1, 3, 3, 4)
        for y in range(3):
            for x in range(4):
                crop = image[:, :, 2 * y : 2 * y + 6, 2 * x : 2 * x + 8]
                assert relative(maps[:, :, y, x], model(crop)) < 1e-5


class Mean(nn.Module):
    def __init__(self, mean):
        super().__init__()
        self.conv, self.norm, self.fc, self.mean = nn.Conv2d(1, 3, 3), nn.LayerNorm(3), nn.Linear(3, 2), mean

    def forward(self, x):
        return self.fc(self.norm(self.mean(self.conv(x))))


MEANS = {
    "mean": lambda x: x.mean((2, 3)),
    "mean, from the end": lambda x: torch.mean(x, dim=(-2, -1)),
    "pooling": lambda x: functional.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1),
    "pooling, flattened": lambda x: torch.flatten(functional.adaptive_avg_pool2d(x, (1, 1)), 1),
    "by index": lambda x: functional.adaptive_avg_pool2d(x, (1, 1))[:, :, 0, 0],
}


@pytest.mark.parametrize("way", MEANS)
def test_global_pooling(way):
    model = Mean(MEANS[way]).eval()
    example, image = torch.rand(2, 1, 6, 5), torch.rand(1, 1, 7, 7)
    sliding, kept = (convert_to_fcn(model, example, global_pooling=how) for how in ("slide", "keep"))
    with torch.no_grad():
        maps = sliding(image)
        assert maps.shape == (1, 2, 2, 3)
        for y in range(2):
            for x in range(3):
                assert relative(maps[:, :, y, x], model(image[:, :, y : y + 6, x : x + 5])) < 1e-5
        assert relative(kept(image), model(image)[:, :, None, None]) < 1e-5


def test_trains_and_keeps_modes():
    model = saccade.models.resnet_small(num_classes=3)
    model.layer1.eval()
    fcn = convert_to_fcn(model, torch.rand(1, 3, 16, 16))
    assert fcn.training
    assert not fcn.get_submodule("layer1.0.bn1").training
    assert fcn.get_submodule("layer2.0.bn1").training
    assert all(p.requires_grad for p in fcn.parameters())
    fcn(torch.rand(2, 3, 24, 24)).sum().backward()
    assert fcn.fc.weight.grad.shape == (3, 64, 1, 1)
    assert model.fc.weight.grad is None


def test_accelerated():
    fcn = convert_to_fcn(classifier("resnet_small"), torch.rand(1, 3, 16, 16))
    images = torch.rand(1, 3, 32, 24)
    fast = saccade.accelerate(fcn, images)
    assert saccade.explain(fast).startswith("the model (GraphModule)\n")
    assert "left to torch" not in saccade.explain(fast)
    with torch.no_grad():
        assert relative(fast(images), fcn(images)) < 1e-4


def test_of_torchvision():
    models = pytest.importorskip("torchvision.models")
    model = randomised(models.resnet18(num_classes=4)).eval()
    images = torch.rand(1, 3, 64, 64)
    fcn = convert_to_fcn(model, images)
    with torch.no_grad():
        assert relative(fcn(images), model(images)[:, :, None, None]) < 1e-5


class Branches(nn.Module):
    def forward(self, x):
        return x.flatten(1) if x.sum() > 0 else x.mean((2, 3))


class Sorted(nn.Module):
    def forward(self, x):
        return torch.sort(x.flatten(1)).values


class Permuted(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


@pytest.mark.parametrize(
    ("model", "example", "options", "kind", "message"),
    [
        (3, torch.rand(1, 3, 4, 4), {}, TypeError, "convert_to_fcn: model must be a torch.nn.Module, got int"),
        (nn.ReLU(), 3, {}, TypeError, "convert_to_fcn: example must be a tensor, got int"),
        (nn.ReLU(), torch.rand(3, 4), {}, ValueError,
         "convert_to_fcn: example must have shape (N, C, H, W), got (3, 4)"),
        (nn.ReLU(), torch.rand(1, 3, 4, 4), {"global_pooling": "drop"}, ValueError,
         "convert_to_fcn: global_pooling must be 'slide' or 'keep', got 'drop'"),
        (nn.Sequential(nn.Conv2d(3, 2, 1)), torch.rand(1, 3, 4, 4), {}, ValueError,
         "convert_to_fcn: model must flatten maps into a vector for each image"),
        (Branches(), torch.rand(1, 3, 4, 4), {}, ValueError,
         "convert_to_fcn: model must be a fixed sequence of calls, got Branches: "
         "symbolically traced variables cannot be used as inputs to control flow"),
        (Sorted(), torch.rand(1, 3, 4, 4), {}, ValueError,
         "convert_to_fcn: model must have layers that work position by position after flattening, got sort"),
        (Permuted(), torch.rand(1, 3, 4, 4), {}, ValueError,
         "convert_to_fcn: model must keep channels before positions, got permute"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten()), torch.rand(1, 3, 4, 4), {}, ValueError,
         "convert_to_fcn: example must give maps of a multiple of (3, 3) for _0, got (4, 4)"),
        (saccade.models.vit_tiny(image_size=16), torch.rand(1, 3, 16, 16), {}, ValueError, None),
    ],
)  # fmt: skip
def test_errors(model, example, options, kind, message):
    with pytest.raises(kind) as error:
        convert_to_fcn(model, example, **options)
    if message is None:
        assert re.match("convert_to_fcn: model must ", str(error.value))
    else:
        assert str(error.value) == message
