"""U-Net beside a plain forward over the same state dict."""

import pytest
import torch
from torch.nn import functional

import saccade
from saccade.models.segmentation.unet import UNet
from tests.util.reference_models import randomised, relative

BLOCKS = ["inc", *(f"down{i}.maxpool_conv.1" for i in range(1, 5)), *(f"up{i}.conv" for i in range(1, 5))]


def reference(state, x, bilinear, training=False):
    def block(x, name):
        for i in (0, 3):
            x = functional.conv2d(x, state[f"{name}.double_conv.{i}.weight"], padding=1)
            norm = f"{name}.double_conv.{i + 1}"
            stats = (None, None) if training else (state[f"{norm}.running_mean"], state[f"{norm}.running_var"])
            weights = state[f"{norm}.weight"], state[f"{norm}.bias"]
            x = functional.batch_norm(x, *stats, *weights, training).relu()
        return x

    skips = [block(x, "inc")]
    for i in range(1, 5):
        skips.append(block(functional.max_pool2d(skips[-1], 2), f"down{i}.maxpool_conv.1"))
    x = skips.pop()
    for i in range(1, 5):
        skip = skips.pop()
        if bilinear:
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        else:
            x = functional.conv_transpose2d(x, state[f"up{i}.up.weight"], state[f"up{i}.up.bias"], 2)
        dy, dx = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
        x = functional.pad(x, (dx // 2, dx - dx // 2, dy // 2, dy - dy // 2))
        x = block(torch.cat([skip, x], 1), f"up{i}.conv")
    return functional.conv2d(x, state["outc.conv.weight"], state["outc.conv.bias"])


@pytest.mark.parametrize("bilinear", [False, True])
@pytest.mark.parametrize("size", [(32, 48), (37, 31)])
def test_as_milesial(bilinear, size):
    model = randomised(UNet(2, 3, bilinear, width=8))
    images = torch.rand(2, 2, *size)
    with torch.no_grad():
        expected = reference(model.state_dict(), images, bilinear)
        assert expected.shape == (2, 3, *size)
        assert relative(model.eval()(images), expected) < 1e-4
        model, images = model.double().train(), images.double()
        expected = reference(model.state_dict(), images, bilinear, training=True)
        assert relative(model(images), expected) < 1e-10


@pytest.mark.parametrize("bilinear", [False, True])
def test_gradients(bilinear):
    model = randomised(UNet(1, 2, bilinear, width=4)).double()
    images, labels = torch.rand(2, 1, 19, 16, dtype=torch.float64), torch.randint(0, 2, (2, 19, 16))
    state = {key: value.detach().clone().requires_grad_(value.is_floating_point()) for key, value in
             model.state_dict().items()}  # fmt: skip
    functional.cross_entropy(model(images), labels).backward()
    functional.cross_entropy(reference(state, images, bilinear, training=True), labels).backward()
    for key, parameter in model.named_parameters():
        # Where the loss does not depend on a weight, both gradients are rounding errors.
        assert (parameter.grad - state[key].grad).abs().max() <= 1e-8 * state[key].grad.abs().max() + 1e-12, key


@pytest.mark.parametrize("bilinear", [False, True])
def test_layout(bilinear):
    with torch.device("meta"):
        model = saccade.models.unet(3, 2, bilinear)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = [f"{b}.double_conv.{i}.{key}" for b in BLOCKS for i in (0, 1, 3, 4) for key in
                (norm if i in (1, 4) else ("weight",))]  # fmt: skip
    expected += ["outc.conv.weight", "outc.conv.bias"]
    if not bilinear:
        expected += [f"up{i}.up.{key}" for i in range(1, 5) for key in ("weight", "bias")]
    assert sorted(shapes) == sorted(expected)
    assert shapes["inc.double_conv.0.weight"] == (64, 3, 3, 3)
    assert shapes["down4.maxpool_conv.1.double_conv.3.weight"] == ((512, 512) if bilinear else (1024, 1024)) + (3, 3)
    assert shapes["up1.conv.double_conv.0.weight"] == (512, 1024, 3, 3)
    assert shapes["up4.conv.double_conv.3.weight"] == (64, 64, 3, 3)
    assert shapes["outc.conv.weight"] == (2, 64, 1, 1)
    if not bilinear:
        assert shapes["up1.up.weight"] == (1024, 512, 2, 2)


def test_number_of_parameters():
    with torch.device("meta"):
        model = saccade.models.unet(3, 2)
    assert sum(p.numel() for p in model.parameters()) == 31_037_698  # milesial's


def test_older_files():
    torch.manual_seed(5)
    model = randomised(saccade.models.unet_small(1, 2)).eval()
    biased, state = {}, model.state_dict()
    for key, value in state.items():
        biased[key] = value.clone()
        if ".double_conv." in key and key.endswith((".0.weight", ".3.weight")):
            biased[key.replace("weight", "bias")] = torch.randn(len(value))
    other = saccade.models.unet_small(1, 2).eval()
    report = saccade.models.load_checkpoint(other, {**biased, "mask_values": [0, 255]})
    assert report.renamed == ["milesial U-Net with biases"]
    images = torch.rand(1, 1, 16, 16)

    x = functional.conv2d(images, biased["inc.double_conv.0.weight"], biased["inc.double_conv.0.bias"], padding=1)
    mean, var = (biased[f"inc.double_conv.1.running_{key}"] for key in ("mean", "var"))
    x = functional.batch_norm(x, mean, var, biased["inc.double_conv.1.weight"], biased["inc.double_conv.1.bias"]).relu()
    with torch.no_grad():
        assert relative(other.inc.double_conv[:3](images), x) < 1e-5
    assert "inc.double_conv.0.bias" in biased  # what was given stays


def test_released_file():
    model = saccade.models.unet_small(1, 2)
    report = saccade.models.load_checkpoint(model, {**model.state_dict(), "mask_values": [0, 1]})
    assert report.fits


@pytest.mark.parametrize(
    ("options", "images", "message"),
    [
        ({}, torch.rand(1, 3, 1, 1), "UNet: sides of the images must be at least 16, got (1, 1)"),
        ({}, torch.rand(1, 1, 32, 32), "UNet: images must have shape (N, 3, H, W), got (1, 1, 32, 32)"),
        ({"n_classes": 0}, None, "UNet: n_classes must be at least 1, got 0"),
        ({"n_channels": 0}, None, "UNet: n_channels must be at least 1, got 0"),
    ],
)
def test_errors(options, images, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        saccade.models.unet_small(**options)(images)
    assert str(error.value) == message


def test_width():
    with pytest.raises(ValueError, match=r"^UNet: width must be a multiple of 2, got 7$"):
        UNet(3, 2, width=7)
    assert saccade.models.build("unet_small", num_classes=5).n_classes == 5
