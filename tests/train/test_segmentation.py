"""The segmentation task and its data: losses, ignored pixels, sizes, resume, NaN, bad labels."""

import re

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset
from torchmetrics.classification import MulticlassF1Score

from saccade import models
from saccade.data import Scene, SceneDataset
from saccade.data.transforms import MeanStd, SegmentationAugmentation
from saccade.train import NonFiniteError, SegmentationData, SegmentationTask, evaluate, fit
from saccade.train.losses import dice_loss

CLASSES = ["ground", *SceneDataset.classes]


def scenes(count, seed=0, side=32):
    return SceneDataset(count, (side, side), shapes=(1, 2), seed=seed, transform=Scene.segmentation)


def data(batch_size=4, **options):
    augment = SegmentationAugmentation(24, resize=(0.7, 1.4))
    given = {"normalize": MeanStd(), "augment": augment, "classes": CLASSES, "eval_batch_size": 3}
    return SegmentationData(scenes(12), scenes(6, 1), scenes(6, 2), batch_size=batch_size, **{**given, **options})


class Pixels(nn.Module):
    """A class for each pixel from its colour alone; drop-out makes it random."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Dropout(dropout), nn.Conv2d(8, 6, 1))

    def forward(self, images):
        return self.layers(images)


def task(network=None, dropout=0.0, **options):
    torch.manual_seed(5)
    given = {"optimizer": lambda p: torch.optim.AdamW(p, 0.02)}
    return SegmentationTask(network or Pixels(dropout), 6, **{**given, **options})


def test_trains_and_measures(tmp_path):
    made, sets = task(metrics={"f1": MulticlassF1Score(6, ignore_index=255)}), data()
    run = fit(made, sets, epochs=3, out=tmp_path, accelerator="cpu", monitor="val_mean_iou", mode="max")
    assert run.history[-1]["train_loss"] < run.history[0]["train_loss"]
    logged = {name for name in run.history[-1] if name.startswith("val_")}
    assert logged == {"val_accuracy", "val_boundary_mean_iou", "val_f1", "val_loss", "val_mean_iou"}
    measured = evaluate(made, sets, checkpoint=run.best, accelerator="cpu")
    matrix = made.confusion_matrix.double()
    assert matrix.sum() == 6 * 32 * 32
    overlap = matrix.diagonal() / (matrix.sum(0) + matrix.sum(1) - matrix.diagonal())
    present = (matrix.sum(0) + matrix.sum(1)) > 0
    assert measured["test_mean_iou"] == pytest.approx(overlap[present].mean().item(), abs=1e-6)
    assert measured["test_accuracy"] == pytest.approx((matrix.trace() / matrix.sum()).item(), abs=1e-6)
    # The loss of probabilities' logarithms is that of the logits.
    images, labels = next(iter(sets.test_dataloader()))
    made.eval()
    expected = functional.cross_entropy(made.model(images), labels)
    loss, size = made.compute((images, labels), "val")
    assert size == 3
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("name", ["pspnet_small", "fcn_resnet_small", "unet_small"])
def test_auxiliary_losses(name):
    options = {"aux_loss": True} if name == "fcn_resnet_small" else {}
    network = models.build(name, num_classes=6, **options)
    pyramid = name == "pspnet_small"
    padding = {"multiple": 8, "plus": 1} if pyramid else {}
    # PSPNet has auxiliary logits in training only, where its drop-out differs each time.
    made = task(network, aux_weight=0.3, **padding).train(pyramid)
    images, labels = torch.rand(2, 3, 30, 35), torch.randint(0, 6, (2, 30, 35))
    labels[0, :5] = 255
    torch.manual_seed(1)
    losses, size = made.compute((images, labels), "train")
    assert size == 2
    torch.manual_seed(1)
    output = network(functional.pad(images, (0, 6, 0, 3)) if pyramid else images)
    maps = [output] if name == "unet_small" else list(output.values() if isinstance(output, dict) else output)
    expected = [functional.cross_entropy(m[:, :, :30, :35], labels, ignore_index=255) for m in maps]
    if name == "unet_small":
        torch.testing.assert_close(losses, expected[0])
    else:
        torch.testing.assert_close(losses, {"main": expected[0], "aux": 0.3 * expected[1]})
    made.eval()
    assert made(images).shape == made.probabilities(images).shape == (2, 6, 30, 35)
    torch.testing.assert_close(made(images).softmax(1), made.probabilities(images))


def test_ignored_pixels_count_for_nothing():
    images, labels = torch.rand(2, 3, 9, 8), torch.randint(0, 6, (2, 9, 8))
    labels[:, 4:] = 255
    made = task().eval()
    loss, _ = made.compute((images, labels), "test")
    changed = images.clone()
    changed[:, :, 4:] = 7
    again, _ = made.compute((changed, labels), "test")
    assert loss == again
    assert made.metrics["test"]["confusion_matrix"].compute().sum() == 2 * 2 * 4 * 8
    nothing, _ = made.train().compute((images, torch.full_like(labels, 255)), "train")
    assert nothing == 0
    nothing.backward()


def test_one_pixel_and_bytes_of_labels():
    made = task().train()
    loss, _ = made.compute((torch.rand(1, 3, 1, 1), torch.ones(1, 1, 1, dtype=torch.uint8)), "train")
    assert loss.isfinite()
    tested, _ = made.eval().compute((torch.rand(1, 3, 1, 1), torch.ones(1, 1, 1, dtype=torch.uint8)), "test")
    assert tested.isfinite()


def test_own_loss_and_inference():
    made = task(loss=lambda logits, labels: dice_loss(logits, labels), inference={"window": 8, "flip": True}).eval()
    images = torch.rand(1, 3, 12, 15)
    loss, _ = made.compute((images, torch.randint(0, 6, (1, 12, 15))), "val")
    assert 0 < loss < 1
    expected = models.segmentation.predict(made.model, images, window=8, flip=True)
    assert torch.equal(made.predict_step((images, None), 0), expected)


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (
            (2, 3, 4, 4),
            torch.tensor([0, 9, 9, 9, 17, 255]).repeat(6)[:32].reshape(2, 4, 4),
            ValueError,
            "SegmentationTask: labels must be from 0 to 5 or ignore_index 255, got 9 (16 times), 17 (5 times)",
        ),
        (
            (2, 3, 4, 4),
            torch.zeros(2, 4, 5, dtype=torch.long),
            ValueError,
            "SegmentationTask: labels must have shape (2, 4, 4) for images of (2, 3, 4, 4), got (2, 4, 5)",
        ),
        ((2, 3, 4, 4), torch.zeros(2, 4, 4), TypeError, "SegmentationTask: labels must be integers, got torch.float32"),
    ],
)
def test_bad_labels(images, labels, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        task().compute((torch.rand(images), labels), "train")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SegmentationTask(Pixels(), 1), "SegmentationTask: num_classes must be at least 2, got 1"),
        (
            lambda: SegmentationTask(Pixels(), 6, ignore_index=5),
            "SegmentationTask: ignore_index must be no class, from 0 to 5, got 5",
        ),
        (
            lambda: task(nn.Conv2d(3, 5, 1)).compute(
                (torch.rand(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long)), "train"
            ),
            "SegmentationTask: model must return logits of shape (1, 6, H, W), got (1, 5, 2, 2)",
        ),
        (
            lambda: SegmentationData(scenes(2), classes=CLASSES, batch_size=2, eval_batch_size=0),
            "SegmentationData: eval_batch_size must be at least 1, got 0",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


def test_batches_of_several_sizes_are_refused():
    images = [torch.rand(3, 8, side) for side in (8, 9)]
    items = [(image, torch.zeros(image.shape[1:], dtype=torch.long)) for image in images]
    with pytest.raises(ValueError, match=r"got \(3, 8, 8\) and \(3, 8, 9\); crop them, or set the batch size to 1$"):
        next(iter(SegmentationData(items, items, num_classes=2, batch_size=2).val_dataloader()))
    alone = SegmentationData(items, items, num_classes=2, eval_batch_size=1).val_dataloader()
    assert [images.shape[-1] for images, _ in alone] == [8, 9]
    items[0] = (images[0], torch.zeros(7, 8, dtype=torch.long))
    message = r"^SegmentationData: classes must be as large as the image, \(8, 8\), got \(7, 8\)$"
    with pytest.raises(ValueError, match=message):
        next(iter(SegmentationData(items, num_classes=2, batch_size=1).train_dataloader()))


def test_workers_change_nothing():
    batches = [list(data(num_workers=n).train_dataloader()) for n in (0, 2)]
    for alone, spread in zip(*batches, strict=True):
        assert torch.equal(alone[0], spread[0])
        assert torch.equal(alone[1], spread[1])


def test_resume_is_as_if_it_had_never_stopped(tmp_path):
    class Stop(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 5:
                raise KeyboardInterrupt

    options = {"epochs": 3, "accelerator": "cpu", "checkpoint_steps": 1}
    whole, stopped = task(dropout=0.3), task(dropout=0.3)
    expected = fit(whole, data(), out=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, data(), out=tmp_path / "run", callbacks=[Stop()], **options)
    resumed = task(dropout=0.3)
    run = fit(resumed, data(), out=tmp_path / "run", resume=True, **options)
    assert run.history == expected.history
    for a, b in zip(resumed.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_stops_at_nan(tmp_path):
    images = torch.rand(4, 3, 8, 8)
    images[2, 0, 3, 3] = torch.nan
    sets = SegmentationData(TensorDataset(images, torch.zeros(4, 8, 8, dtype=torch.long)), batch_size=4, num_classes=6)
    with pytest.raises(NonFiniteError, match="training stopped at step 0: "):
        fit(task(), sets, epochs=1, out=tmp_path, accelerator="cpu")
