"""A training that stopped and went on gives, bit for bit, the curve and weights of one that never stopped."""

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from saccade.train import fit
from tests.train.training import data, task


class Stop(Exception):
    pass


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer: L.Trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            raise Stop


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    module = task()
    return fit(module, data(), epochs=4, out=tmp_path_factory.mktemp("whole")).history, weights(module)


# 8 steps an epoch: after the first epoch; within the second, from its beginning; within it, from the middle; within
# the last.
@pytest.mark.parametrize(
    ("step", "checkpoint_steps", "expected", "num_workers"),
    [(8, None, 8, 0), (11, None, 8, 0), (14, 3, 12, 0), (31, 3, 30, 0), (14, 3, 12, 2)],
)
def test_resume_gives_the_same_curve_and_weights(whole, tmp_path, step, checkpoint_steps, expected, num_workers):
    with pytest.raises(Stop):
        fit(
            task(), data(num_workers=num_workers), epochs=4, out=tmp_path,
            checkpoint_steps=checkpoint_steps, callbacks=[StopAt(step)],
        )  # fmt: skip
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == expected
    torch.rand(5)  # another process's random numbers
    module = task()
    torch.nn.init.zeros_(module.model[0].weight)
    run = fit(module, data(num_workers=num_workers), epochs=4, out=tmp_path, resume=True)
    history, expected_weights = whole
    assert run.history == history
    assert_same(weights(module), expected_weights)
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 5


def test_resume_amid_accumulation_begins_at_the_last_step(tmp_path):
    options = {"epochs": 2, "accumulate": 3, "checkpoint_steps": 1}
    module = task()
    whole = fit(module, data(), out=tmp_path / "whole", **options).history
    with pytest.raises(Stop):
        fit(task(), data(), out=tmp_path / "run", callbacks=[StopAt(2)], **options)
    resumed = task()
    assert fit(resumed, data(), out=tmp_path / "run", resume=True, **options).history == whole
    assert_same(weights(resumed), weights(module))


def test_more_epochs_than_before(tmp_path):
    constant = {"schedule": None}
    module = task(**constant)
    whole = fit(module, data(), epochs=3, out=tmp_path / "whole").history
    fit(task(**constant), data(), epochs=2, out=tmp_path / "run")
    longer = task(**constant)
    assert fit(longer, data(), epochs=3, out=tmp_path / "run", resume=True).history == whole
    assert_same(weights(longer), weights(module))


def test_other_data_and_a_folder_in_use_are_refused(tmp_path):
    fit(task(), data(), epochs=1, out=tmp_path)
    with pytest.raises(
        ValueError, match=r"^ClassificationData: batch_size must be as when training began, 32, got 16$"
    ):
        fit(task(), data(16), epochs=2, out=tmp_path, resume=True)
    with pytest.raises(ValueError, match=r"^ClassificationData: train must hold as many items as .* 240, got 180$"):
        fit(task(), data(count=300), epochs=2, out=tmp_path, resume=True)
    message = f"fit: out must be a folder without a training, or resume must be set, got {tmp_path}"
    with pytest.raises(ValueError, match=f"^{message}$"):
        fit(task(), data(), epochs=1, out=tmp_path)
