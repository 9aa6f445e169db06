"""Models by name."""

import subprocess
import sys

import pytest
import torch

import saccade


def test_every_name_is_a_constructor():
    for name in saccade.models.list_models():
        assert name in saccade.models.__all__
        assert getattr(saccade.models, name).__name__ == name
        assert getattr(saccade.models, name).__doc__


def test_public_names_are_documented():
    assert [name for name in saccade.models.__all__ if not getattr(saccade.models, name).__doc__] == []


CLASSES = {  # of detectors, by the beginning of the name: what has a row for each class
    "fasterrcnn": "roi_heads.box_predictor.cls_score.bias",
    "fast": "roi_heads.box_predictor.cls_score.bias",
    "rcnn": "roi_heads.box_predictor.cls_score.bias",
    "maskrcnn": "roi_heads.mask_predictor.mask_fcn_logits.bias",
    "retinanet": "head.classification_head.cls_logits.bias",
}
ROWS = {"retinanet": 9 * 7, "yolo": 3 * (5 + 7), "yolov2": 5 * (5 + 7), "yolov3": 3 * (5 + 7)}
NEEDED = {name: {"in_features": 4} for name in ("linear", "logistic", "perceptron", "mlp")}
NEEDED["hypercolumn"] = {"backbone": "resnet18", "layers": ["layer1", "layer4"], "channels": [64, 512]}


@pytest.mark.parametrize("name", saccade.models.list_models())
def test_every_model_is_built_for_any_classes(name):
    with torch.device("meta"):  # shapes without values: the large ones too
        model = saccade.models.build(name, **NEEDED.get(name, {}))
        if name != "denoising_autoencoder":
            few = saccade.models.build(name, num_classes=7, **NEEDED.get(name, {})).state_dict()
            rows = few[CLASSES.get(name.split("_")[0], list(few)[-1])].shape[0]
            assert rows == ROWS.get(name.split("_")[0], 7)
    assert model.training
    assert sum(parameter.numel() for parameter in model.parameters()) > 0


@pytest.mark.parametrize("name", ["mlp", "lenet5", "resnet_small", "denoising_autoencoder", "drn_c_26"])
def test_seeded(name):
    states = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        states.append(saccade.models.build(name, **NEEDED.get(name, {})).state_dict())
    same = [
        all(torch.equal(a, b) for a, b in zip(states[0].values(), other.values(), strict=True)) for other in states[1:]
    ]
    assert same == [True, False]


TRAINED = {
    "mlp": ({"in_features": 6}, (8, 6)),
    "lenet5": ({"num_classes": 3}, (8, 1, 32, 32)),
    "resnet_small": ({"num_classes": 3}, (8, 3, 16, 16)),
    "vit_tiny": ({"num_classes": 3, "image_size": 16, "patch_size": 8}, (4, 3, 16, 16)),
}


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("name", TRAINED)
def test_a_few_steps_lower_the_loss(name, bfloat16):
    options, shape = TRAINED[name]
    model = saccade.models.build(name, **options)
    samples = torch.randn(shape)
    if len(shape) == 4:
        samples = samples.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(shape[0]) % 3
    optimizer = torch.optim.Adam(model.parameters(), 1e-2 if name == "mlp" else 1e-3)
    losses = []
    for _ in range(4):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = torch.nn.functional.cross_entropy(model(samples), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_what_is_not_needed_is_not_imported():
    code = (
        "import sys, saccade.models, saccade.nn\n"
        "print(sorted({'torchvision', 'lightning', 'sklearn', 'scipy', 'matplotlib', 'PIL'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "options", "kind", "message"),
    [
        (
            "resnet8",
            {},
            ValueError,
            "build: name must be a known model (close: resnet18, resnet50, resnet34), got 'resnet8'",
        ),
        (
            "qqq",
            {},
            ValueError,
            "build: name must be a known model (saccade.models.list_models() names them), got 'qqq'",
        ),
        (3, {}, ValueError, "build: name must be a known model (saccade.models.list_models() names them), got 3"),
        ("linear", {}, TypeError, "build: linear needs in_features"),
        ("linear", {"colour": 1}, TypeError, "build: linear takes in_features, num_classes; got 'colour'"),
        ("resnet18", {"num_classes": 2.0}, TypeError, "ResNet: num_classes must be an int, got 2.0"),
        ("resnet18", {"num_classes": -1}, ValueError, "ResNet: num_classes must be at least 1, got -1"),
        (
            "resnet18",
            {"layers": 3},
            TypeError,
            "build: resnet18 takes groups, in_channels, norm_layer, num_classes, replace_stride_with_dilation, "
            "small_stem, width_per_group, widths, zero_init_residual; got 'layers'",
        ),
    ],
)
def test_errors(name, options, kind, message):
    with pytest.raises(kind) as error:
        saccade.models.build(name, **options)
    assert str(error.value) == message


ACCELERATED = {
    "alexnet": (
        {"num_classes": 3},
        (1, 3, 64, 64),
        "5× conv2d + relu, 3× max_pool2d, 2× linear + relu, 1× adaptive_avg_pool2d",
    ),
    "lenet5": ({}, (2, 1, 32, 32), "2× conv2d"),
    "vit_tiny": ({"num_classes": 3, "image_size": 16, "patch_size": 8}, (1, 3, 16, 16), "1× conv2d"),
    "logistic": ({"in_features": 4}, (2, 4), ""),
}


@pytest.mark.parametrize("name", ACCELERATED)
def test_accelerated(name):
    options, shape, ours = ACCELERATED[name]
    model, images = saccade.models.build(name, **options).eval(), torch.randn(shape)
    fast = saccade.accelerate(model, images)
    assert ours in saccade.explain(fast)
    assert list(fast.state_dict()) == list(model.state_dict())
    torch.testing.assert_close(fast(images), model(images).detach(), rtol=1e-4, atol=1e-4)
