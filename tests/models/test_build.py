"""Models by name."""

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


def test_seeded():
    models = []
    for _ in range(2):
        torch.manual_seed(7)
        models.append(saccade.models.build("resnet_small", num_classes=3).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(models[0].values(), models[1].values(), strict=True))


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
