"""ResNets and ResNeXts beside torchvision's."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import saccade
from saccade.models.residual import BasicBlock, Bottleneck
from saccade.models.resnet import ResNet
from tests.util.reference_models import assert_same_logits, randomised, relative, same_start

torchvision = pytest.importorskip("torchvision")
models = torchvision.models


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnext50_32x4d"])
def test_as_torchvision(name):
    ours, theirs = same_start(
        lambda: saccade.models.build(name, num_classes=10), lambda: getattr(models, name)(num_classes=10)
    )
    assert_same_logits(ours, theirs, torch.rand(2, 3, 64, 48), training=name != "resnet34")


@pytest.mark.parametrize(("name", "depth", "width"), [("resnet101", 101, 64), ("resnet152", 152, 64)])
def test_layout_of_the_deep_ones(name, depth, width):
    with torch.device("meta"):
        ours, theirs = getattr(saccade.models, name)(), getattr(models, name)()
    shapes = [{key: value.shape for key, value in model.state_dict().items()} for model in (ours, theirs)]
    assert list(shapes[0].items()) == list(shapes[1].items())
    convolutions = [m for n, m in ours.named_modules() if isinstance(m, nn.Conv2d) and "downsample" not in n]
    assert len(convolutions) + 1 == depth


def test_layout_of_resnext101():
    with torch.device("meta"):
        ours, theirs = saccade.models.resnext101_32x8d(), models.resnext101_32x8d()
    shapes = [{key: value.shape for key, value in model.state_dict().items()} for model in (ours, theirs)]
    assert list(shapes[0].items()) == list(shapes[1].items())
    assert {m.groups for m in ours.modules() if isinstance(m, nn.Conv2d)} == {1, 32}


@pytest.mark.parametrize("block", ["BasicBlock", "Bottleneck"])
def test_gradients(block):
    theirs = models.ResNet(getattr(models.resnet, block), [1, 1, 1, 1], num_classes=5).double()
    ours = ResNet({"BasicBlock": BasicBlock, "Bottleneck": Bottleneck}[block], [1, 1, 1, 1], num_classes=5).double()
    ours.load_state_dict(randomised(theirs).state_dict())
    images, labels = torch.rand(4, 3, 48, 40, dtype=torch.float64), torch.tensor([0, 1, 2, 4])
    for model in (ours, theirs):
        functional.cross_entropy(model(images), labels).backward()
    for (key, ours_), theirs_ in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert relative(ours_.grad, theirs_.grad) < 1e-9, key


def test_dilated_and_zero_initialised():
    options = {"replace_stride_with_dilation": [False, True, True], "num_classes": 3, "zero_init_residual": True}
    ours, theirs = same_start(lambda: saccade.models.resnet50(**options), lambda: models.resnet50(**options))
    assert_same_logits(ours, theirs, torch.rand(2, 3, 64, 64))
    assert ours.features(torch.rand(1, 3, 64, 64, dtype=torch.float64)).shape == (1, 2048, 8, 8)


def test_another_normalisation():
    frozen = saccade.models.resnet18(num_classes=3, norm_layer=saccade.ops.FrozenBatchNorm2d)
    theirs = models.resnet18(num_classes=3, norm_layer=torchvision.ops.FrozenBatchNorm2d)
    frozen.load_state_dict(randomised(theirs).state_dict())
    images = torch.rand(2, 3, 64, 64)
    assert relative(frozen(images), theirs(images)) < 1e-4


def test_hooks_of_a_normalisation_run():
    model = saccade.models.resnet_small().eval()
    seen = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda *_: seen.append(1))
    model(torch.rand(1, 3, 8, 8))
    assert len(seen) == 21


def test_fused_into_convolutions():
    model = randomised(saccade.models.build("resnet18", num_classes=10)).eval()
    images = torch.rand(2, 3, 64, 64)
    fast = saccade.accelerate(model, images)
    assert saccade.explain(fast) == (
        "the model (ResNet)\n"
        "  ours: 9× conv2d + batch_norm + relu, 8× conv2d + batch_norm + residual + relu, 3× conv2d + batch_norm, "
        "1× max_pool2d, 1× adaptive_avg_pool2d, 1× linear"
    )
    with torch.no_grad():
        assert relative(fast(images), model(images)) < 1e-4


def test_export():
    model = randomised(saccade.models.resnet18(num_classes=10)).eval()
    images = torch.rand(2, 3, 64, 64)
    batch = torch.export.Dim("batch", min=2, max=8)
    program = torch.export.export(model, (images,), dynamic_shapes=({0: batch},))
    more = torch.rand(5, 3, 64, 64)
    with torch.no_grad():
        assert relative(program.module()(more), model(more)) < 1e-5


def test_compiled_without_a_break():
    torch._dynamo.reset()
    model = saccade.models.resnet18(num_classes=10)
    other = copy.deepcopy(model)
    images, labels = torch.rand(4, 3, 64, 64), torch.tensor([0, 1, 2, 3])
    fast = torch.compile(model, backend="aot_eager", fullgraph=True)
    losses = [functional.cross_entropy(run(images), labels) for run in (fast, other)]
    assert relative(losses[0], losses[1]) < 1e-5
    for loss in losses:
        loss.backward()
    assert relative(model.conv1.weight.grad, other.conv1.weight.grad) < 1e-3
    assert relative(model.bn1.running_var, other.bn1.running_var) < 1e-5


def test_sync_batch_norm_in_its_place():
    model = saccade.models.resnet_small()
    other = saccade.nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))
    theirs = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model)).eval()
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(model(images), other(images))
    assert relative(theirs(images), copy.deepcopy(model).eval().requires_grad_(False)(images)) > 0  # other statistics
    theirs.load_state_dict(model.state_dict())
    assert relative(theirs(images), model.eval()(images)) < 1e-5


@pytest.mark.parametrize(
    ("options", "images", "message"),
    [
        ({}, torch.rand(1, 1, 32, 32), "ResNet: images must have shape (N, 3, H, W), got (1, 1, 32, 32)"),
        ({"in_channels": 1}, torch.rand(3, 32, 32), "ResNet: images must have shape (N, 1, H, W), got (3, 32, 32)"),
        ({"num_classes": 0}, None, "ResNet: num_classes must be at least 1, got 0"),
        (
            {"replace_stride_with_dilation": [True]},
            None,
            "ResNet: replace_stride_with_dilation must have 3 values, got [True]",
        ),
        ({"width_per_group": 4}, None, "BasicBlock: groups must be 1 and base_width 64, got 1 and 4"),
    ],
)
def test_errors(options, images, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        saccade.models.resnet18(**options)(images)
    assert str(error.value) == message


def test_no_images():
    assert saccade.models.resnet18(num_classes=3).eval()(torch.rand(0, 3, 32, 32)).shape == (0, 3)


def test_not_a_tensor():
    with pytest.raises(TypeError, match=r"^ResNet: images must be a tensor, got list$"):
        saccade.models.resnet_small()([1.0])
