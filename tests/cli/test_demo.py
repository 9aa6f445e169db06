import json
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from saccade.benchmarking import load_cases
from saccade.cli import app
from saccade.demo import DemoError, detector, faces, load_photo
from saccade.demo.photo import draw_boxes

RUNNER = CliRunner()
BAD_CASE = """
from saccade.benchmarking import Case, Work

def cases(quick):
    return [Case("sum/small", "sum", "3", lambda: Work(lambda: 3, {"other": lambda: 4}))]
"""


def demo(*arguments):
    return RUNNER.invoke(app, ["demo", *map(str, arguments)])


@pytest.fixture(autouse=True, scope="module")
def _short():
    """Times do not matter here: as few repetitions as there can be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector, "_ROUNDS", 1)
        patch.setattr(faces, "_SECONDS", 0.0)
        # saccade.cli.demo is the function; the module of that name hides behind it.
        patch.setattr(sys.modules["saccade.cli.demo"], "QUICK_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def run(_short, tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "made" / "here"
    return demo("--json", "--threads", 1, "--out", out), out


def test_everything_agrees(run):
    result, out = run
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["ok"]
    assert all(check["ok"] for check in data["checks"])
    assert len(data["faces"]["faces"]) == 1
    x, y, width, height = data["faces"]["faces"][0]["box"]
    assert 150 < x < 200 < x + width < 300
    assert 50 < y < 100 < y + height < 200
    assert data["faces"]["windows"] > 10
    assert data["detector"]["detections"] > 5
    assert [stage["stage"] for stage in data["detector"]["stages"]] == list(detector.STAGES)
    assert all(stage["before"] > 0 and stage["after"] > 0 for stage in data["detector"]["stages"])
    assert data["benchmarks"]["cases"]
    assert data["files"] == [str(out / "faces.png"), str(out / "report.html")]


def test_pictures_and_report(run):
    _, out = run
    assert Image.open(out / "faces.png").size == (512, 512)
    text = (out / "report.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert text.count('src="data:image/jpeg;base64,') == 2
    assert text.count("<svg") == 2
    assert "prefers-color-scheme: dark" in text
    assert "$" not in re.sub(r"base64,[^\"]*", "", text)


def test_disagreement_exits_with_one(tmp_path, monkeypatch):
    (tmp_path / "bad.py").write_text(BAD_CASE)
    cases = load_cases([tmp_path / "bad.py"])
    monkeypatch.setattr(sys.modules["saccade.cli.demo"], "load_cases", lambda quick: cases)
    result = demo("--threads", 1, "--out", tmp_path)
    assert result.exit_code == 1
    assert "DISAGREES: benchmarks equal their references (sum/small)" in result.stdout
    assert "1 of " in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ([], "cannot read the image"),
        (["--cascade"], "cannot read the cascade"),
        (["--weights"], "into fasterrcnn_resnet50_fpn"),
        (["--out"], "cannot write to"),
    ],
)
def test_unreadable_file_exits_with_two(tmp_path, option, message):
    path = tmp_path / "file"
    path.write_text("neither a picture nor a cascade")
    result = demo("--out", tmp_path, *option, path)
    assert result.exit_code == 2, result.output
    assert message in result.stderr.replace("\n", "")


@pytest.mark.parametrize(
    "module", ["PIL.Image", "matplotlib.figure", "torchvision.models.detection", "skimage.data", "cv2"]
)
def test_missing_extra_says_what_to_install(tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    result = demo("--out", tmp_path)
    assert result.exit_code == 2
    message = result.stderr.replace("\n", "")
    assert f"demo: {module} is needed" in message
    assert "python -m pip install 'saccade[demo]'" in message


def test_own_photo_is_turned_upright(tmp_path):
    image = Image.new("RGB", (30, 20), (255, 0, 0))
    exif = image.getexif()
    exif[0x0112] = 6  # a quarter turn
    image.save(tmp_path / "photo.jpg", exif=exif)
    photo = load_photo(tmp_path / "photo.jpg")
    assert photo.rgb.shape == (30, 20, 3)
    assert photo.grey.shape == (30, 20)
    with pytest.raises(DemoError, match=r"^demo: cannot read the image .*none\.jpg"):
        load_photo(tmp_path / "none.jpg")


def test_boxes_are_drawn_and_the_photo_is_not_changed():
    photo = load_photo(None)
    before = photo.rgb.copy()
    plain = np.asarray(draw_boxes(photo, np.array([[100, 0, 60, 60], [500, 500, 60, 60]]), ["1.0"]))
    assert np.array_equal(photo.rgb, before)
    assert np.array_equal(plain[0, 100], (255, 196, 0))
    assert np.array_equal(plain[30, 130], before[30, 130])
    faint = np.asarray(draw_boxes(photo, np.array([[300, 300, 60, 60]] * 8), faint=True)).astype(int)
    once = np.asarray(draw_boxes(photo, np.array([[300, 300, 60, 60]]), faint=True)).astype(int)
    assert abs(faint[300, 330] - (255, 196, 0)).sum() < abs(once[300, 330] - (255, 196, 0)).sum()


def detections(count=2, label=1, shift=0.0, score=0.5):
    return {
        "boxes": torch.zeros(count, 4) + shift,
        "labels": torch.full((count,), label),
        "scores": torch.full((count,), score),
    }


@pytest.mark.parametrize(
    ("ours", "agrees"),
    [
        (detections(), True),
        (detections(shift=0.01), True),
        (detections(shift=0.1), False),
        (detections(score=0.51), False),
        (detections(label=2), False),
        (detections(count=3), False),
        (detections(score=float("nan")), False),
    ],
)
def test_detections_are_compared(ours, agrees):
    _, _, checks = detector._compare(detections(), ours, 512)
    assert all(check.ok for check in checks) == agrees


def test_no_detections_agree():
    _, _, checks = detector._compare(detections(0), detections(0), 512)
    assert all(check.ok for check in checks)
