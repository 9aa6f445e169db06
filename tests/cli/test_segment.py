import json

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from typer.testing import CliRunner

import saccade
from saccade import classic, models
from saccade.cli import app
from saccade.models.segmentation import predict

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def astronaut(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "astronaut.png"
    Image.fromarray(skimage.data.astronaut()[::2, ::2].copy()).save(path)
    return path


def pixels(path):
    return np.asarray(Image.open(path))


def segment(*arguments, code=0):
    result = RUNNER.invoke(app, ["segment", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def records(*arguments, code=0):
    return json.loads(segment(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    """A network that tells bright pixels (class 1) from dark ones, as a file of weights of three classes."""
    torch.manual_seed(0)
    model = models.unet_small(3, 3).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        # The first channel of the first skip is the brightness, and decides.
        model.inc.double_conv[0].weight[0, :, 1, 1] = 1
        model.inc.double_conv[1].weight[0] = 1
        model.inc.double_conv[3].weight[0, 0, 1, 1] = 1
        model.inc.double_conv[4].weight[0] = 1
        block = model.up4.conv.double_conv
        block[0].weight[0, 0, 1, 1] = 1
        block[1].weight[0] = 1
        block[3].weight[0, 0, 1, 1] = 1
        block[4].weight[0] = 1
        model.outc.conv.weight[1, 0] = 20
        model.outc.conv.bias[:] = torch.tensor([20.0, 0, -50])
    path = tmp_path_factory.mktemp("weights") / "unet.pth"
    torch.save(model.state_dict(), path)
    return path


def test_grabcut_is_that_of_the_library(astronaut, tmp_path):
    (record,) = records(astronaut, "--grabcut", "35,5,165,250", "--out", tmp_path)
    photo = pixels(astronaut)
    expected = classic.grab_cut(photo, rect=(35, 5, 165, 250)) % 2
    np.testing.assert_array_equal(pixels(record["classes_file"]), expected)
    assert Image.open(record["classes_file"]).getpalette()[:6] == [0, 0, 0, 128, 0, 0]
    overlay = saccade.analysis.overlay_classes(photo, expected, unpainted=[0])
    np.testing.assert_array_equal(pixels(record["overlay_file"]), overlay)
    assert (record["width"], record["height"]) == (256, 256)
    counts = {row["name"]: row["pixels"] for row in record["classes"]}
    assert counts == {"object": int(expected.sum()), "background": int((1 - expected).sum())}
    assert 0.2 < expected.mean() < 0.5


def test_edits(astronaut, tmp_path):
    photo = pixels(astronaut)
    mask = classic.grab_cut(photo, rect=(35, 5, 165, 250)) % 2 == 1
    rect = "--grabcut", "35,5,165,250", "--out", tmp_path, "--edit"
    (record,) = records(astronaut, *rect, "recolour", "--colour", "teal")
    np.testing.assert_array_equal(pixels(record["edited_file"]), classic.recolour(photo, mask, (0, 128, 128)))
    (record,) = records(astronaut, *rect, "blur", "--blur", 5)
    np.testing.assert_array_equal(pixels(record["edited_file"]), classic.blur_background(photo, mask, 5))
    (record,) = records(astronaut, *rect, "remove")
    np.testing.assert_array_equal(pixels(record["edited_file"]), classic.replace_background(photo, mask))
    (record,) = records(astronaut, *rect, "remove", "--colour", "#ff8000", "--select", "background")
    expected = classic.replace_background(photo, ~mask, (255, 128, 0))
    np.testing.assert_array_equal(pixels(record["edited_file"]), expected)
    other = tmp_path / "other.png"
    Image.fromarray(np.full((20, 30, 3), 7, np.uint8)).save(other)
    (record,) = records(astronaut, *rect, "remove", "--background", other)
    expected = classic.replace_background(photo, mask, np.full_like(photo, 7))
    np.testing.assert_array_equal(pixels(record["edited_file"]), expected)


def test_large_images_are_segmented_smaller(astronaut, tmp_path):
    (record,) = records(astronaut, "--grabcut", "35,5,165,250", "--out", tmp_path, "--max-side", 128)
    photo = pixels(astronaut)
    small = np.asarray(Image.fromarray(photo).resize((128, 128), Image.Resampling.BILINEAR))
    expected = classic.grab_cut(small, rect=(18, 2, 82, 126)) % 2
    found = pixels(record["classes_file"])
    assert found.shape == photo.shape[:2]
    assert (found[1::2, 1::2] == expected).mean() > 0.98
    assert set(np.unique(expected)) == {0, 1}


def test_a_network_by_name(astronaut, unet, tmp_path):
    photo = pixels(astronaut)
    bright = photo.astype(np.float32).sum(2) / 255 > 1
    arguments = astronaut, "--model", "unet_small", "--weights", unet, "--out", tmp_path
    (record,) = records(*arguments)
    found = pixels(record["classes_file"])
    assert set(np.unique(found)) == {0, 1}
    assert (found == bright).mean() > 0.99  # batch normalisation's epsilon moves the threshold a little
    names = tmp_path / "names.txt"
    names.write_text("dark\nbright\nother\n")
    (named,) = records(*arguments, "--names", names, "--no-accelerate", "--edit", "remove", "--select", "bright")
    assert {row["name"] for row in named["classes"]} == {"dark", "bright"}
    np.testing.assert_array_equal(pixels(named["classes_file"]), found)
    assert pixels(named["overlay_file"]).shape[1] > photo.shape[1]  # the legend
    opacity = pixels(named["edited_file"])[..., 3]
    np.testing.assert_allclose(opacity / 255, classic.feather_mask(found == 1, 1), atol=0.01)


def test_scales_windows_and_the_crf(astronaut, unet, tmp_path):
    photo = pixels(astronaut)
    model = models.unet_small(3, 3).eval()
    models.load_checkpoint(model, unet)
    images = torch.tensor(photo).permute(2, 0, 1)[None].float() / 255
    arguments = astronaut, "--model", "unet_small", "--weights", unet, "--out", tmp_path
    (record,) = records(*arguments, "--scales", "0.5,1", "--flip", "--window", 128)
    expected = predict(model, images, window=128, scales=(0.5, 1), flip=True)[0].argmax(0).numpy()
    assert (pixels(record["classes_file"]) == expected).mean() > 0.999
    (record,) = records(*arguments, "--crf")
    costs = -predict(model, images)[0].clamp_min(1e-6).log().numpy()
    refined = classic.dense_crf(costs, photo).argmax(0)
    assert (pixels(record["classes_file"]) == refined).mean() > 0.999
    assert (refined != costs.argmin(0)).mean() > 0.003


def test_a_checkpoint_of_training(astronaut, tmp_path):
    torch.manual_seed(1)
    model = models.pspnet_small(classes=3, in_channels=3).eval()
    mean, variance = torch.tensor([0.4, 0.5, 0.3]).double(), torch.tensor([0.04, 0.09, 0.0]).double()
    path = tmp_path / "best.ckpt"
    torch.save(
        {
            "state_dict": {f"model.{name}": value for name, value in model.state_dict().items()},
            "info": {
                "command": "saccade train segment",
                "recipe": {"model": "pspnet_small"},
                "classes": ["ground", "disc", "box"],
                "options": {"in_channels": 3},
            },
            "SegmentationData": {"normalize": {"mean": mean, "variance": variance}, "classes": []},
        },
        path,
    )
    (record,) = records(astronaut, "--model", path, "--out", tmp_path / "out")
    images = torch.tensor(pixels(astronaut)).permute(2, 0, 1)[None].float() / 255
    std = torch.tensor([0.2, 0.3, 1.0]).view(1, 3, 1, 1)
    normalised = (images - mean.float().view(1, 3, 1, 1)) / std
    expected = predict(model, normalised, multiple=8, plus=1)[0].argmax(0).numpy()
    assert (pixels(record["classes_file"]) == expected).mean() > 0.999
    assert {row["name"] for row in record["classes"]} <= {"ground", "disc", "box"}


def test_the_auxiliary_classifier_of_a_checkpoint_is_found(astronaut, tmp_path):
    torch.manual_seed(2)
    path = tmp_path / "fcn.pth"
    torch.save(models.fcn_resnet_small(num_classes=19, aux_loss=True).state_dict(), path)
    (record,) = records(astronaut, "--model", "fcn_resnet_small", "--weights", path, "--out", tmp_path)
    cityscapes = {"road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"}
    cityscapes |= {"vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train"}
    assert {row["name"] for row in record["classes"]} <= cityscapes | {"motorcycle", "bicycle"}


def test_folders(astronaut, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = Image.open(astronaut).resize((64, 64))
    photo.save(folder / "b.png")
    photo.save(folder / "a.jpg")
    photo.save(folder / "a.png")
    (folder / "notes.txt").write_text("no image")
    arguments = folder, "--grabcut", "9,2,41,60", "--out", tmp_path / "out"
    found = records(*arguments)
    assert [record["image"] for record in found] == [str(folder / name) for name in ("a.jpg", "a.png", "b.png")]
    assert len({record["overlay_file"] for record in found}) == 3
    (folder / "broken.png").write_text("no image")
    result = segment(*arguments, "--json", code=1)
    assert len(json.loads(result.stdout)) == 3
    assert f"segment: cannot read the image {folder / 'broken.png'}" in result.stderr.replace("\n", "")


def test_says_what_it_found(astronaut, tmp_path):
    text = segment(astronaut, "--grabcut", "35,5,165,250", "--out", tmp_path).stdout
    assert f"{astronaut}: 256×256" in text
    assert "background" in text
    assert "object" in text
    assert str(tmp_path / "astronaut-classes.png") in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "segment: --grabcut or --model must be given, one of them, got neither"),
        (
            ["--grabcut", "1,2,3,4", "--model", "unet"],
            "segment: --grabcut or --model must be given, one of them, got both",
        ),
        (["--grabcut", "1,2,3"], "segment: grabcut must be x,y,w,h in whole pixels, got '1,2,3'"),
        (["--grabcut", "0,0,256,256"], "segment: grab_cut: "),
        (["--model", "unett"], "segment: model must be one of deeplabv3_resnet101"),
        (["--model", "unet"], "segment: weights must be a checkpoint for unet, got none"),
        (["--model", "unet", "--set", "bilinear"], "segment: set must be NAME=VALUE, got 'bilinear'"),
        (["--model", "unet", "--scales", "1;2"], "segment: scales must be numbers with commas between them, got '1;2'"),
        (["--grabcut", "9,2,41,60", "--edit", "cut"], "segment: edit must be one of recolour, blur, remove, got 'cut'"),
        (["--grabcut", "9,2,41,60", "--colour", "red"], "segment: colour must come with --edit, got red"),
        (
            ["--grabcut", "9,2,41,60", "--edit", "recolour", "--colour", "rot"],
            "segment: colour must be a name or #rrggbb, got 'rot'",
        ),
        (
            ["--grabcut", "9,2,41,60", "--edit", "blur", "--select", "dog"],
            "segment: select must be of the classes background, object, got 'dog'",
        ),
        (
            ["--grabcut", "9,2,41,60", "--edit", "blur", "--background", "a.png"],
            "segment: background must come with --edit remove and without --colour, got a.png",
        ),
        (["--grabcut", "9,2,41,60", "--alpha", "2"], "segment: overlay_classes: alpha must be from 0 to 1, got 2.0"),
    ],
)
def test_errors(arguments, message, astronaut, tmp_path):
    result = segment(astronaut, *arguments, "--out", tmp_path, code=2)
    assert result.stderr.replace("\n", "").startswith(message)


def test_files_that_do_not_fit(astronaut, unet, tmp_path):
    result = segment(astronaut, "--model", unet, "--out", tmp_path, code=2)
    assert "model must be a checkpoint of 'saccade train segment', or a name with --weights, got" in result.stderr
    result = segment(astronaut, "--model", "drn_seg_small", "--weights", unet, "--out", tmp_path, code=2)
    assert "the checkpoint does not fit DRNSeg:" in result.stderr
    assert "missing (" in result.stderr
    result = segment(tmp_path / "none.png", "--grabcut", "1,2,3,4", "--out", tmp_path, code=2)
    assert "segment: there is no file" in result.stderr
    text = tmp_path / "text.png"
    text.write_text("no image")
    result = segment(text, "--grabcut", "1,2,3,4", "--out", tmp_path, code=2)
    assert f"segment: cannot read the image {text}" in result.stderr.replace("\n", "")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "must hold images" in segment(empty, "--grabcut", "1,2,3,4", "--out", tmp_path, code=2).stderr
    broken = tmp_path / "broken.ckpt"
    broken.write_text("no weights")
    assert "cannot be read" in segment(astronaut, "--model", broken, "--out", tmp_path, code=2).stderr
    names = tmp_path / "names.txt"
    names.write_text("one\ntwo\n")
    arguments = astronaut, "--model", "unet_small", "--weights", unet, "--names", names, "--out", tmp_path
    assert "names must be those of the model's 3 classes, got 2" in segment(*arguments, code=2).stderr
