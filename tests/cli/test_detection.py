"""``saccade train detect``, ``saccade eval detect`` and ``saccade detect`` with what was trained."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from saccade import models
from saccade.cli import app
from saccade.cli._networks import run_lengths
from saccade.data import SceneDataset
from saccade.models.detection import write_weights
from saccade.train.detection_weights import load_detector
from tests.data.detection import annotation, voc_object, write_voc

RUNNER = CliRunner()


def run(*arguments):
    return RUNNER.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight scenes as images and COCO's annotations: six to learn from, two for the test."""
    root = tmp_path_factory.mktemp("coco")
    scenes = SceneDataset(8, (64, 64), shapes=(1, 2), seed=2)
    categories = [{"id": 10 + label, "name": name} for label, name in enumerate(SceneDataset.classes)]
    for part, numbers in (("train", range(6)), ("test", range(6, 8))):
        (root / part).mkdir()
        images, objects = [], []
        for number in numbers:
            scene = scenes[number]
            Image.fromarray(scene.image.permute(1, 2, 0).numpy()).save(root / part / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "height": 64, "width": 64})
            for (x1, y1, x2, y2), label in zip(scene.boxes.tolist(), scene.labels.tolist(), strict=True):
                objects.append(annotation(number, 10 + label, [x1, y1, x2 - x1, y2 - y1]))
        content = {"images": images, "annotations": objects, "categories": categories}
        (root / f"{part}.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    options = ["--model", "yolo_small", "--epochs", 12, "--batch-size", 2, "--learning-rate", 5e-3]
    result = run("train", "detect", folder, "--out", out, *options, "--flip", "--json")
    assert result.exit_code == 0, result.output
    return out, json.loads(result.stdout)


def test_trains_a_folder(trained):
    out, summary = trained
    assert summary["items"] == {"train": 6, "test": 2}
    assert summary["classes"] == list(SceneDataset.classes)
    assert summary["history"][-1]["train_loss"] < summary["history"][0]["train_loss"] / 2
    files = ["curves.png", "last.ckpt", "metrics.csv", "mistakes.png", "precision_recall.png", "summary.json"]
    assert sorted(path.name for path in out.iterdir()) == files
    written = json.loads((out / "summary.json").read_text())
    assert set(written) == {name for name in summary if name != "history"}
    assert sorted(summary["class_ap50"]) == sorted(SceneDataset.classes)


def test_evaluates_what_was_trained(trained, folder, tmp_path):
    out, summary = trained
    result = run("eval", "detect", "--checkpoint", out / "last.ckpt", "--out", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    for name in ("test_ap", "test_ap50", "test_voc_ap", "test_voc_ap11"):
        assert measured[name] == pytest.approx(summary[name])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mistakes.png", "precision_recall.png"]
    table = run("eval", "detect", folder, "--checkpoint", out / "last.ckpt", "--part", "train")
    assert table.exit_code == 0, table.output
    assert "6 images" in table.stdout
    assert "VOC: " in table.stdout


def test_resumes(trained, folder, tmp_path):
    shutil.copy(trained[0] / "last.ckpt", tmp_path)
    options = ["--model", "yolo_small", "--batch-size", 2, "--learning-rate", 5e-3, "--flip", "--epochs", 12]
    again = run("train", "detect", folder, "--out", tmp_path, *options)
    assert again.exit_code == 2
    assert "fit: out must be a folder without a training, or resume must be set" in again.stderr
    resumed = run("train", "detect", folder, "--out", tmp_path, *options, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert json.loads((tmp_path / "summary.json").read_text())["test_ap"] == trained[1]["test_ap"]


def test_masks_on_generated_scenes(tmp_path):
    options = ["--scenes", 5, "--image-size", 48, "--model-size", 48, "--epochs", 1, "--scale", 0.2]
    result = run("train", "detect", "scenes", "--model", "maskrcnn_small", "--out", tmp_path, *options)
    assert result.exit_code == 0, result.output
    assert "masks: AP " in result.stdout
    assert (tmp_path / "best.ckpt").exists()
    image = SceneDataset(1, (48, 48))[0].image
    (found,) = load_detector(tmp_path / "best.ckpt").find([image])
    assert found["masks"].shape == (len(found["boxes"]), 48, 48)


@pytest.mark.parametrize("masks", [False, True])
def test_trains_vocs_layout(tmp_path, masks):
    objects = {f"{n}": [voc_object(box=(2 + n, 4, 20 + n, 25)), voc_object("dog", (1, 1, 10, 12))] for n in range(7)}
    root = write_voc(tmp_path / "voc", objects)
    for name in objects:
        Image.fromarray(np.ones((30, 40), np.uint8)).save(root / f"SegmentationObject/{name}.png")
    if masks:
        for part, names in (("train", "01234"), ("test", "56")):
            (root / f"ImageSets/Main/{part}.txt").write_text("\n".join(names))
    model = "maskrcnn_small" if masks else "retinanet_small"
    options = ["--model", model, "--model-size", 32, "--epochs", 1, "--json"]
    result = run("train", "detect", root, "--out", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["items"] == ({"train": 5, "test": 2} if masks else {"train": 5, "val": 1, "test": 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "train detect: data must be 'scenes' or a folder that exists, got none"),
        (["scenes", "--model", "resnet18"], "train detect: model must be a detector, got resnet18"),
        (["scenes", "--model", "yolo"], "build: name must be a known model (close: yolov"),
        (["scenes", "--batch-size", "0"], "train detect: batch_size must be positive, got 0"),
        (["scenes", "--schedule", "x"], "train detect: schedule must be one of poly, cosine, constant, onecycle"),
        ([".", "--scale", "0.5"], "train detect: crop must be given with scale, got 0.5 and no crop"),
    ],
)
def test_errors_of_training(tmp_path, arguments, message):
    result = run("train", "detect", *arguments, "--out", tmp_path)
    assert result.exit_code == 2
    assert message in result.stderr


def test_errors_of_evaluation(trained, tmp_path):
    checkpoint = trained[0] / "last.ckpt"
    wrong = run("eval", "detect", "--checkpoint", checkpoint, "--part", "val")
    assert wrong.exit_code == 2
    assert "eval detect: part must be one that the data has (train, test), got 'val'" in wrong.stderr
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    other = run("eval", "detect", "--checkpoint", tmp_path / "other.ckpt")
    assert "eval detect: checkpoint must be one that 'saccade train detect' wrote, got " in other.stderr


def test_detects_in_a_folder(trained, folder, tmp_path):
    checkpoint = trained[0] / "last.ckpt"
    options = ["--min-score", 0.05, "--batch", 3, "--out", tmp_path, "--json"]
    result = run("detect", folder / "test", folder / "train", "--model", checkpoint, *options)
    assert result.exit_code == 0, result.output
    records = json.loads(result.stdout)
    assert [record["image"] for record in records] == [
        str(folder / part / f"{n}.png") for part, numbers in (("test", (6, 7)), ("train", range(6))) for n in numbers
    ]
    detector = load_detector(checkpoint)
    total = 0
    for record in records:
        image = torch.from_numpy(np.array(Image.open(record["image"]))).permute(2, 0, 1)
        (found,) = detector.find([image], 0.05)
        total += len(found["boxes"])
        assert [each["class"] for each in record["boxes"]] == [detector.classes[label] for label in found["labels"]]
        for each, (x1, y1, x2, y2) in zip(record["boxes"], found["boxes"].tolist(), strict=True):
            assert each["box"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=0.02)
        assert Image.open(record["picture"]).size == (64, 64)
    assert total > 3
    slow = run("detect", folder / "test", "--model", checkpoint, "--min-score", 0.05, "--json", "--no-accelerate")
    for record, eager in zip(records, json.loads(slow.stdout), strict=False):
        assert [each["class"] for each in record["boxes"]] == [each["class"] for each in eager["boxes"]]
        for each, other in zip(record["boxes"], eager["boxes"], strict=True):
            assert each["score"] == pytest.approx(other["score"], abs=1e-4)
    text = run("detect", folder / "test/6.png", "--model", checkpoint, "--min-score", 0.05)
    assert f"{len(records[0]['boxes'])} found" in text.stdout.replace("\n", "")


@pytest.mark.parametrize("model", ["network", "cascade"])
def test_detects_in_a_video(trained, tmp_path, model):
    cv2 = pytest.importorskip("cv2")
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for value in range(5):
        writer.write(np.full((48, 64, 3), 40 * value, np.uint8))
    writer.release()
    options = ["--model", trained[0] / "last.ckpt"] if model == "network" else []
    result = run("detect", tmp_path, *options, "--every", 2, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    records = json.loads(result.stdout)
    assert [(record["frame"], record["seconds"]) for record in records] == [(0, 0.0), (2, 0.2), (4, 0.4)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"clip-00000{n}.png" for n in (0, 2, 4)]
    middle = np.asarray(Image.open(tmp_path / "out/clip-000002.png").convert("RGB"))
    assert abs(int(np.median(middle)) - 80) <= 3


def test_detects_with_weights_of_a_name(tmp_path):
    Image.new("RGB", (50, 40), (90, 120, 30)).save(tmp_path / "a.png")
    torch.manual_seed(0)
    model = models.fasterrcnn_small(num_classes=3)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    options = ["--weights", tmp_path / "weights.pth", "--num-classes", 3, "--min-score", 0, "--json"]
    result = run("detect", tmp_path / "a.png", "--model", "fasterrcnn_small", *options)
    assert result.exit_code == 0, result.output
    numbers = [each["class"] for each in json.loads(result.stdout)[0]["boxes"]]
    named = run(
        "detect", tmp_path / "a.png", "--model", "fasterrcnn_small", *options, "--classes", tmp_path / "names.txt"
    )
    names = [each["class"] for each in json.loads(named.stdout)[0]["boxes"]]
    assert len(numbers) > 0
    assert set(numbers) <= {"1", "2"}  # as the network counts, from the background on
    assert names == [{"1": "cat", "2": "dog"}[number] for number in numbers]


def test_detects_with_darknets_files(tmp_path):
    Image.new("RGB", (50, 40)).save(tmp_path / "a.png")
    cfg = """
    [net]
    width=32
    height=32
    channels=3
    [convolutional]
    filters=14
    size=3
    stride=8
    pad=1
    activation=linear
    [region]
    anchors=1,1, 2,2
    classes=2
    """
    (tmp_path / "a.cfg").write_text("\n".join(line.strip() for line in cfg.splitlines()))
    torch.manual_seed(0)
    from saccade.models.detection import darknet_yolo

    write_weights(darknet_yolo(tmp_path / "a.cfg"), tmp_path / "a.weights")
    options = ["--model", tmp_path / "a.cfg", "--weights", tmp_path / "a.weights", "--min-score", 0, "--json"]
    result = run("detect", tmp_path / "a.png", *options)
    assert result.exit_code == 0, result.output
    assert {each["class"] for each in json.loads(result.stdout)[0]["boxes"]} <= {"0", "1"}
    (tmp_path / "a.weights").write_bytes((tmp_path / "a.weights").read_bytes()[:-9])
    truncated = run("detect", tmp_path / "a.png", *options)
    assert truncated.exit_code == 2
    assert "a.weights" in truncated.stderr


def test_errors_of_detecting(trained, tmp_path):
    Image.new("RGB", (50, 40)).save(tmp_path / "a.png")
    photo, checkpoint = tmp_path / "a.png", trained[0] / "last.ckpt"
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.avi").write_bytes(b"no video")
    (tmp_path / "broken.ckpt").write_bytes(checkpoint.read_bytes()[:500])
    cases = [
        ([photo, "--weights", "x"], "detect: --weights, --classes and --num-classes need --model"),
        ([photo, "--model", "x", "--cascade", "y"], "detect: --model and --cascade cannot be used together"),
        ([photo, "--model", "none"], "detect: model must be a checkpoint, a .cfg of darknet, or one of fast_rcnn, "),
        ([photo, "--model", "yolov3"], "detect: weights must be given for yolov3: without them it finds nothing"),
        ([photo, "--model", tmp_path / "broken.ckpt"], "broken.ckpt cannot be read: "),
        ([tmp_path / "empty", "--model", checkpoint], f"detect: the folder {tmp_path}/empty holds no image ("),
        ([tmp_path / "none.png", "--model", checkpoint], f"detect: cannot read the image {tmp_path}/none.png: "),
        ([tmp_path / "broken.avi", "--model", checkpoint], f"detect: cannot read the video {tmp_path}/broken.avi"),
    ]
    for arguments, message in cases:
        result = run("detect", *arguments)
        assert result.exit_code == 2, arguments
        assert message in result.stderr, (arguments, result.stderr)


def test_run_lengths_are_cocos():
    from faster_coco_eval import mask as coder

    generator = np.random.default_rng(0)
    for mask in (generator.random((5, 7)) > 0.5, np.ones((3, 2), bool), np.zeros((2, 3), bool)):
        counts = run_lengths(mask)
        encoded = coder.frPyObjects({"size": list(mask.shape), "counts": counts}, *mask.shape)
        assert np.array_equal(coder.decode(encoded), mask)
