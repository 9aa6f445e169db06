import json

import numpy as np
import pytest
import skimage.data
from PIL import Image
from typer.testing import CliRunner

from saccade.classic import CascadeClassifier
from saccade.cli import app

RUNNER = CliRunner()


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "astronaut.png"
    Image.fromarray(skimage.data.astronaut()).save(path)
    return path


def contains_the_face(box):
    x, y, width, height = box
    return x < 224 < x + width and y < 122 < y + height and width < 200


def test_finds_the_face_and_draws_it(photo, tmp_path):
    result = RUNNER.invoke(app, ["detect", str(photo), "--out", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    assert any(contains_the_face(found["box"]) for found in record["boxes"])
    picture = np.asarray(Image.open(record["picture"]).convert("RGB"))
    assert picture.shape == (512, 512, 3)
    assert (picture != skimage.data.astronaut()).any()


def test_says_what_it_found(photo):
    result = RUNNER.invoke(app, ["detect", str(photo)])
    assert result.exit_code == 0
    boxes = CascadeClassifier.default().detect(skimage.data.astronaut())
    assert f"{len(boxes)} found" in result.stdout.replace("\n", "")
    assert result.stdout.count("score") == len(boxes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cascade", "none.xml"], "detect: cannot read the cascade none.xml"),
        (["--scale-factor", "1"], "detect: scale_factor must be"),
    ],
)
def test_errors(photo, arguments, message):
    result = RUNNER.invoke(app, ["detect", str(photo), *arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_file_that_is_no_image_is_named(tmp_path):
    path = tmp_path / "text.png"
    path.write_text("no image")
    result = RUNNER.invoke(app, ["detect", str(path)])
    assert result.exit_code == 2
    assert f"detect: cannot read the image {path}" in result.stderr.replace("\n", "")
