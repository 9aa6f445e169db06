"""saccade train segment, saccade eval segment."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from saccade.cli import app
from saccade.data import SceneDataset
from saccade.models import load_checkpoint, unet_small

RUNNER = CliRunner()
SMALL = ["--model", "unet_small", "--optimizer", "adamw", "--learning-rate", 0.01, "--batch-size", 4]


def train(*options):
    return RUNNER.invoke(app, ["train", "segment", *map(str, options)])


def evaluate(*options):
    return RUNNER.invoke(app, ["eval", "segment", *map(str, options)])


def write(root, count=14):
    """Scenes of two classes, ground and any shape, of two sizes; class 1 is named in classes.txt."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for i in range(count):
        scene = SceneDataset(count, (32, 32 + 8 * (i % 2)), shapes=(1, 2), seed=5)[i]
        Image.fromarray(scene.image.permute(1, 2, 0).numpy()).save(root / "images" / f"{i:02}.png")
        classes = scene.classes().clamp(max=1).numpy().astype(np.uint8)
        classes[0, 0] = 255
        Image.fromarray(classes).save(root / "masks" / f"{i:02}.png")
    (root / "classes.txt").write_text("ground\nshape\n")
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    result = train(folder, "--out", out, "--json", "--epochs", 4, "--crop-size", 32, "--resize", 0.8, 1.2, *SMALL)
    assert result.exit_code == 0, result.output
    return out, json.loads(result.stdout)


def test_trains_a_folder(trained):
    out, summary = trained
    assert summary["items"] == {"train": 10, "val": 2, "test": 2}
    assert summary["classes"] == ["ground", "shape"]
    assert summary["history"][-1]["train_loss"] < 0.9 * summary["history"][0]["train_loss"]
    assert summary["best_epoch"] == 1 + np.argmax([row["val_mean_iou"] for row in summary["history"]])
    matrix = np.array(summary["confusion_matrix"])
    overlap = matrix.diagonal() / (matrix.sum(0) + matrix.sum(1) - matrix.diagonal())
    assert [row["iou"] for row in summary["per_class"]] == pytest.approx(overlap.tolist())
    assert summary["test_mean_iou"] == pytest.approx(overlap.mean(), abs=1e-6)
    files = ["best.ckpt", "confusion_matrix.png", "curves.png", "last.ckpt", "metrics.csv", "summary.json"]
    assert sorted(path.name for path in out.iterdir()) == files
    written = json.loads((out / "summary.json").read_text())
    assert written == {name: value for name, value in summary.items() if name != "history"}


def test_evaluates_what_was_trained(trained, folder, tmp_path):
    out, summary = trained
    result = evaluate("--checkpoint", out / "best.ckpt", "--json", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    assert measured["part"] == "test"
    assert measured["confusion_matrix"] == summary["confusion_matrix"]
    assert measured["test_loss"] == pytest.approx(summary["test_loss"], rel=1e-6)
    assert (tmp_path / "confusion_matrix.png").exists()
    whole = evaluate(folder, "--checkpoint", out / "best.ckpt", "--part", "all", "--flip", "--scales", "0.75,1,1.25")
    assert whole.exit_code == 0, whole.output
    assert "14 images" in whole.stdout
    windows = evaluate("--checkpoint", out / "best.ckpt", "--part", "val", "--window", 24, "--overlap", 0.5, "--json")
    assert windows.exit_code == 0, windows.output
    assert json.loads(windows.stdout)["items"] == 2


def test_the_checkpoint_loads_into_the_model(trained):
    model = unet_small(n_classes=2)
    load_checkpoint(model, trained[0] / "last.ckpt")
    kept = torch.load(trained[0] / "last.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(model.outc.conv.weight, kept["model.outc.conv.weight"])


def test_scenes_and_resume(tmp_path):
    options = ["scenes", "--scenes", 8, "--crop-size", 33, "--model", "pspnet_small", "--batch-size", 4]
    stopped = train(*options, "--epochs", 1, "--out", tmp_path / "run")
    assert stopped.exit_code == 0, stopped.output
    assert "mean IoU" in stopped.stdout
    resumed = train(*options, "--epochs", 2, "--out", tmp_path / "run", "--resume", "--json")
    assert resumed.exit_code == 0, resumed.output
    summary = json.loads(resumed.stdout)
    assert summary["epochs"] == 2
    assert summary["items"] == {"train": 8, "val": 2, "test": 2}
    assert {"train_main", "train_aux", "train_loss"} <= set(summary["history"][0])
    first = summary["history"][0]
    assert first["train_loss"] == pytest.approx(first["train_main"] + first["train_aux"])


def test_parts_in_folders_of_their_own(tmp_path):
    write(tmp_path / "data" / "train", 4)
    write(tmp_path / "data" / "val", 2)
    result = train(tmp_path / "data", "--epochs", 1, "--crop-size", 32, "--out", tmp_path / "out", "--json", *SMALL)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["items"] == {"train": 4, "val": 2}
    assert summary["classes"] == ["0", "1"]  # counted in the masks: classes.txt lies elsewhere
    assert "test_mean_iou" not in summary
    measured = evaluate("--checkpoint", tmp_path / "out" / "best.ckpt")
    assert measured.exit_code == 0, measured.output
    assert "2 images" in measured.stdout


def test_what_is_wrong_in_the_data_is_named(tmp_path):
    root = write(tmp_path / "data" / "train", 2)
    (root / "classes.txt").rename(root.parent / "classes.txt")
    Image.fromarray(np.full((32, 32), 7, np.uint8)).save(root / "masks" / "00.png")
    result = train(root.parent, "--crop-size", 32, "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 2
    assert "masks/00.png must be from 0 to 1 or ignore_index 255, got 7 (1024 times)" in result.stderr
    Image.fromarray(np.zeros((9, 32), np.uint8)).save(root / "masks" / "00.png")
    result = train(root.parent, "--crop-size", 32, "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 2
    assert "masks/00.png must be as large as its image, (32, 32), got (9, 32)" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["scenes", "--model", "unett"], "name must be a known model (close: unet"),
        (["scenes", "--model", "resnet18"], "model must give a class to each pixel (deeplabv3_resnet50, "),
        (["nowhere"], "train segment: data must be 'scenes' or a folder that exists, got nowhere"),
        (["scenes", "--schedule", "step"], "schedule must be one of poly, cosine, constant, onecycle, got 'step'"),
        (["scenes", "--batch-size", "0"], "train segment: batch_size must be positive, got 0"),
        (["scenes", "--model", "unet_small", "--scenes", "2", "--epochs", "0"], "fit: epochs must be at least 1"),
    ],
)
def test_what_cannot_be_done_is_exit_code_2(tmp_path, options, message):
    result = train(*options, "--out", tmp_path)
    assert result.exit_code == 2
    assert message in result.stderr


def test_nan_is_exit_code_1(tmp_path):
    options = ["scenes", "--scenes", 4, "--crop-size", 32, "--model", "unet_small", "--batch-size", 2]
    result = train(*options, "--epochs", 2, "--learning-rate", 1e30, "--out", tmp_path)
    assert result.exit_code == 1
    assert "train segment: training stopped at step " in result.stderr


def test_evaluation_errors(trained, tmp_path):
    best = trained[0] / "best.ckpt"
    part = evaluate("--checkpoint", best, "--part", "some")
    assert part.exit_code == 2
    assert "eval segment: part must be one that the data has (train, val, test), got 'some'" in part.stderr
    scales = evaluate("--checkpoint", best, "--scales", "1;2")
    assert scales.exit_code == 2
    assert "eval segment: scales must be numbers with commas between them, got '1;2'" in scales.stderr
    torch.save({"state_dict": {}, "info": {"recipe": {}}}, tmp_path / "other.ckpt")
    other = evaluate("--checkpoint", tmp_path / "other.ckpt")
    assert other.exit_code == 2
    assert "eval segment: checkpoint must be one that 'saccade train segment' wrote" in other.stderr
    others = evaluate("scenes", "--checkpoint", best)
    assert others.exit_code == 2
    assert "data must have the classes of the training, ['ground', 'shape'], got ['ground', 'disc'" in others.stderr
