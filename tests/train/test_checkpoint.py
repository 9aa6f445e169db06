"""A checkpoint is whole or the one before."""

import signal
import subprocess
import sys
import textwrap

import pytest
import torch

from saccade.train import evaluate, fit, load_weights, read_checkpoint, write_checkpoint
from tests.train.training import data, task

# Writes a checkpoint, then another and is killed after so many bytes of it, or before the renaming.
KILLED = """
    import os, signal, sys
    from pathlib import Path
    import torch
    from saccade.train import checkpoint, write_checkpoint

    path, when = Path(sys.argv[1]), sys.argv[2]
    write_checkpoint({"value": torch.full((200_000,), 1.0)}, path)

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    if when == "half":
        save = torch.save
        def half(content, aside):
            save(content, aside)
            os.truncate(aside, os.path.getsize(aside) // 2)
            die()
        torch.save = half
    else:
        checkpoint.os.fsync = die
    write_checkpoint({"value": torch.full((200_000,), 2.0)}, path)
"""


@pytest.mark.parametrize("when", ["half", "whole"])
def test_killed_while_writing_leaves_the_previous_checkpoint(tmp_path, when):
    path = tmp_path / "last.ckpt"
    command = [sys.executable, "-P", "-c", textwrap.dedent(KILLED), str(path), when]
    killed = subprocess.run(command, timeout=120, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert path.with_name("last.ckpt.part").exists()  # it was amid writing
    assert torch.equal(read_checkpoint(path)["value"], torch.ones(200_000))
    write_checkpoint({"value": 3}, path)  # what is left over is in nobody's way
    assert read_checkpoint(path) == {"value": 3}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_an_error_while_writing_leaves_the_previous_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    write_checkpoint({"value": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        write_checkpoint({"value": lambda: 1}, path)
    assert read_checkpoint(path) == {"value": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_broken_checkpoint_is_named(tmp_path):
    path = tmp_path / "last.ckpt"
    write_checkpoint({"value": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=f"^checkpoint: {path} cannot be read: "):
        read_checkpoint(path)
    with pytest.raises(ValueError, match=f"^checkpoint: {path} cannot be read: "):
        fit(task(), data(), epochs=1, out=tmp_path, resume=True)
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "none.ckpt")


def test_the_best_epoch_is_kept(tmp_path):
    module = task(optimizer=lambda p: torch.optim.SGD(p, 0.3), schedule=None)
    run = fit(module, data(), epochs=5, out=tmp_path, monitor="val_accuracy")
    accuracies = [row["val_accuracy"] for row in run.history]
    assert run.best_epoch == accuracies.index(max(accuracies))
    assert read_checkpoint(run.best)["epoch"] == run.best_epoch
    assert read_checkpoint(run.last)["epoch"] == 4
    with pytest.raises(ValueError, match=r"^fit: monitor must be one of what is logged \(.*val_loss\), got 'iou'$"):
        fit(task(), data(), epochs=1, out=tmp_path / "other", monitor="iou")


def test_weights_load_into_tasks_and_models(tmp_path):
    module = task()
    run = fit(module, data(), epochs=1, out=tmp_path)
    expected = evaluate(module, data())
    fresh = task()
    torch.nn.init.zeros_(fresh.model[0].weight)
    assert evaluate(fresh, data(), checkpoint=run.last) == expected
    assert fresh.confusion_matrix.sum() == 80
    assert fresh.confusion_matrix.trace() == pytest.approx(80 * expected["test_accuracy"])
    from saccade.models import load_checkpoint

    model = task().model
    torch.nn.init.zeros_(model[0].weight)
    load_checkpoint(model, run.last)
    assert torch.equal(model[0].weight, module.model[0].weight)


def test_a_checkpoint_of_another_model_lists_its_keys(tmp_path):
    write_checkpoint({"state_dict": {"model.0.weight": torch.zeros(3), "model.9.bias": torch.zeros(1)}}, tmp_path / "a")
    with pytest.raises(ValueError, match="does not fit") as caught:
        load_weights(task(), tmp_path / "a")
    for part in ('Missing key(s) in state_dict: "model.0.bias"', 'Unexpected key(s) in state_dict: "model.9.bias"'):
        assert part in str(caught.value)
    assert "size mismatch for model.0.weight" in str(caught.value)
    write_checkpoint([1], tmp_path / "b")
    with pytest.raises(ValueError, match=r"^load_weights: checkpoint must be one that fit wrote, got .*b$"):
        load_weights(task(), tmp_path / "b")
