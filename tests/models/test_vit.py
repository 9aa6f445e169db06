"""Vision transformers beside torchvision's."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import saccade
from saccade.models.vit import VisionTransformer
from tests.util.reference_models import relative, same_start

vision_transformer = pytest.importorskip("torchvision.models.vision_transformer")
SMALL = {"image_size": 32, "patch_size": 8, "num_classes": 5, "dropout": 0.1, "attention_dropout": 0.2}


def small():
    """vit_tiny with two blocks, on small images."""
    return VisionTransformer(2, 3, 192, 768, **SMALL)


def pair():
    return same_start(
        small,
        lambda: vision_transformer.VisionTransformer(
            num_layers=2, num_heads=3, hidden_dim=192, mlp_dim=768, **SMALL
        ),
    )  # fmt: skip


def with_a_head(model):
    nn.init.normal_(model.heads.head.weight)
    return model


def test_layout_of_vit_b_16():
    with torch.device("meta"):
        ours, theirs = saccade.models.vit_b_16(), vision_transformer.vit_b_16()
    shapes = [{key: value.shape for key, value in model.state_dict().items()} for model in (ours, theirs)]
    assert list(shapes[0].items()) == list(shapes[1].items())
    assert sum(p.numel() for p in ours.parameters()) == 86_567_656
    assert [m.num_heads for m in ours.modules() if isinstance(m, nn.MultiheadAttention)] == [12] * 12


def test_layout_of_vit_tiny():
    with torch.device("meta"):
        ours = saccade.models.build("vit_tiny")
        theirs = vision_transformer.VisionTransformer(224, 16, 12, 3, 192, 768)
    shapes = [{key: value.shape for key, value in model.state_dict().items()} for model in (ours, theirs)]
    assert list(shapes[0].items()) == list(shapes[1].items())


def test_logits_and_gradients():
    ours, theirs = pair()
    ours.load_state_dict(with_a_head(theirs).state_dict())
    images, labels = torch.rand(3, 3, 32, 32), torch.tensor([0, 1, 4])
    with torch.no_grad():
        assert relative(ours.eval()(images), theirs.eval()(images)) < 1e-4
    losses = []
    for model in (ours.train(), theirs.train()):
        torch.manual_seed(5)  # drop-out draws in the same order
        losses.append(functional.cross_entropy(model(images), labels))
        losses[-1].backward()
    assert relative(losses[0], losses[1]) < 1e-5
    for (key, parameter), expected in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert relative(parameter.grad, expected.grad) < 1e-4, key


def test_old_layout():
    model = with_a_head(small())
    state = model.state_dict()
    old = {key.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2."): v for key, v in state.items()}
    assert set(old) != set(state)
    other = small()
    assert saccade.models.load_checkpoint(other, old).renamed == ["torchvision ViT 1"]
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(other.eval()(images), model.eval()(images))


def test_accelerated_and_exported():
    model = with_a_head(small()).eval()
    images = torch.rand(2, 3, 32, 32)
    fast = saccade.accelerate(model, images)
    program = torch.export.export(model, (images,))
    with torch.no_grad():
        assert relative(fast(images), model(images)) < 1e-4
        assert relative(program.module()(images), model(images)) < 1e-5
    assert model.features(images).shape == (2, 17, 192)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"image_size": 30},
            "VisionTransformer: image_size must be a multiple of patch_size, got 30 and 16",
        ),
        ({"num_classes": 0}, "VisionTransformer: num_classes must be at least 1, got 0"),
        ({"image_size": 0}, "VisionTransformer: image_size must be at least 1, got 0"),
        ({}, "VisionTransformer: images must have shape (N, 3, 224, 224), got (1, 3, 32, 32)"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError) as error, torch.device("meta"):  # noqa: PT011
        saccade.models.vit_tiny(**options)(torch.zeros(1, 3, 32, 32))
    assert str(error.value) == message
