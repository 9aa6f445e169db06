"""DRN for segmentation and PSPNet beside plain forwards over the same state dicts."""

import pytest
import torch
from torch.nn import functional

import saccade
from tests.util.drn_reference import Drn
from tests.util.reference_models import randomised, relative

PARTS = {
    "A": ["conv1", "bn1", "relu", "maxpool", *(f"layer{i}" for i in range(1, 5))],
    "C": ["conv1", "bn1", "relu", *(f"layer{i}" for i in range(1, 9))],
    "D": [f"layer{i}" for i in range(9)],
}


def drn_reference(state, arch, images, training=False):
    named = {}
    for key, value in state.items():
        first, _, rest = key.partition(".")
        number, _, end = rest.partition(".")
        named[f"{PARTS[arch][int(number)]}.{end}" if first == "base" else key] = value
    maps = Drn(named, arch, training).features(images)
    scores = functional.conv2d(maps, state["seg.weight"], state["seg.bias"])
    weight = state["up.weight"]
    up = functional.conv_transpose2d(scores, weight, stride=8, padding=4, groups=weight.shape[0])
    return up[:, :, : images.shape[2], : images.shape[3]]


@pytest.mark.parametrize("arch", ["drn_a_50", "drn_c_26", "drn_d_22"])
def test_drn_as_published(arch):
    model = randomised(saccade.models.drn_seg(arch, 3)).eval()
    images = torch.rand(2, 3, 32, 21)
    letter = arch[4].upper()
    with torch.no_grad():
        assert relative(model(images), drn_reference(model.state_dict(), letter, images)) < 1e-4
        model, images = model.double().train(), images.double()
        assert relative(model(images), drn_reference(model.state_dict(), letter, images, True)) < 1e-10


@pytest.mark.parametrize("arch", [f"drn_{name}" for name in ("a_50", "c_42", "d_38", "d_105")])
def test_layout_of_drn(arch):
    with torch.device("meta"):
        model, classifier = saccade.models.drn_seg(arch, 19), saccade.models.build(arch)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    parts = PARTS[arch[4].upper()]
    base = {}
    for key, value in classifier.state_dict().items():
        first, _, rest = key.partition(".")
        if first in parts:
            base[f"base.{parts.index(first)}.{rest}"] = tuple(value.shape)
    features = 2048 if arch == "drn_a_50" else 512
    head = {"seg.weight": (19, features, 1, 1), "seg.bias": (19,), "up.weight": (19, 1, 16, 16)}
    assert shapes == {**base, **head}
    assert [name for name, p in model.named_parameters() if not p.requires_grad and "base" not in name] == ["up.weight"]


@pytest.mark.parametrize(
    ("build", "factor"),
    [
        (lambda: saccade.models.drn_seg("drn_d_22", 2), 8),
        (lambda: saccade.models.drn_seg_small(2), 2),
        (lambda: saccade.models.drn_seg_small(2, dilated=False), 8),
    ],
)
def test_up_sampling_of_drn_is_bilinear(build, factor):
    model = build()
    scores = torch.rand(1, 2, 5, 6)
    expected = functional.interpolate(scores, scale_factor=factor, mode="bilinear")
    found = model.up(scores)
    inner = slice(factor // 2, -(factor // 2))
    torch.testing.assert_close(found[..., inner, inner], expected[..., inner, inner])
    images = torch.rand(1, 3, 21, 30)
    maps = model.base(images)
    assert maps.shape[2:] == (-(-21 // factor), -(-30 // factor))
    assert model(images).shape == (1, 2, 21, 30)


def test_strides_in_place_of_dilation_are_the_same_layers():
    dilated, strided = saccade.models.drn_seg_small(3), saccade.models.drn_seg_small(3, dilated=False)
    shapes = [{key: v.shape for key, v in m.state_dict().items() if "up." not in key} for m in (dilated, strided)]
    # A block with a stride has a shortcut with weights.
    assert {key for key in shapes[1] if key not in shapes[0]} == {
        f"base.6.0.downsample.{rest}"
        for rest in ("0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked")
    }
    assert all(shapes[1][key] == shape for key, shape in shapes[0].items())
    assert all(module.dilation == (1, 1) for module in strided.modules() if isinstance(module, torch.nn.Conv2d))


@pytest.mark.parametrize("arch", ["drn_a_50", "drn_c_26", "drn_d_22"])
def test_weights_of_a_classifier(arch):
    classifier, model = saccade.models.build(arch, num_classes=3).eval(), saccade.models.drn_seg(arch, 4).eval()
    report = saccade.models.load_checkpoint(model, classifier.state_dict(), strict=False)
    assert report.renamed == ["fyu/drn classifier"]
    assert (report.missing, report.unexpected) == (["seg.weight", "seg.bias", "up.weight"], ["fc.weight", "fc.bias"])
    images = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(model.base(images), classifier.features(images))
    assert saccade.models.load_checkpoint(model, {f"module.{k}": v for k, v in model.state_dict().items()}).fits


class Psp(Drn):
    def classifier(self, x, name):
        x = self.norm(self.conv(x, f"{name}.0"), f"{name}.1").relu()
        return functional.conv2d(x, self.state[f"{name}.4.weight"], self.state[f"{name}.4.bias"])

    def __call__(self, images, bins, second=2):
        x = images
        for number, stride in ((0, 2), (3, 1), (6, 1)):
            x = self.norm(self.conv(x, f"layer0.{number}", stride), f"layer0.{number + 1}").relu()
        x = functional.max_pool2d(x, 3, 2, 1)
        x = self.stage(self.stage(x, "layer1"), "layer2", second)
        before = self.stage(x, "layer3", 1, 2)
        x = self.stage(before, "layer4", 1, 4)

        def zoomed(x, size):
            return functional.interpolate(x, size=size, mode="bilinear", align_corners=True)

        levels = [x]
        for number, bin in enumerate(bins):
            name = f"ppm.features.{number}"
            level = functional.adaptive_avg_pool2d(x, bin)
            level = self.norm(self.conv(level, f"{name}.1"), f"{name}.2").relu()
            levels.append(zoomed(level, x.shape[2:]))
        size = images.shape[2:]
        found = zoomed(self.classifier(torch.cat(levels, 1), "cls"), size)
        return (found, zoomed(self.classifier(before, "aux"), size)) if self.training else found


@pytest.mark.parametrize(
    ("name", "options"), [("pspnet50", {}), ("pspnet_small", {"output_stride": 8}), ("pspnet_small", {})]
)
def test_pspnet_as_published(name, options):
    bins = (1, 2, 3) if name == "pspnet_small" else (1, 2, 3, 6)
    second = 1 if name == "pspnet_small" and not options else 2  # the small one keeps the resolution at 1/4
    model = randomised(saccade.models.build(name, classes=3, dropout=0.0, **options)).eval()
    images = torch.rand(2, 3, 25, 33)
    with torch.no_grad():
        assert relative(model(images), Psp(model.state_dict(), "")(images, bins, second)) < 1e-4
        model, images = model.double().train(), images.double()
        expected = Psp(model.state_dict(), "", training=True)(images, bins, second)
        found = model(images)
        assert isinstance(found, tuple)
        for a, b in zip(found, expected, strict=True):
            assert relative(a, b) < 1e-9


def test_gradients_of_pspnet():
    model = randomised(saccade.models.pspnet_small(classes=3, dropout=0.0)).double()
    images, labels = torch.rand(3, 3, 25, 17, dtype=torch.float64), torch.randint(0, 3, (3, 25, 17))
    state = {key: value.detach().clone().requires_grad_(value.is_floating_point()) for key, value in
             model.state_dict().items()}  # fmt: skip
    for main, auxiliary in (model(images), Psp(state, "", training=True)(images, (1, 2, 3), 1)):
        (functional.cross_entropy(main, labels) + 0.4 * functional.cross_entropy(auxiliary, labels)).backward()
    for key, parameter in model.named_parameters():
        assert (parameter.grad - state[key].grad).abs().max() <= 1e-8 * state[key].grad.abs().max() + 1e-12, key


@pytest.mark.parametrize(("name", "depths"), [("pspnet50", (3, 4, 6, 3)), ("pspnet101", (3, 4, 23, 3))])
def test_layout_of_pspnet(name, depths):
    with torch.device("meta"):
        model = saccade.models.build(name, classes=19)
    shapes = {
        key: tuple(value.shape)
        for key, value in model.state_dict().items()
        if key.endswith("weight") or key in ("cls.4.bias", "aux.4.bias")
    }
    expected = [f"layer0.{i}.weight" for i in (0, 1, 3, 4, 6, 7)]
    for stage, depth in enumerate(depths, 1):
        for block in range(depth):
            name = f"layer{stage}.{block}"
            expected += [f"{name}.{kind}{i}.weight" for i in (1, 2, 3) for kind in ("conv", "bn")]
            expected += [f"{name}.downsample.{i}.weight" for i in (0, 1)] if block == 0 else []
    expected += [f"ppm.features.{i}.{j}.weight" for i in range(4) for j in (1, 2)]
    expected += [f"{head}.{i}" for head in ("cls", "aux") for i in ("0.weight", "1.weight", "4.weight", "4.bias")]
    assert list(shapes) == expected
    assert shapes["layer0.6.weight"] == (128, 64, 3, 3)
    assert shapes["layer1.0.conv1.weight"] == (64, 128, 1, 1)
    assert shapes["ppm.features.0.1.weight"] == (512, 2048, 1, 1)
    assert shapes["cls.0.weight"] == (512, 4096, 3, 3)
    assert shapes["aux.0.weight"] == (256, 1024, 3, 3)
    assert shapes["aux.4.weight"] == (19, 256, 1, 1)
    convolutions = {key: module for key, module in model.named_modules() if isinstance(module, torch.nn.Conv2d)}
    for key, module in convolutions.items():
        if key.endswith("conv2"):
            dilation = {"layer3": 2, "layer4": 4}.get(key[:6], 1)
            assert module.dilation == module.padding == (dilation, dilation), key
            assert module.stride == ((2, 2) if key == "layer2.0.conv2" else (1, 1)), key


def test_released_file_of_pspnet():
    model = saccade.models.pspnet_small(classes=4)
    wrapped = {"epoch": 50, "state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}
    assert saccade.models.load_checkpoint(saccade.models.pspnet_small(classes=4), wrapped).fits


def test_zoom_factors_of_pspnet():
    sizes = [
        saccade.models.pspnet_small(zoom_factor=zoom, output_stride=8).eval()(torch.rand(1, 3, 33, 25)).shape[2:]
        for zoom in (1, 2, 4, 8)
    ]
    assert sizes == [(5, 4), (9, 7), (17, 13), (33, 25)]


@pytest.mark.parametrize(
    ("name", "options", "images", "message"),
    [
        ("drn_seg", {"arch": "resnet50"}, None,
         "drn_seg: arch must be one of drn_a_50, drn_c_26, drn_c_42, drn_c_58, drn_d_22, drn_d_24, "
         "drn_d_38, drn_d_40, drn_d_54, drn_d_56, drn_d_105, got 'resnet50'"),
        ("drn_seg_small", {"classes": 0}, None, "drn_seg: classes must be at least 1, got 0"),
        ("drn_seg_small", {}, torch.rand(1, 1, 8, 8), "drn_seg: images must have shape (N, 3, H, W), got (1, 1, 8, 8)"),
        ("pspnet_small", {"classes": 0}, None, "PSPNet: classes must be at least 1, got 0"),
        ("pspnet_small", {"output_stride": 2}, None, "PSPNet: output_stride must be 4 or 8, got 2"),
        ("pspnet_small", {"zoom_factor": 3}, None, "PSPNet: zoom_factor must be 1, 2, 4 or 8, got 3"),
        ("pspnet_small", {}, torch.rand(1, 3, 1, 1),
         "PSPNet: sides of the images must be 8 k + 1 from 9 on, got (1, 1)"),
        ("pspnet_small", {}, torch.rand(1, 3, 33, 32),
         "PSPNet: sides of the images must be 8 k + 1 from 9 on, got (33, 32)"),
        ("pspnet_small", {"in_channels": 1}, torch.rand(1, 3, 33, 33),
         "PSPNet: images must have shape (N, 1, H, W), got (1, 3, 33, 33)"),
    ],
)  # fmt: skip
def test_errors(name, options, images, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        saccade.models.build(name, **options)(images)
    assert str(error.value) == message


def test_one_pixel():
    assert saccade.models.drn_seg_small(2).eval()(torch.rand(1, 3, 1, 1)).shape == (1, 2, 1, 1)
    message = r"^batch_norm: input must have more than 1 value per channel when training, got shape \(1, 16, 1, 1\)$"
    with pytest.raises(ValueError, match=message):  # one image: one mean over all positions
        saccade.models.pspnet_small(bins=(1, 2, 3, 6))(torch.rand(1, 3, 17, 17))


def test_widths_of_drn():
    with pytest.raises(ValueError, match=r"^DRN-D: widths must be eight, got 2$"):
        saccade.models.drn_d_22(widths=(8, 8))
