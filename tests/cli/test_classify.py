import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from saccade.cli import app
from saccade.models import load_checkpoint, mlp, resnet_small

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Bright and dark squares, 20 of each."""
    root = tmp_path_factory.mktemp("squares")
    rng = np.random.default_rng(0)
    for name, value in (("bright", 180), ("dark", 60)):
        (root / name).mkdir()
        for i in range(20):
            image = rng.integers(0, 60, (20, 24, 3)) + value
            Image.fromarray(image.astype(np.uint8)).save(root / name / f"{i}.png")
    return root


def train(*options):
    return RUNNER.invoke(app, ["train", "classify", *map(str, options)])


def evaluate(*options):
    return RUNNER.invoke(app, ["eval", "classify", *map(str, options)])


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    options = ["--model", "resnet_small", "--image-size", 16, "--epochs", 4, "--batch-size", 8, "--flip"]
    result = train(folder, "--out", out, "--json", *options, "--augment", 0.5)
    assert result.exit_code == 0, result.output
    return out, json.loads(result.stdout)


def test_trains_a_folder(trained):
    out, summary = trained
    assert summary["items"] == {"train": 28, "val": 6, "test": 6}
    assert summary["classes"] == ["bright", "dark"]
    assert summary["test_accuracy"] == 1
    assert summary["confusion_matrix"] == [[3, 0], [0, 3]]
    assert len(summary["history"]) == summary["epochs"] == 4
    files = ["best.ckpt", "confusion_matrix.png", "curves.png", "last.ckpt", "metrics.csv", "summary.json"]
    assert sorted(path.name for path in out.iterdir()) == files
    written = json.loads((out / "summary.json").read_text())
    assert written == {name: value for name, value in summary.items() if name != "history"}


def test_evaluates_what_was_trained(trained, folder, tmp_path):
    out, summary = trained
    result = evaluate("--checkpoint", out / "best.ckpt", "--json", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    assert measured["test_loss"] == pytest.approx(summary["test_loss"], rel=1e-6)
    assert measured["confusion_matrix"] == summary["confusion_matrix"]
    assert (tmp_path / "confusion_matrix.png").exists()
    whole = evaluate(folder, "--checkpoint", out / "best.ckpt", "--part", "all")
    assert whole.exit_code == 0, whole.output
    assert "40 images" in whole.stdout


def test_the_checkpoint_loads_into_the_model(trained):
    model = resnet_small(num_classes=2)
    load_checkpoint(model, trained[0] / "last.ckpt")
    kept = torch.load(trained[0] / "last.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(model.fc.weight, kept["model.fc.weight"])


def test_resume_after_an_interrupt(tmp_path, monkeypatch):
    options = ["digits", "--model", "mlp", "--epochs", 2, "--batch-size", 256, "--optimizer", "alexnet"]
    whole = train(*options, "--out", tmp_path / "whole", "--json")
    assert whole.exit_code == 0, whole.output
    forward, calls = nn.Linear.forward, []

    def interrupted(self, input):
        calls.append(1)
        if len(calls) == 18:
            raise KeyboardInterrupt
        return forward(self, input)

    out = tmp_path / "run"
    monkeypatch.setattr(nn.Linear, "forward", interrupted)
    stopped = train(*options, "--out", out)
    monkeypatch.undo()
    assert stopped.exit_code == 1
    assert "train classify: interrupted; --resume goes on from " in stopped.stderr
    refused = train(*options, "--out", out)
    assert refused.exit_code == 2
    assert "out must be a folder without a training, or resume must be set" in refused.stderr
    resumed = train(*options, "--out", out, "--json", "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert json.loads(resumed.stdout)["history"] == json.loads(whole.stdout)["history"]
    load_checkpoint(mlp(in_features=64, num_classes=10), out / "best.ckpt")


def test_nan_is_exit_code_1(tmp_path):
    result = train(
        "digits", "--model", "mlp", "--epochs", 1, "--optimizer", "sgd", "--learning-rate", 1e30, "--out", tmp_path
    )
    assert result.exit_code == 1
    assert "train classify: training stopped at step " in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["digits", "--model", "resnet81"], "name must be a known model (close: resnet"),
        (["nowhere"], "train classify: data must be 'digits' or a folder that exists, got nowhere"),
        (["digits", "--optimizer", "adam"], "optimizer must be one of adamw, sgd, alexnet, got 'adam'"),
        (["digits", "--batch-size", "0"], "train classify: batch_size must be positive, got 0"),
        (["digits", "--model", "mlp", "--epochs", "0"], "fit: epochs must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_done_is_exit_code_2(tmp_path, options, message):
    result = train(*options, "--out", tmp_path)
    assert result.exit_code == 2
    assert message in result.stderr


def test_evaluation_errors(trained, tmp_path):
    missing = evaluate("--checkpoint", tmp_path / "none.ckpt")
    assert missing.exit_code == 2
    assert "none.ckpt" in missing.stderr
    part = evaluate("--checkpoint", trained[0] / "best.ckpt", "--part", "some")
    assert part.exit_code == 2
    assert "eval classify: part must be train, val, test or all, got 'some'" in part.stderr
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    other = evaluate("--checkpoint", tmp_path / "other.ckpt")
    assert other.exit_code == 2
    assert "eval classify: checkpoint must be one that 'saccade train classify' wrote" in other.stderr
