"""FCN-32s, 16s and 8s beside a plain forward with the offsets of the authors' Caffe models."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import saccade
from saccade.models.segmentation.fcn import FCN
from tests.util.reference_models import randomised, relative

DEPTHS = (2, 2, 3, 3, 3)
CONVOLUTIONS = [f"conv{stage}_{i}" for stage, depth in enumerate(DEPTHS, 1) for i in range(1, depth + 1)]
SCORES = {
    "fcn32s": ["score_fr", "upscore"],
    "fcn16s": ["score_fr", "upscore2", "score_pool4", "upscore16"],
    "fcn8s": ["score_fr", "upscore2", "score_pool4", "upscore_pool4", "score_pool3", "upscore8"],
}
NARROW = {"stages": [(w, d) for w, d in zip((4, 6, 8, 10, 12), DEPTHS, strict=True)], "hidden": 14, "num_classes": 3}


def reference(state, name, images):
    """Layer by layer; crops at 5 and 9 of the skips, at 19, 27 and 31 of the result, as in voc-fcn*/train.prototxt."""

    def conv(x, layer, padding=0):
        return functional.conv2d(x, state[f"{layer}.weight"], state[f"{layer}.bias"], padding=padding)

    def up(x, layer, stride):
        return functional.conv_transpose2d(x, state[f"{layer}.weight"], stride=stride)

    x, pools = images, []
    for stage, depth in enumerate(DEPTHS, 1):
        for i in range(1, depth + 1):
            x = conv(x, f"conv{stage}_{i}", 100 if (stage, i) == (1, 1) else 1).relu()
        x = functional.max_pool2d(x, 2, 2, ceil_mode=True)
        pools.append(x)
    x = conv(conv(conv(x, "fc6").relu(), "fc7").relu(), "score_fr")
    h, w = images.shape[2:]
    if name == "fcn32s":
        return up(x, "upscore", 32)[:, :, 19 : 19 + h, 19 : 19 + w]
    x = up(x, "upscore2", 2)
    x = x + conv(pools[3], "score_pool4")[:, :, 5 : 5 + x.shape[2], 5 : 5 + x.shape[3]]
    if name == "fcn16s":
        return up(x, "upscore16", 16)[:, :, 27 : 27 + h, 27 : 27 + w]
    x = up(x, "upscore_pool4", 2)
    x = x + conv(pools[2], "score_pool3")[:, :, 9 : 9 + x.shape[2], 9 : 9 + x.shape[3]]
    return up(x, "upscore8", 8)[:, :, 31 : 31 + h, 31 : 31 + w]


def with_scores(model):
    """Scores begin at zero, where every network gives the same."""
    for name, module in model.named_modules():
        if name.startswith("score"):
            nn.init.normal_(module.weight, 0, 0.1)
            nn.init.normal_(module.bias, 0, 0.1)
        if name.startswith("upscore"):
            nn.init.normal_(module.weight, 0, 0.1)
    return model


@pytest.mark.parametrize("size", [(1, 1), (17, 40), (33, 32)])
@pytest.mark.parametrize("name", SCORES)
def test_as_published(name, size):
    model = with_scores(saccade.models.build(name, **NARROW)).double().eval()
    images = torch.rand(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        assert relative(model(images), reference(model.state_dict(), name, images)) < 1e-11
    model = model.float()
    with torch.no_grad():
        assert relative(model(images.float()), reference(model.state_dict(), name, images.float())) < 1e-4


@pytest.mark.parametrize("name", SCORES)
def test_layout(name):
    with torch.device("meta"):
        model = saccade.models.build(name)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert {key.split(".")[0] for key in shapes} == {*CONVOLUTIONS, "fc6", "fc7", *SCORES[name]}
    assert shapes["fc6.weight"] == (4096, 512, 7, 7)
    assert shapes["fc7.weight"] == (4096, 4096, 1, 1)
    for layer, side in (("upscore", 64), ("upscore16", 32), ("upscore8", 16), ("upscore2", 4), ("upscore_pool4", 4)):
        assert shapes.get(f"{layer}.weight", (21, 21, side, side)) == (21, 21, side, side)
    assert not any(key.startswith("upscore") and key.endswith("bias") for key in shapes)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("small", [False, True])
def test_begins_as_bilinear_interpolation(name, small):
    options = {} if small else NARROW
    model = saccade.models.build(f"{name}_small" if small else name, **options).eval()
    images = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        assert torch.equal(model(images), torch.zeros(1, options.get("num_classes", 21), 96, 96))
        nn.init.constant_(model.score_fr.bias, 2.0)  # a constant is interpolated to itself
        found = model(images)
    found = found[:, :, 30:66, 30:66]  # towards the borders, pixels lie outside of the first and last scores
    torch.testing.assert_close(found, torch.full_like(found, 2.0))


def test_scores_lie_where_they_are_seen():
    """A bright corner moves through stages and crops to where it was, without padding and with."""
    # A pooled position's 8 pixels begin at multiples of 8, or 99 to the left of them.
    for options, (y, x) in (({"kernel": 1, "padding": 1}, (40, 64)), ({"kernel": 7, "padding": 100}, (37, 61))):
        model = FCN(8, num_classes=1, in_channels=1, stages=[(1, 1)] * 5, hidden=1, **options).eval()
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d):
                nn.init.zeros_(module.weight)
                size = module.weight.shape[-1] // 2
                module.weight.data[0, 0, size, size] = 1.0
                if name in ("score_fr", "score_pool4"):
                    nn.init.zeros_(module.weight)
        image = torch.zeros(1, 1, 96, 96)
        image[0, 0, y : y + 8, x : x + 8] = 1.0
        with torch.no_grad():
            found = model(image)[0, 0]
        weight = found / found.sum()
        centre = [(weight.sum(1 - axis) * torch.arange(96)).sum().item() for axis in (0, 1)]
        assert centre == pytest.approx([y + 3.5, x + 3.5], abs=0.01)


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_any_kernel_padding_and_size(kernel, stride):
    sizes = [(size, 5 + size // 2) for size in (1, 2, 7, 16, 17, 31, 32, 33, 48, 50, 64, 65)]
    for padding in (16 * (kernel - 1) + 1, 16 * (kernel - 1) + 8, 100):
        options = {"stages": [(1, 1)] * 5, "hidden": 1, "kernel": kernel, "padding": padding}
        model = FCN(stride, num_classes=1, in_channels=1, **options).eval()
        with torch.no_grad():
            assert [model(torch.rand(1, 1, *size)).shape[2:] for size in sizes] == sizes


def test_weights_of_vgg():
    names = {name: module for name, module in saccade.models.vgg16(num_classes=5).named_modules()
             if name.startswith(("features.", "classifier.")) and hasattr(module, "weight")}  # fmt: skip
    widths = dict(zip(names, (4, 4, 6, 6, 8, 8, 8, 10, 10, 10, 12, 12, 12), strict=False))
    state, before = {}, 3
    for name, width in widths.items():
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.randn(width, before, 3, 3), torch.randn(width)
        before = width
    for name, (out, into) in {"classifier.0": (14, 12 * 49), "classifier.3": (14, 14), "classifier.6": (3, 14)}.items():
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.randn(out, into), torch.randn(out)
    model = saccade.models.fcn8s(**NARROW)
    report = saccade.models.load_checkpoint(model, state, strict=False)
    assert report.renamed == ["torchvision VGG"]
    assert report.unexpected == []
    assert report.mis_shaped == {}
    assert {key.split(".")[0] for key in report.missing} == set(SCORES["fcn8s"]) - {"score_fr"}
    own = model.state_dict()
    assert torch.equal(own["conv3_2.weight"], state["features.12.weight"])
    assert torch.equal(own["fc6.weight"], state["classifier.0.weight"].reshape(14, 12, 7, 7))
    assert torch.equal(own["score_fr.bias"], state["classifier.6.bias"])
    state["classifier.6.weight"], state["classifier.6.bias"] = torch.randn(1000, 14), torch.randn(1000)
    report = saccade.models.load_checkpoint(model, state, strict=False)
    assert sorted(report.mis_shaped) == ["score_fr.bias", "score_fr.weight"]


def test_weights_of_the_real_vgg():
    with torch.device("meta"):
        model, vgg = saccade.models.fcn8s(num_classes=1000), saccade.models.vgg16()
    report = saccade.models.load_checkpoint(model, vgg.state_dict(), strict=False)
    assert (report.unexpected, report.mis_shaped) == ([], {})
    assert {key.split(".")[0] for key in report.missing} == set(SCORES["fcn8s"]) - {"score_fr"}


def test_from_coarse_to_fine():
    coarse, fine = (with_scores(saccade.models.build(name, num_classes=2)) for name in ("fcn32s_small", "fcn16s_small"))
    report = saccade.models.load_checkpoint(fine, coarse.state_dict(), strict=False)
    assert report.unexpected == ["upscore.weight"]
    assert [key.split(".")[0] for key in report.missing] == ["upscore2", "score_pool4", "score_pool4", "upscore16"]


@pytest.mark.parametrize(
    ("options", "images", "message"),
    [
        ({"stride": 4}, None, "FCN: stride must be 8, 16 or 32, got 4"),
        ({"stride": 8, "num_classes": 0}, None, "FCN-8s: num_classes must be at least 1, got 0"),
        ({"stride": 8, "kernel": 6}, None, "FCN-8s: kernel must be odd, got 6"),
        ({"stride": 8, "stages": [(4, 1)]}, None, "FCN-8s: stages must be five, got 1"),
        ({"stride": 32, "padding": 50, "hidden": 4}, None,
         "FCN-32s: padding must be at least 97 for kernel=7, got 50"),
        ({"stride": 16, "kernel": 1, "padding": 1, "hidden": 4}, torch.rand(1, 1, 32, 32),
         "FCN-16s: images must have shape (N, 3, H, W), got (1, 1, 32, 32)"),
    ],
)  # fmt: skip
def test_errors(options, images, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        FCN(**{"stages": NARROW["stages"], **options})(images)
    assert str(error.value) == message


def test_enlarged_images_give_finer_scores():
    plain = saccade.models.fcn8s_small(num_classes=2).eval()
    model = saccade.models.fcn8s_small(num_classes=2, enlarge=2).eval()
    saccade.models.load_checkpoint(model, randomised(plain).state_dict())
    images = torch.rand(1, 3, 20, 27)
    with torch.no_grad():
        larger = plain(torch.nn.functional.interpolate(images, scale_factor=2.0, mode="bilinear"))
        torch.testing.assert_close(model(images), torch.nn.functional.avg_pool2d(larger, 2))
    with pytest.raises(ValueError, match=r"^FCN-8s: enlarge must be at least 1, got 0$"):
        saccade.models.fcn8s_small(enlarge=0)
