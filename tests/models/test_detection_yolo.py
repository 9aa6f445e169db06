"""YOLO: darknet's files beside OpenCV's reader, the loss beside a plain one, anchors by clustering."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

import saccade
from saccade.models import detection
from saccade.models.detection import YOLO, cluster_anchors, darknet_yolo, parse_cfg, write_weights
from saccade.models.detection.yolo import Predictions
from tests.util.reference_models import randomised

SIZE = (64, 96)


def as_cfg(sections, size=SIZE):
    lines = [f"[net]\nheight={size[0]}\nwidth={size[1]}\nchannels=3\n"]
    for section in sections:
        more = {"num": len(section["anchors"]) // 2, "coords": 4, "softmax": 1} if "anchors" in section else {}
        lines.append(f"[{section['type']}]")
        for key, value in {**section, **more}.items():
            if key != "type":
                lines.append(f"{key} = {','.join(map(str, value)) if isinstance(value, list) else value}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def recorded(monkeypatch):
    """The sections that the constructors make."""
    made = []
    construct = YOLO.__init__

    def recording(self, sections, **options):
        made.append(list(sections))
        construct(self, sections, **options)

    monkeypatch.setattr(YOLO, "__init__", recording)
    return made


@pytest.mark.parametrize("name", ["yolov2", "yolov2_tiny", "yolov3", "yolov3_tiny"])
def test_as_opencv(name, recorded, tmp_path):
    cv2 = pytest.importorskip("cv2")
    model = randomised(getattr(detection, name)(5, image_size=SIZE)).eval()
    cfg, weights = tmp_path / "x.cfg", tmp_path / "x.weights"
    cfg.write_text(as_cfg(recorded[0]))
    write_weights(model, weights)
    read = darknet_yolo(cfg).eval()
    assert read.image_size == SIZE
    assert saccade.models.load_checkpoint(read, weights).fits
    batch = torch.rand(1, 3, *SIZE)
    network = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    network.setInput(batch.numpy())
    expected = network.forward(network.getUnconnectedOutLayersNames())
    expected = torch.from_numpy(np.concatenate([rows.reshape(-1, 10) for rows in expected]))
    with torch.no_grad():
        found, _, cells = read.predict(batch)
    assert cells[0] == (2, 3)
    sides = torch.tensor([SIZE[1], SIZE[0]])
    corners = found.boxes[0]
    boxes = torch.cat([(corners[:, :2] + corners[:, 2:]) / 2 / sides, (corners[:, 2:] - corners[:, :2]) / sides], 1)
    torch.testing.assert_close(boxes, expected[:, :4], rtol=1e-4, atol=1e-5)
    confidence = found.confidence[0].sigmoid()
    torch.testing.assert_close(confidence, expected[:, 4], rtol=0, atol=1e-5)
    classes = found.classes[0].softmax(-1) if name.startswith("yolov2") else found.classes[0].sigmoid()
    scores = confidence[:, None] * classes
    shown = expected[:, 5:] > 0  # OpenCV sets low ones to 0
    assert shown.float().mean() > 0.3
    torch.testing.assert_close(scores[shown], expected[:, 5:][shown], rtol=0, atol=1e-5)


# The number of weights in the files of darknet's site, less header: 4 bytes each.
@pytest.mark.parametrize(
    ("name", "count"), [("yolov2", 50_983_561), ("yolov2_tiny", 11_237_145), ("yolov3", 62_001_757)]
)
def test_number_of_weights(name, count):
    with torch.device("meta"):
        state = getattr(detection, name)().state_dict()
    assert sum(v.numel() for k, v in state.items() if not k.endswith("num_batches_tracked")) == count


def test_old_header(tmp_path):
    model = detection.yolo_small()
    write_weights(model, tmp_path / "new.weights", seen=1234)
    content = (tmp_path / "new.weights").read_bytes()
    assert np.frombuffer(content, "<i4", 3).tolist() == [0, 2, 0]
    assert np.frombuffer(content, "<u8", 1, 12).tolist() == [1234]
    (tmp_path / "old.weights").write_bytes(np.array([0, 1, 0, 1234], "<i4").tobytes() + content[20:])
    other = detection.yolo_small()
    saccade.models.load_checkpoint(other, tmp_path / "old.weights")
    for key, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


def test_weights_that_do_not_fit(tmp_path):
    path = tmp_path / "x.weights"
    write_weights(detection.yolo_small(3), path)
    few, many = (sum(v.numel() for v in detection.yolo_small(n).state_dict().values()) - 5 for n in (2, 3))
    with pytest.raises(ValueError) as error:  # noqa: PT011
        saccade.models.load_checkpoint(detection.yolo_small(2), path)
    assert str(error.value) == f"load_checkpoint: {path} must hold {few} numbers for YOLO, got {many}"
    with pytest.raises(TypeError) as error:
        saccade.models.load_checkpoint(saccade.models.lenet5(), path)
    assert str(error.value) == f"load_checkpoint: {path} is for a darknet model, got LeNet5"
    path.write_bytes(b"short")
    with pytest.raises(ValueError) as error:  # noqa: PT011
        saccade.models.load_checkpoint(detection.yolo_small(), path)
    assert str(error.value) == f"load_checkpoint: {path} must have darknet's header, got 5 bytes"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[net]\nnonsense", "parse_cfg: line 2 must be a section, an option of one or a comment, got 'nonsense'"),
        ("a=1", "parse_cfg: line 1 must be a section, an option of one or a comment, got 'a=1'"),
    ],
)
def test_cfg_errors(text, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        parse_cfg(text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[convolutional]\nfilters=2", "YOLO: sections must have a region or yolo, got none"),
        ("[gru]\n[yolo]\nanchors=1,2", "Darknet: section 0 must be of a known type, got 'gru'"),
        (
            "[route]\nlayers=-1\n[yolo]\nanchors=1,2",
            "Darknet: section 0 (route) must name one of those before it, got -1",
        ),
        (
            "[convolutional]\nfilters=2\nactivation=swish\n[yolo]\nanchors=1,2",
            "Darknet: activation must be one of leaky, linear, relu, got 'swish'",
        ),
        (
            "[net]\nwidth=30\nheight=32\n[convolutional]\nfilters=2\nstride=4\n[yolo]\nanchors=1,2",
            "YOLO: image_size must be multiples of 4, got (32, 30)",
        ),
    ],
)
def test_network_errors(text, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        YOLO(parse_cfg(text))
    assert str(error.value) == message


def test_a_head_of_the_wrong_width():
    model = YOLO(parse_cfg("[convolutional]\nfilters=7\n[yolo]\nanchors=1,2\nclasses=3"), image_size=8)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        model.eval()([torch.rand(3, 8, 8)])
    assert str(error.value) == "YOLO: a head of 1 anchors and 3 classes must have 8 filters, got 7"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("yolov2", {"anchors": []}, "yolov2: anchors must be pairs of positive numbers, got []"),
        ("yolov2", {"anchors": [(1, 0)]}, "yolov2: anchors must be pairs of positive numbers, got [(1, 0)]"),
        ("yolov3", {"anchors": [(1, 2)]}, "yolov3: anchors must be 9, got 1"),
        ("yolov3_tiny", {"num_classes": 0}, "yolov3_tiny: num_classes must be at least 1, got 0"),
    ],
)
def test_option_errors(name, options, message):
    with pytest.raises(ValueError) as error, torch.device("meta"):  # noqa: PT011
        saccade.models.build(name, **options)
    assert str(error.value) == message


# ---- The loss --------------------------------------------------------------------------------------------------------


def plain_losses(model, predictions: Predictions, cells, boxes, labels):
    """One object, one anchor at a time."""
    height, width = model.image_size
    every = []  # grid, row, column, anchor's sides
    for number, ((rows, columns), anchors) in enumerate(zip(cells, model.anchors, strict=True)):
        for y in range(rows):
            for x in range(columns):
                for w, h in anchors:
                    unit = (width / columns, height / rows) if model.in_cells else (1, 1)
                    every.append((number, y, x, w * unit[0], h * unit[1]))
    losses = {"loss_box": 0.0, "loss_confidence": 0.0, "loss_class": 0.0}
    for image, (found, classes) in enumerate(zip(boxes, labels, strict=True)):
        learning = set()
        for (x1, y1, x2, y2), label in zip(found.tolist(), classes.tolist(), strict=True):
            w, h = x2 - x1, y2 - y1
            best, at = -1, None
            for row, (number, y, x, aw, ah) in enumerate(every):
                rows, columns = cells[number]
                sx, sy = width / columns, height / rows
                shared = min(w, aw) * min(h, ah)
                overlap = shared / (w * h + aw * ah - shared)
                here = int((x1 + x2) / 2 / sx) == x and int((y1 + y2) / 2 / sy) == y
                if here and overlap > best + 1e-12:
                    best, at = overlap, row
                    cx, cy = (x1 + x2) / 2 / sx - x, (y1 + y2) / 2 / sy - y
                    wanted = [cx, cy, math.log(w / aw), math.log(h / ah)]
            learning.add(at)
            apart = sum((a - b) ** 2 for a, b in zip(predictions.places[image, at].tolist(), wanted, strict=True))
            losses["loss_box"] += apart * (2 - w * h / width / height)
            losses["loss_confidence"] += 5 * -functional.logsigmoid(predictions.confidence[image, at]).item()
            logits = predictions.classes[image, at]
            if model.exclusive:
                losses["loss_class"] += -logits.log_softmax(0)[label].item()
            else:
                for number, logit in enumerate(logits):
                    losses["loss_class"] += -functional.logsigmoid(logit if number == label else -logit).item()
        for row in range(len(every)):
            near = len(found) and saccade.ops.box_iou(found, predictions.boxes[image, row : row + 1]).max() > 0.6
            if row not in learning and not near:
                losses["loss_confidence"] += -functional.logsigmoid(-predictions.confidence[image, row]).item()
    return {key: value / len(boxes) for key, value in losses.items()}


@pytest.mark.parametrize("name", ["yolo_small", "yolov3_tiny"])
def test_losses(name):
    model = saccade.models.build(name, num_classes=4, image_size=(64, 96)).double()
    images = [torch.rand(3, 64, 96, dtype=torch.float64) for _ in range(3)]
    boxes = [
        torch.tensor([[3.0, 4, 40, 30], [50, 20, 70, 60], [1, 1, 9, 12]]),
        torch.zeros(0, 4),
        torch.tensor([[10.0, 5, 96, 64]]),
    ]
    labels = [torch.tensor([0, 3, 1]), torch.zeros(0, dtype=torch.int64), torch.tensor([2])]
    targets = [{"boxes": b, "labels": n} for b, n in zip(boxes, labels, strict=True)]
    losses = model(images, targets)
    with torch.no_grad():
        predictions, _, cells = model.predict(torch.stack(images))
    expected = plain_losses(model, predictions, cells, [b.double() for b in boxes], labels)
    assert losses.keys() == expected.keys()
    for key, value in expected.items():
        assert losses[key].item() == pytest.approx(value, rel=1e-9)


def test_boxes_near_an_object_are_not_background():
    model = detection.yolo_small(2, ignore_thresh=0.0).double()
    image, box = torch.rand(3, 64, 64, dtype=torch.float64), torch.tensor([[0.0, 0, 64, 64]])
    strict = detection.yolo_small(2, ignore_thresh=1.0).double()
    strict.load_state_dict(model.state_dict())
    target = [{"boxes": box, "labels": torch.tensor([0])}]
    assert model([image], target)["loss_confidence"] < strict([image], target)["loss_confidence"] / 2


# ---- Images ----------------------------------------------------------------------------------------------------------


def test_trains():
    """Bright rectangles on noise, in images of two sizes."""
    model = detection.yolo_small(3)
    images, targets = [], []
    for size in ((64, 64), (64, 64), (48, 80), (48, 80)):
        image = torch.rand(3, *size) * 0.2
        x, y = torch.randint(2, 20, (2,)).tolist()
        image[1, y : y + 26, x : x + 26] = 1
        images.append(image)
        targets.append({"boxes": torch.tensor([[x, y, x + 26.0, y + 26]]), "labels": torch.tensor([1])})
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, 100)
    for _ in range(100):
        loss = sum(model(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        for found, target in zip(model.eval()(images), targets, strict=True):
            assert found["labels"].tolist() == [1]
            assert saccade.ops.box_iou(found["boxes"], target["boxes"])[0, 0] > 0.7
            assert found["scores"][0] > 0.5


def test_any_sizes():
    model = detection.yolo_small(score_thresh=0.0).eval()
    images = [torch.rand(3, *size) for size in ((1, 1), (1, 300), (77, 20))]
    with torch.no_grad():
        for image, found in zip(images, model(images), strict=True):
            assert len(found["boxes"]) > 0
            assert (found["boxes"] >= 0).all()
            assert (found["boxes"] <= torch.tensor([image.shape[2], image.shape[1]] * 2)).all()
            assert (found["scores"][:-1] >= found["scores"][1:]).all()


def test_images_are_fitted_on_grey():
    batch, scales, offsets = detection.yolo_small()._fit([torch.zeros(3, 16, 32), torch.zeros(3, 128, 32)])
    assert batch.shape == (2, 3, 64, 64)
    assert batch[0, :, :16].eq(0.5).all()
    assert batch[0, :, 16:48].eq(0).all()
    assert batch[0, :, 48:].eq(0.5).all()
    assert batch[1, :, :, 24:40].eq(0).all()
    assert batch[1].eq(0.5).float().mean() == 0.75
    assert scales.tolist() == [[2.0] * 4, [0.5] * 4]
    assert offsets.tolist() == [[0, 16, 0, 16], [24, 0, 24, 0]]


def test_no_boxes():
    model = detection.yolo_small()
    losses = model([torch.rand(3, 64, 64)], [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}])
    assert losses["loss_box"] == losses["loss_class"] == 0
    assert losses["loss_confidence"] > 0
    sum(losses.values()).backward()


def test_label_out_of_range():
    target = {"boxes": torch.tensor([[1.0, 1, 9, 9]]), "labels": torch.tensor([2])}
    with pytest.raises(ValueError, match=r"^YOLO: targets\[0\]\['labels'\]\[0\] must lie in 0 to 1, got 2$"):
        detection.yolo_small(2)([torch.rand(3, 64, 64)], [target])


# ---- Anchors ---------------------------------------------------------------------------------------------------------


def test_clusters_that_are_plain_to_see():
    centres = torch.tensor([[10.0, 20], [40, 15], [100, 100], [30, 90]])
    sizes = (centres[:, None] * (1 + 0.05 * torch.randn(4, 50, 2))).flatten(0, 1)
    for seed in range(3):
        anchors, overlap = cluster_anchors(sizes, 4, generator=torch.Generator().manual_seed(seed))
        expected = torch.stack([sizes[50 * n : 50 * n + 50].mean(0) for n in range(4)])
        torch.testing.assert_close(anchors, expected[expected.prod(1).argsort()], rtol=0.03, atol=0)
        assert overlap > 0.9


def test_clusters_by_definition():
    """The value returned is the mean best IoU; more anchors have more; as many as sizes are all of them."""
    sizes = torch.rand(60, 2) * 100 + 5
    values = []
    for k in (1, 3, 9, 60):
        anchors, overlap = cluster_anchors(sizes, k, generator=torch.Generator().manual_seed(0))
        boxes = torch.cat([-sizes / 2, sizes / 2], 1)
        own = torch.cat([-anchors / 2, anchors / 2], 1)
        assert saccade.ops.box_iou(boxes, own).amax(1).mean().item() == pytest.approx(overlap, abs=1e-5)
        assert (anchors.prod(1).diff() >= 0).all()
        values.append(overlap)
    assert values == sorted(values)
    assert values[-1] == pytest.approx(1)


def test_clusters_are_seeded():
    sizes = torch.rand(200, 2) + 0.1
    first, again, other = (cluster_anchors(sizes, 6, generator=torch.Generator().manual_seed(s))[0] for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("sizes", "k", "message"),
    [
        (torch.ones(3), 1, "sizes must have shape (N, 2), got (3,)"),
        (torch.tensor([[1.0, 0]]), 1, "sizes must be positive and finite"),
        (torch.ones(3, 2), 2, "k must lie in 1 to 1, the number of different sizes, got 2"),
        (torch.ones(3, 2), 0, "k must lie in 1 to 1, the number of different sizes, got 0"),
    ],
)
def test_cluster_errors(sizes, k, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        cluster_anchors(sizes, k)
    assert str(error.value) == f"cluster_anchors: {message}"
