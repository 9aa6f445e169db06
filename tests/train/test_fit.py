"""What a training logs, writes and takes."""

import csv
import signal
import threading
import warnings

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from torch import nn
from torchmetrics.classification import MulticlassF1Score

from saccade import data as D
from saccade.train import ClassificationData, Classifier, Task, evaluate, fit, plot_confusion_matrix, plot_curves
from tests.train.training import data, noise, parts, task


def test_metrics_are_those_of_scikit_learn(tmp_path):
    module = task(metrics={"f1": MulticlassF1Score(10, average="macro")})
    sets = data()
    fit(module, sets, epochs=2, out=tmp_path)
    measured = evaluate(module, sets)
    module.eval()
    with torch.no_grad():
        pairs = [(module(images), labels) for images, labels in sets.test_dataloader()]
    scores, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    found = scores.argmax(1)
    assert measured["test_accuracy"] == pytest.approx(accuracy_score(labels, found))
    assert measured["test_f1"] == pytest.approx(f1_score(labels, found, average="macro"), rel=1e-6)
    assert measured["test_loss"] == pytest.approx(float(nn.functional.cross_entropy(scores, labels)), rel=1e-6)
    np.testing.assert_array_equal(module.confusion_matrix, confusion_matrix(labels, found))
    predicted = module.predict_step(next(iter(sets.test_dataloader())), 0)
    assert torch.equal(predicted, scores[:32])


def test_the_curve_is_that_of_a_plain_loop(tmp_path):
    sets = data()
    module = task(dropout=0.0, schedule=None)
    plain = task(dropout=0.0).model
    run = fit(module, sets, epochs=2, out=tmp_path)
    optimizer = torch.optim.SGD(plain.parameters(), 0.05, momentum=0.9)
    batches = data().train_dataloader()
    for row in run.history:
        total = count = 0
        for images, labels in batches:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(plain(images), labels)
            loss.backward()
            optimizer.step()
            total, count = total + loss.item() * len(images), count + len(images)
        assert row["train_loss"] == pytest.approx(total / count, rel=1e-6)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, module.model.state_dict()[name])


def test_accumulation_is_the_larger_batch(tmp_path):
    options = {"dropout": 0.0, "schedule": None}
    one, many = task(**options), task(**options)
    for module in (one, many):
        module.model[1] = nn.Identity()  # batch normalisation sees the small batches
    fit(one, data(30), epochs=2, out=tmp_path / "one")
    fit(many, data(10), epochs=2, out=tmp_path / "many", accumulate=3)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(many.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_mixed_precision(tmp_path):
    module = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), 10)
    kinds = set()
    module.model[1].register_forward_hook(lambda m, i, output: kinds.add(output.dtype))
    run = fit(module, data(), epochs=3, out=tmp_path, precision="bf16-mixed", accelerator="cpu")
    assert kinds == {torch.bfloat16}
    assert module.model[1].weight.dtype == torch.float32
    assert run.history[-1]["train_loss"] < run.history[0]["train_loss"]


def test_early_stopping(tmp_path):
    module = task(optimizer=lambda p: torch.optim.SGD(p, 0.0), schedule=None)
    run = fit(module, data(), epochs=20, out=tmp_path, patience=2)
    # Without a step only the running statistics change the validation loss.
    stalls = [row["val_loss"] for row in run.history]
    assert len(stalls) < 20
    assert run.best_epoch == len(stalls) - 3


def test_named_losses_weighting_and_penalty(tmp_path):
    def loss(scores, labels):
        return {"class": nn.functional.cross_entropy(scores, labels), "size": scores.square().mean()}

    def penalty(model):
        return 0.25 * model[5].weight.abs().sum()

    module = task(loss=loss, weighting=lambda losses: 2 * losses["class"] + losses["size"], penalty=penalty)
    weight = penalty(module.model).item()
    run = fit(module, data(batch_size=240), epochs=1, out=tmp_path)
    (row,) = run.history
    assert row["train_loss"] == pytest.approx(2 * row["train_class"] + row["train_size"], rel=1e-6)
    assert row["train_penalty"] == pytest.approx(weight, rel=1e-6)
    assert "val_penalty" not in row
    plain = fit(task(loss=loss), data(), epochs=1, out=tmp_path / "sum").history[0]
    assert plain["val_loss"] == pytest.approx(plain["val_class"] + plain["val_size"], rel=1e-6)


def test_frozen_parameters_stay(tmp_path):
    module = task()
    module.model[0].requires_grad_(False)
    before = module.model[0].weight.clone()
    fit(module, data(), epochs=1, out=tmp_path)
    assert torch.equal(module.model[0].weight, before)
    module.requires_grad_(False)
    with pytest.raises(ValueError, match=r"^Classifier: model must have parameters that require a gradient, got none$"):
        fit(module, data(), epochs=1, out=tmp_path / "other")


def test_normalisation_is_fitted_on_the_training_set_and_kept(tmp_path):
    sets = data(augment=None)
    raw = torch.stack([image for image, _ in parts()["train"]])
    assert float(sets.normalize.mean) == pytest.approx(float(raw.mean()), rel=1e-5)
    images = torch.cat([images for images, _ in sets.train_dataloader()])
    assert abs(float(images.mean())) < 1e-5
    assert float(images.std(correction=0)) == pytest.approx(1, rel=1e-5)
    fit(task(), sets, epochs=1, out=tmp_path)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["ClassificationData"]
    assert torch.equal(state["normalize"]["mean"], sets.normalize.mean)
    assert state["classes"] == [str(i) for i in range(10)]


def test_only_training_images_are_augmented():
    sets, plain = data(), data(augment=None)
    assert not torch.equal(next(iter(sets.train_dataloader()))[0], next(iter(plain.train_dataloader()))[0])
    assert torch.equal(next(iter(sets.val_dataloader()))[0], next(iter(plain.val_dataloader()))[0])


def test_curves_and_table(tmp_path):
    run = fit(task(), data(), epochs=3, out=tmp_path)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [{name: float(value) for name, value in row.items()} for row in rows] == run.history
    assert [row["epoch"] for row in run.history] == [0, 1, 2]
    names = {f"{stage}_{name}" for stage in ("train", "val") for name in ("loss", "accuracy")}
    assert set(run.history[0]) == {"epoch", "step", "learning_rate", *names}
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size[0] > 900  # two panels
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for color in ((0x1F, 0x77, 0xB4), (0xFF, 0x7F, 0x0E)):  # training, validation
        assert (np.abs(pixels.astype(int) - color).sum(1) < 12).sum() > 200
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "curves.png", "last.ckpt", "metrics.csv"]


def test_pictures(tmp_path):
    plot_curves([{"epoch": 0, "train_loss": 1.0}], tmp_path / "one.png")
    plot_confusion_matrix(torch.tensor([[5, 1], [0, 7]]), tmp_path / "matrix.png", ["cat", "dog"])
    plot_confusion_matrix(np.eye(100, dtype=int), tmp_path / "large.png")
    for name in ("one.png", "matrix.png", "large.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 300


def test_it_is_quiet(tmp_path, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(task(), data(), epochs=1, out=tmp_path)
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")


def test_progress_bars_go_to_stderr(tmp_path, capfd):
    fit(task(), data(), epochs=1, out=tmp_path, progress=True)
    written = capfd.readouterr()
    assert written.out == ""
    assert "Epoch 0" in written.err


def test_ctrl_c_comes_through(tmp_path):
    class Press(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 10:
                signal.raise_signal(signal.SIGINT)

    assert threading.current_thread() is threading.main_thread()
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(task(), data(), epochs=2, out=tmp_path, callbacks=[Press()])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 8


def test_arguments(tmp_path):
    for name in ("epochs", "accumulate", "patience"):
        with pytest.raises(ValueError, match=f"^fit: {name} must be at least 1, got 0$"):
            fit(task(), data(), **({"epochs": 1, "out": tmp_path} | {name: 0}))
    with pytest.raises(ValueError, match=r"^Classifier: num_classes must be at least 2, got 1$"):
        Classifier(nn.Linear(1, 1), 1)
    with pytest.raises(TypeError, match=r"^Classifier: model must be a torch.nn.Module, got str$"):
        Classifier("resnet18", 10)
    with pytest.raises(ValueError, match=r"^ClassificationData: batch_size must be at least 1, got 0$"):
        data(0)
    empty = torch.utils.data.Subset(D.digits(), [])
    with pytest.raises(ValueError, match=r"^ClassificationData: val must hold at least one item, got none$"):
        ClassificationData(D.digits(), empty)
    pairs = [(torch.zeros(1), 0)]
    message = "ClassificationData: num_classes must be given where the data set does not tell it"
    with pytest.raises(ValueError, match=f"^{message}$"):
        ClassificationData(pairs)
    with pytest.raises(ValueError, match=r"^ClassificationData: classes must be 3 names, got 2$"):
        ClassificationData(pairs, num_classes=3, classes=["a", "b"])


def test_labels_and_scores_out_of_range(tmp_path):
    images = torch.rand(8, 1, 8, 8)
    sets = ClassificationData(D.ArrayDataset(images, [0, 1, 2, 3, 4, 5, 6, 12]), num_classes=13, batch_size=8)
    with pytest.raises(ValueError, match=r"^Classifier: labels must be from 0 to 9, got 12$"):
        fit(task(), sets, epochs=1, out=tmp_path)
    with pytest.raises(ValueError, match=r"^Classifier: model must return scores of shape \(N, 7\), got \(32, 10\)$"):
        fit(Classifier(task().model, 7), data(), epochs=1, out=tmp_path)


def test_a_task_of_ones_own(tmp_path):
    class Autoencoder(Task):
        def compute(self, batch, stage):
            images = batch[0].flatten(1)
            return nn.functional.mse_loss(self.model(images), images), len(images)

    module = Autoencoder(nn.Linear(64, 64))
    run = fit(module, data(augment=noise), epochs=3, out=tmp_path)
    assert run.history[-1]["val_loss"] < run.history[0]["val_loss"]
    assert evaluate(module, data())["test_loss"] > 0
