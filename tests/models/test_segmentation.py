"""FCN and DeepLabv3 on ResNets beside torchvision's."""

import copy

import pytest
import torch
from torch.nn import functional

import saccade
from tests.util.reference_models import randomised, relative, same_start

models = pytest.importorskip("torchvision").models.segmentation

# The keys beside the backbone's, normalisations by their weights.
HEADS = {
    "fcn": ["0.weight", "1.weight", "4.weight", "4.bias"],
    "deeplabv3": [
        *(f"0.convs.{branch}.{part}.weight" for branch in range(4) for part in (0, 1)),
        "0.convs.4.1.weight", "0.convs.4.2.weight", "0.project.0.weight", "0.project.1.weight",
        "1.weight", "2.weight", "4.weight", "4.bias",
    ],
}  # fmt: skip


def theirs(name, **options):
    return getattr(models, name)(weights=None, weights_backbone=None, **options)


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_resnet50"])
def test_as_torchvision(name):
    options = {"num_classes": 5, "aux_loss": True}
    ours, reference = same_start(lambda: saccade.models.build(name, **options), lambda: theirs(name, **options))
    ours.load_state_dict(copy.deepcopy(randomised(reference).state_dict()))
    images = torch.rand(2, 3, 33, 40)
    with torch.no_grad():
        a, b = ours.eval()(images), reference.eval()(images)
        assert list(a) == list(b) == ["out", "aux"]
        assert type(a) is type(b)
        for key in b:
            assert relative(a[key], b[key]) < 1e-4
        # In float64: see assert_same_logits.
        a, b = (without_dropout(model).double().train()(images.double()) for model in (ours, reference))
        for key in b:
            assert relative(a[key], b[key]) < 1e-9
    for (key, value), expected in zip(ours.state_dict().items(), reference.state_dict().values(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("aux", [False, True])
@pytest.mark.parametrize("name", ["fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101"])
def test_layout(name, aux):
    with torch.device("meta"):
        ours, reference = saccade.models.build(name, aux_loss=aux), theirs(name, aux_loss=aux)
    shapes = [{key: tuple(value.shape) for key, value in m.state_dict().items()} for m in (ours, reference)]
    assert list(shapes[0].items()) == list(shapes[1].items())
    assert {key.split(".")[0] for key in shapes[0]} == {"backbone", "classifier", *(["aux_classifier"] * aux)}
    head = [key.removeprefix("classifier.") for key in shapes[0] if key.startswith("classifier.")]
    norms = {key.removesuffix("running_var") for key in head if key.endswith("running_var")}
    kept = [k for k in head if not (k.endswith((".bias", "running_mean", "running_var", "num_batches_tracked"))
                                    and k.rpartition(".")[0] + "." in norms)]  # fmt: skip
    assert kept == HEADS[name.split("_")[0]]
    assert shapes[0]["classifier.4.bias"] == (21,)


def test_gradients():
    options = {"num_classes": 3, "aux_loss": True}
    reference = without_dropout(randomised(theirs("deeplabv3_resnet50", **options))).double()
    ours = without_dropout(saccade.models.deeplabv3_resnet50(**options)).double()
    ours.load_state_dict(copy.deepcopy(reference.state_dict()))
    images, labels = torch.rand(2, 3, 17, 17, dtype=torch.float64), torch.randint(0, 3, (2, 17, 17))
    for model in (ours, reference):
        found = model(images)
        (functional.cross_entropy(found["out"], labels) + functional.cross_entropy(found["aux"], labels)).backward()
    for (key, a), b in zip(ours.named_parameters(), reference.parameters(), strict=True):
        assert (a.grad - b.grad).abs().max() <= 1e-7 * b.grad.abs().max() + 1e-12, key


def test_checkpoint_without_the_auxiliary_classifier():
    state = saccade.models.fcn_resnet_small(num_classes=3, aux_loss=True).state_dict()
    report = saccade.models.load_checkpoint(saccade.models.fcn_resnet_small(num_classes=3), state, strict=False)
    assert report.missing == []
    assert {key.split(".")[0] for key in report.unexpected} == {"aux_classifier"}


def test_one_pixel():
    image = torch.rand(1, 3, 1, 1)
    reference = randomised(theirs("deeplabv3_resnet50", num_classes=3)).eval()
    ours = saccade.models.deeplabv3_resnet50(num_classes=3).eval()
    ours.load_state_dict(reference.state_dict())
    with torch.no_grad():
        assert relative(ours(image)["out"], reference(image)["out"]) < 1e-4
    message = r"^batch_norm: input must have more than 1 value per channel when training, got shape \(1, 64, 1, 1\)$"
    with pytest.raises(ValueError, match=message):
        ours.train()(image)
    with pytest.raises(ValueError, match=message.replace("64", "32")):  # one image: one mean over positions
        saccade.models.deeplabv3_small()(torch.rand(1, 3, 16, 16))


@pytest.mark.parametrize(
    ("name", "options", "images", "message"),
    [
        ("fcn_resnet_small", {}, torch.rand(1, 1, 8, 8), "FCN: images must have shape (N, 3, H, W), got (1, 1, 8, 8)"),
        ("deeplabv3_small", {"in_channels": 1}, torch.rand(1, 8, 8),
         "DeepLabV3: images must have shape (N, 1, H, W), got (1, 8, 8)"),
        ("fcn_resnet_small", {"num_classes": 0}, None, "FCN: num_classes must be at least 1, got 0"),
        ("deeplabv3_small", {"num_classes": -1}, None, "DeepLabV3: num_classes must be at least 1, got -1"),
    ],
)  # fmt: skip
def test_errors(name, options, images, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        saccade.models.build(name, **options)(images)
    assert str(error.value) == message


def test_errors_of_the_class():
    from saccade.models.residual import BasicBlock
    from saccade.models.segmentation.deeplab import ResNetSegmenter

    with pytest.raises(ValueError, match=r"^ResNetSegmenter: head must be 'fcn' or 'deeplabv3', got 'crf'$"):
        ResNetSegmenter("crf", BasicBlock, (1, 1, 1, 1))
