"""Any detector is trained, resumed and measured."""

import math
import re

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from torchmetrics.detection import MeanAveragePrecision

from saccade import models
from saccade.data import CachedDataset, Scene, SceneDataset
from saccade.data.transforms import Joint, augmentation
from saccade.train import (
    DetectionAP,
    DetectionData,
    DetectionTask,
    NonFiniteError,
    detection_metric,
    draw_detections,
    evaluate,
    fit,
    plot_mistakes,
    plot_precision_recall,
    precision_recall,
)
from saccade.train.detection_anchors import yolo_anchors

SCENES = CachedDataset(SceneDataset(6, (64, 64), shapes=(1, 3), seed=4, transform=Scene.detection))
SMALL = {"min_size": 64, "max_size": 128}


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch):
    """What other tests look at, and takes longer to draw than these trainings last."""
    monkeypatch.setattr("saccade.train.curves.plot_curves", lambda history, path: None)


def data(batch_size=2, **options):
    return DetectionData(SCENES, SCENES, SCENES, batch_size=batch_size, **options)


def task(name="fasterrcnn_small", rate=1e-3, **options):
    torch.manual_seed(3)
    first = 0 if name.startswith(("yolo", "retina")) else 1
    model = models.build(name, num_classes=5 + first, **({} if name == "yolo_small" else SMALL))
    return DetectionTask(model, 5, optimizer=lambda p: torch.optim.AdamW(p, rate), **options)


@pytest.mark.parametrize("name", ["fasterrcnn_small", "maskrcnn_small", "retinanet_small", "yolo_small"])
def test_trains_every_kind_of_detector(name, tmp_path):
    module = task(name)
    assert module.first_label == name.endswith("rcnn_small")
    run = fit(module, data(augment=Joint(augmentation(flip=0.5))), epochs=2, out=tmp_path)
    first, last = run.history
    assert last["train_loss"] < first["train_loss"]
    parts = [name for name in last if name.startswith("train_") and name != "train_loss"]
    assert sum(last[name] for name in parts) == pytest.approx(last["train_loss"])
    assert run.best is not None  # by the average precision, the validation has no loss
    measured = evaluate(module, data())
    kinds = ("", "mask_") if name == "maskrcnn_small" else ("",)
    expected = {f"test_{kind}{value}" for kind in kinds for value in ("ap", "ap50", "ap75")}
    assert set(measured) == expected | {"test_voc_ap", "test_voc_ap11"}
    assert len(module.curves) == 5


@pytest.mark.parametrize("name", ["fasterrcnn_small", "maskrcnn_small", "retinanet_small", "yolo_small"])
def test_images_of_any_size_and_without_objects(name):
    module = task(name)
    pixel = {"boxes": torch.tensor([[0.0, 0, 1, 1]]), "labels": torch.tensor([4]), "masks": torch.ones(1, 1, 1) > 0}
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long(), "masks": torch.zeros(0, 40, 30) > 0}
    crowd = {**pixel, "iscrowd": torch.tensor([1])}
    images = [torch.full((3, *size), 90, dtype=torch.uint8) for size in ((1, 1), (40, 30), (1, 1))]
    for targets in ([pixel, none, crowd], [{**crowd}, none, crowd]):  # with an object, and with none to learn
        losses, size = module.compute((images, targets), "train")
        total = sum(losses.values())
        assert size == 3
        assert total.isfinite()
        total.backward()
        assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in module.parameters())
    module.eval()
    for image, found in zip(images, module.find(images), strict=True):
        height, width = image.shape[1:]
        assert (found["boxes"] >= 0).all()
        assert (found["boxes"] <= torch.tensor([width, height, width, height])).all()
        if module.with_masks:
            assert found["masks"].shape[1:] == (height, width)


def test_trains_torchvisions_detectors(tmp_path):
    from torchvision.models.detection import RetinaNet
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    class Backbone(nn.Sequential):
        out_channels = 8

    torch.manual_seed(0)
    backbone = Backbone(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
    model = RetinaNet(
        backbone, 5, min_size=64, max_size=64, anchor_generator=AnchorGenerator(((16, 32),), ((0.5, 1.0, 2.0),))
    )
    module = DetectionTask(model, 5)
    history = fit(module, data(), epochs=2, out=tmp_path).history
    assert history[1]["train_loss"] < history[0]["train_loss"]
    assert {"train_classification", "train_bbox_regression"} <= set(history[0])


class Stop(Exception):
    pass


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            raise Stop


def test_resume_gives_the_same_curve_and_weights(tmp_path):
    def sets():
        augment = Joint(augmentation(48, resize=(0.8, 1.2), flip=0.5))
        return DetectionData(SCENES, batch_size=3, augment=augment)

    def schedule(optimizer, steps):
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, steps)

    module = task(schedule=schedule)
    whole = fit(module, sets(), epochs=2, out=tmp_path / "whole").history
    with pytest.raises(Stop):
        fit(task(schedule=schedule), sets(), epochs=2, out=tmp_path / "run", checkpoint_steps=1, callbacks=[StopAt(3)])
    assert torch.load(tmp_path / "run/last.ckpt", weights_only=True)["global_step"] == 3
    torch.rand(7)
    resumed = task(schedule=schedule)
    nn.init.zeros_(resumed.model.roi_heads.box_head.fc6.weight)
    again = fit(resumed, sets(), epochs=2, out=tmp_path / "run", resume=True).history
    assert again == whole
    for (name, value), other in zip(resumed.state_dict().items(), module.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


def test_a_nan_stops_the_training(tmp_path):
    items = [(torch.full((3, 64, 64), math.nan), SCENES[index][1]) for index in range(2)]
    with pytest.raises(NonFiniteError, match="training stopped at step 0: the batch's tensor 0 tensor 0 is NaN"):
        fit(task("yolo_small"), DetectionData(items, classes=SceneDataset.classes), epochs=1, out=tmp_path)


class Recorder(nn.Module):
    """Remembers what it is to learn, and finds what it is told."""

    def __init__(self, found=None):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.found = found or {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long(), "scores": torch.zeros(0)}

    def forward(self, images, targets=None):
        self.images, self.targets = images, targets
        return {"loss": self.weight**2} if self.training else [self.found for _ in images]


def target(labels=(0, 1), **more):
    boxes = torch.tensor([[0.0, 0, 4, 4], [2, 2, 8, 8]])[: len(labels)]
    return {"boxes": boxes, "labels": torch.tensor(labels, dtype=torch.int64), **more}


def test_what_the_model_is_given():
    module = DetectionTask(Recorder(), 2, first_label=1, masks=True)
    image = torch.full((3, 8, 8), 51, dtype=torch.uint8)
    masks = torch.rand(2, 8, 8) > 0.5
    batch = (
        [image, image.float() / 255],
        [
            target(masks=masks, iscrowd=torch.tensor([1, 0]), area=torch.ones(2), image_id=3),
            target((), masks=masks[:0]),
        ],
    )
    losses, size = module.compute(batch, "train")
    assert (list(losses), size) == (["loss"], 2)
    for given in module.model.images:
        assert torch.allclose(given, torch.tensor(0.2))
    first, second = module.model.targets
    assert sorted(first) == ["boxes", "labels", "masks"]
    assert first["labels"].tolist() == [2]  # the crowd is left out, 0 is the background
    assert first["boxes"].tolist() == [[2, 2, 8, 8]]
    assert torch.equal(first["masks"], masks[1:].to(torch.uint8))
    assert second["boxes"].shape == (0, 4)


def test_findings_are_counted_from_class_0():
    found = {
        "boxes": torch.tensor([[0.0, 0, 4, 4]]),
        "labels": torch.tensor([2]),
        "scores": torch.tensor([0.9]),
        "masks": torch.full((1, 1, 8, 8), 0.7),
    }
    module = DetectionTask(Recorder(found), 2, first_label=1).eval()
    (result,) = module.find([torch.zeros(3, 8, 8)])
    assert result["labels"].tolist() == [1]
    assert result["masks"].shape == (1, 8, 8)
    assert result["masks"].all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DetectionTask(Recorder(), 0), "DetectionTask: num_classes must be at least 1, got 0"),
        (lambda: DetectionTask(Recorder(), 2, first_label=3), "DetectionTask: first_label must be 0 or 1, got 3"),
        (
            lambda: task(masks=True),
            "DetectionTask: masks must be False for a model without a mask branch, got True",
        ),
        (
            lambda: DetectionTask(Recorder(), 2).compute(([torch.zeros(3, 8, 8)], [target((0, 2))]), "train"),
            "DetectionTask: targets[0]['labels'][1] must lie in 0 to 1, got 2",
        ),
        (
            lambda: DetectionTask(Recorder(), 2).compute(([torch.zeros(3, 8, 8)], [target((-1, 1))]), "train"),
            "DetectionTask: targets[0]['labels'][0] must lie in 0 to 1, got -1",
        ),
        (
            lambda: DetectionTask(Recorder(), 2, masks=True).compute(([torch.zeros(3, 8, 8)], [target()]), "train"),
            "DetectionTask: targets must have boxes, labels, masks, got boxes, labels",
        ),
        (
            lambda: DetectionTask(Recorder({"boxes": torch.zeros(0, 4)}), 2).eval().find([torch.zeros(3, 8, 8)]),
            "DetectionTask: model must find boxes, labels and scores of an image, got boxes",
        ),
        (
            lambda: DetectionData([(torch.zeros(3, 8, 8), target())]),
            "DetectionData: classes must be given where the data set does not tell them",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        make()


def random_findings(seed, count, masks):
    """Targets and findings that are near some of them."""
    generator = torch.Generator().manual_seed(seed)
    found, known = [], []
    for number in range(count):
        size = number % 4
        boxes = torch.rand(size, 4, generator=generator) * 20
        boxes[:, 2:] += boxes[:, :2] + 4
        labels = torch.randint(0, 3, (size,), generator=generator)
        near = boxes + 2 * torch.randn(size, 4, generator=generator)
        near[:, 2:] = torch.maximum(near[:, 2:], near[:, :2] + 1)
        known.append({"boxes": boxes, "labels": labels, "iscrowd": (torch.arange(size) == 2).long()})
        found.append({"boxes": near, "labels": labels, "scores": torch.rand(size, generator=generator)})
        if masks:
            known[-1]["masks"] = torch.rand(size, 12, 12, generator=generator) > 0.3
            found[-1]["masks"] = known[-1]["masks"] & (torch.rand(size, 12, 12, generator=generator) > 0.2)
    return found, known


@pytest.mark.parametrize("masks", [False, True])
def test_average_precision_is_torchmetrics_and_vocs(masks):
    found, known = random_findings(0, 12, masks)
    metric = DetectionAP(3, masks)
    for start in range(0, 12, 5):
        metric.update(found[start : start + 5], known[start : start + 5])
    values = {name: float(value) for name, value in metric.compute().items()}
    for prefix, kind in (("", "bbox"), ("mask_", "segm"))[: 1 + masks]:
        reference = MeanAveragePrecision(iou_type=kind, backend="faster_coco_eval")
        reference.update(found, known)
        expected = reference.compute()
        for name, theirs in (("ap", "map"), ("ap50", "map_50"), ("ap75", "map_75")):
            assert values[prefix + name] == pytest.approx(float(expected[theirs])), name
        assert 0 < values[prefix + "ap"] < 1
    curves = precision_recall(found, known, 3)
    assert values["voc_ap"] == pytest.approx(sum(curve.average_precision() for curve in curves) / 3)
    assert values["voc_ap11"] == pytest.approx(sum(curve.average_precision("11") for curve in curves) / 3)
    assert [curve.objects for curve in metric.curves] == [curve.objects for curve in curves]


def test_nothing_to_be_found():
    metric = DetectionAP(2)
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    metric.update([{**empty, "scores": torch.zeros(0)}], [empty])
    assert all(math.isnan(float(value)) for value in metric.compute().values())


def test_processes_with_unequally_many_images(monkeypatch):
    found, known = random_findings(1, 9, True)
    whole = DetectionAP(3, True)
    whole.update(found, known)
    parts = []
    for rank in range(2):
        parts.append(DetectionAP(3, True))
        parts[rank].update(found[rank::2], known[rank::2])
    states = [{name: getattr(part, name) for name in part._reductions} for part in parts]
    monkeypatch.setattr(detection_metric, "rank_states", lambda state: states)
    parts[1]._sync_dist()
    for name in whole._reductions:
        for mine, theirs in zip(getattr(parts[1], name), getattr(whole, name), strict=True):
            assert torch.equal(mine, theirs) if isinstance(mine, torch.Tensor) else mine == theirs
    assert {k: float(v) for k, v in parts[1].compute().items()} == {k: float(v) for k, v in whole.compute().items()}


def test_the_worst_images_are_kept():
    right = target((0, 1))
    found = {**right, "scores": torch.tensor([0.9, 0.8])}
    module = DetectionTask(Recorder(found), 2, worst=2).eval()
    images = [torch.zeros(3, 8, 8)] * 4
    targets = [right, target((1, 0)), target((0,)), target((1, 1), iscrowd=torch.tensor([1, 0]))]
    module.test_step((images, targets), 0)
    assert [mistakes.count for mistakes in module.worst] == [4, 1]
    assert module.worst[0].target["labels"].tolist() == [1, 0]


def test_pictures(tmp_path):
    from PIL import Image

    image, known = SCENES[0]
    found = {**known, "scores": torch.linspace(0.9, 0.6, len(known["labels"]))}
    picture = draw_detections(image, found, SceneDataset.classes, scale=2)
    assert picture.size == (128, 128)
    bare = draw_detections(image, {name: value[:0] for name, value in found.items()}, scale=2)
    # Drawn on, where the objects are: on the mask's tint and on the box's edge.
    changed = torch.tensor(list(picture.tobytes())) != torch.tensor(list(bare.tobytes()))
    changed = changed.reshape(64, 2, 64, 2, 3).any(4).any(3).any(1)
    assert changed[known["masks"].any(0)].float().mean() > 0.95
    x1, y1, _, y2 = known["boxes"][0].int().tolist()
    assert changed[y1:y2, x1].all()
    assert draw_detections(image, found, min_score=0.95).tobytes() == draw_detections(image, {
        name: value[:0] for name, value in found.items()}).tobytes()  # fmt: skip
    module = DetectionTask(Recorder(), 5).eval()
    module.test_step(([image], [known]), 0)
    plot_mistakes(module.worst, tmp_path / "mistakes.png", SceneDataset.classes)
    plot_precision_recall(precision_recall([found], [known], 5), tmp_path / "curves.png", SceneDataset.classes)
    nothing = {name: value[:0] for name, value in found.items()}
    plot_precision_recall(precision_recall([nothing], [known], 5), tmp_path / "nothing.png")
    for name in ("mistakes.png", "curves.png", "nothing.png"):
        assert Image.open(tmp_path / name).size[0] > 300


def test_anchors_are_those_of_the_boxes():
    model = models.yolo_small(num_classes=5, image_size=32)
    sizes = torch.tensor([[8.0, 8], [24, 24], [48, 16]])
    boxes = torch.cat([torch.zeros(3, 2), sizes], 1)
    dataset = [(torch.zeros(3, 64, 64), {"boxes": boxes})] * 4
    anchors = yolo_anchors(model, dataset, generator=torch.Generator().manual_seed(0))
    # Images are halved, cells have 8 pixels.
    assert sorted(map(tuple, anchors)) == [(0.5, 0.5), (1.5, 1.5), (3, 1)]
    tiny = models.yolov3_tiny(num_classes=1, image_size=64)
    sizes = torch.tensor([[float(4 * k), 6 * k] for k in range(1, 7)])
    dataset = [(torch.zeros(3, 128, 64), {"boxes": torch.cat([torch.zeros(6, 2), sizes], 1)})]
    anchors = yolo_anchors(tiny, dataset, generator=torch.Generator().manual_seed(0))
    assert anchors == (sizes / 2).tolist()
