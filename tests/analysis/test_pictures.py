import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import saccade
from saccade.analysis import (
    effective_receptive_field,
    feature_maps,
    filter_grid,
    receptive_field,
    show_feature_maps,
    show_filters,
)


def pixels(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("RGB"))


def box_stack(count):
    layers = [nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(count)]
    for layer in layers:
        nn.init.ones_(layer.weight)
    return nn.Sequential(*layers)


def test_effective_field_by_hand():
    """Two box filters: weights 1 2 3 2 1 along each axis, whatever the image."""
    field = effective_receptive_field(box_stack(2), torch.rand(3, 1, 9, 9), cell=(4, 3))
    line = np.array([1, 2, 3, 2, 1]) / 3
    expected = np.zeros((9, 9))
    expected[2:7, 1:6] = np.outer(line, line)
    np.testing.assert_allclose(field.gradient, expected, rtol=1e-6)
    assert field.images == 3
    np.testing.assert_allclose((*field.centre, *field.deviation), (4.5, 3.5, (4 / 3) ** 0.5, (4 / 3) ** 0.5), rtol=1e-6)
    assert field.size == 5.0  # all 25 are above 4.55 % of the largest


def test_effective_field_averages_over_images_and_batches():
    model = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 2, 5, padding=2)).double()
    images = torch.randn(4, 3, 12, 12, dtype=torch.float64)
    total = torch.zeros(12, 12, dtype=torch.float64)
    for image in images:
        pixel = image[None].clone().requires_grad_()
        model(pixel)[0, :, 6, 6].sum().backward()
        total += pixel.grad[0].abs().sum(0)
    expected = (total / total.max()).numpy()
    for given in (images, [images[:1], images[1:]], list(images)):
        np.testing.assert_allclose(effective_receptive_field(model, given).gradient, expected, rtol=1e-12)


def test_effective_field_lies_in_the_theoretical_one():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=2, dilation=2)
    )
    x1, y1, x2, y2 = receptive_field(model, (3, 40, 40))["3"].support(5, 5)
    gradient = effective_receptive_field(model, torch.randn(8, 3, 40, 40), "3", cell=(5, 5)).gradient
    rows, columns = np.nonzero(gradient)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x1, y1, x2, y2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.rand(1, 1, 8, 8), "9"), "layer must be a name in model.named_modules(), got '9'"),
        ((torch.rand(8, 8),), "images must have shape (N, C, H, W) or (C, H, W), got (8, 8)"),
        (([torch.rand(1, 8, 8), torch.rand(1, 8, 9)],), "images must all have one size, got (8, 8) and (8, 9)"),
        (([],), "images must hold at least one image, got none"),
    ],
)
def test_effective_field_errors(arguments, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        effective_receptive_field(box_stack(1), *arguments)
    assert str(caught.value) == f"effective_receptive_field: {message}"


def test_effective_field_needs_a_gradient_and_a_cell():
    with pytest.raises(ValueError, match=r"all gradients of cell \(4, 4\) of '' are 0"):
        effective_receptive_field(nn.Sequential(*box_stack(1), nn.Threshold(1e9, 0.0)), torch.rand(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"cell must lie in the \(8, 8\) cells of '', got \(8, 0\)"):
        effective_receptive_field(box_stack(1), torch.rand(1, 1, 8, 8), cell=(8, 0))
    with pytest.raises(ValueError, match=r"layer must return a map \(N, C, rows, columns\), got \(1, 64\) from ''"):
        effective_receptive_field(nn.Flatten(), torch.rand(1, 1, 8, 8))


def test_pictures_show_the_field(tmp_path):
    fields = receptive_field(nn.Sequential(nn.Conv2d(3, 4, 5, padding=8), nn.MaxPool2d(2)), (3, 24, 32))
    image = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    figure = fields.figure(image, cell=(0, 0))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0: 5×5", "1: 6×6"]
    patches = figure.axes[0].patches
    assert [(p.get_x(), p.get_y(), p.get_width()) for p in patches] == [(-8, -8, 5), (-8, -8, 6)]
    assert figure.axes[0].get_xlim() == (-9, 33)
    assert len(np.unique(pixels(figure).reshape(-1, 3), axis=0)) > 100
    assert pixels(fields.figure(torch.from_numpy(image).movedim(2, 0))).shape == pixels(fields.figure(image)).shape
    with pytest.raises(ValueError, match=r"^receptive_field: image must be an array \(H, W\).* size|width \(24, 32\)"):
        fields.figure(image[:20])
    effective = effective_receptive_field(box_stack(3), torch.rand(1, 1, 24, 32))
    effective.figure(image, path=tmp_path / "effective.png")
    assert Image.open(tmp_path / "effective.png").size[0] > 500


def test_filters_as_one_picture(tmp_path):
    layer = nn.Conv2d(3, 5, 3)
    picture = filter_grid(layer)
    assert picture.shape == (2 * 4 - 1, 3 * 4 - 1, 3)
    weight = layer.weight.detach().double().numpy()
    expected = (weight[4] - weight[4].min()) / (weight[4].max() - weight[4].min())
    np.testing.assert_allclose(picture[4:7, 4:7], np.moveaxis(expected, 0, -1))
    assert (picture[3] == 1).all()
    assert filter_grid(nn.Conv2d(1, 4, 5)).shape == (11, 11)
    model = nn.Sequential(nn.Linear(2, 2), saccade.nn.Conv2d(2, 6, 3), saccade.nn.ConvTranspose2d(6, 2, 4))
    assert filter_grid(model).shape == (6 * 4 - 1, 2 * 4 - 1)
    assert filter_grid(model, "2", most=1).shape == (4, 6 * 5 - 1)
    show_filters(model, "1", path=tmp_path / "filters.png")
    assert Image.open(tmp_path / "filters.png").size[1] > 400
    with pytest.raises(ValueError, match=r"^show_filters: layer must have a four-d.* weight, got '0' \(Linear\)$"):
        show_filters(model, "0")
    with pytest.raises(ValueError, match=r"^filter_grid: model must have a layer with .* weight, got Linear$"):
        filter_grid(nn.Linear(2, 2))


def test_feature_maps_of_any_layer(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(6 * 36, 7))
    image = torch.rand(1, 8, 8)
    maps = feature_maps(model, image, ["0", "1", "3", ""])
    torch.testing.assert_close(maps["0"], model[0](image[None]).detach())  # as they were before ReLU wrote into them
    assert (maps["1"] >= 0).all()
    assert maps["3"].shape == (1, 7)
    figure = show_feature_maps(model, image, ["0", "1", "3"], most=4, path=tmp_path / "maps.png")
    assert [axis.get_title() for axis in figure.axes] == ["0: 6×6×6", "1: 6×6×6", "3: 7"]
    assert figure.axes[0].images[0].get_array().shape == (13, 13)
    assert list(feature_maps(model, image)) == ["0"]
    with pytest.raises(ValueError, match=r"^feature_maps: layers must be names of modules that ran .*, got '9'$"):
        feature_maps(model, image, ["9"])
    with pytest.raises(ValueError, match=r"^show_feature_maps: image must have shape .*, got \(2, 1, 8, 8\)$"):
        show_feature_maps(model, torch.rand(2, 1, 8, 8))
