import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image
from typer.testing import CliRunner

from saccade.classic import CascadeClassifier
from saccade.cli import app

RUNNER = CliRunner()
OPTIONS = ["--width", "12", "--height", "12", "--stages", "2", "--negatives", "100", "--max-learners", "5"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("training")
    rng = np.random.default_rng(0)
    (root / "objects").mkdir()
    (root / "backgrounds").mkdir()
    for i in range(20):
        window = np.full((12, 12), 60, np.uint8)
        window[3:9, 3:9] = 170
        Image.fromarray((window + rng.integers(0, 25, (12, 12))).astype(np.uint8)).save(root / "objects" / f"{i}.png")
    Image.fromarray(skimage.data.brick()[:200, :200]).save(root / "backgrounds" / "wall.png")
    return root


def train(folders, *options):
    return RUNNER.invoke(app, ["train", "cascade", str(folders / "objects"), str(folders / "backgrounds"), *options])


def test_trains_and_writes_what_opencv_reads(folders, tmp_path):
    out = tmp_path / "square.xml"
    result = train(folders, "--out", str(out), "--report", str(tmp_path / "report"), "--json", *OPTIONS)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert len(report["stages"]) == 2
    assert report["stages"][0]["hit_rate"] >= 0.995
    assert not cv2.CascadeClassifier(str(out)).empty()
    page = (tmp_path / "report" / "report.html").read_text()
    assert "2 stages" in page
    assert Image.open(tmp_path / "report" / "features.png").size[0] > 500
    table = train(folders, "--out", str(out), *OPTIONS)
    assert table.exit_code == 0
    assert "learners" in table.stdout


def test_goes_on_from_its_checkpoint_after_an_interrupt(folders, tmp_path, monkeypatch):
    from saccade.classic import CascadeTrainer

    whole = CascadeTrainer._train
    calls = []

    def once(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(self, *arguments)

    monkeypatch.setattr(CascadeTrainer, "_train", once)
    out, checkpoint = tmp_path / "square.xml", tmp_path / "checkpoint.npz"
    options = ["--out", str(out), "--checkpoint", str(checkpoint), *OPTIONS]
    stopped = train(folders, *options)
    assert stopped.exit_code == 1
    assert f"interrupted; the stages so far are in {checkpoint}" in stopped.stderr
    assert not out.exists()
    resumed = train(folders, *options)
    assert resumed.exit_code == 0, resumed.output
    assert len(calls) == 3
    assert CascadeClassifier.load(out).window_size == (12, 12)


def test_errors_name_the_file(folders, tmp_path):
    missing = RUNNER.invoke(app, ["train", "cascade", str(tmp_path / "none"), str(folders / "backgrounds")])
    assert missing.exit_code == 2
    assert "positives must be a folder or a file that exists" in missing.stderr
    nowhere = train(folders, "--out", str(tmp_path / "none" / "out.xml"))
    assert nowhere.exit_code == 2
    assert "the folder does not exist" in nowhere.stderr
    wrong = train(folders, "--out", str(tmp_path / "out.xml"), "--algorithm", "logit")
    assert wrong.exit_code == 2
    assert "algorithm must be 'discrete', 'real' or 'gentle', got 'logit'" in wrong.stderr


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_train_the_cascade_of_one(folders, tmp_path, processes):
    one, many = tmp_path / "one.xml", tmp_path / "many.xml"
    assert train(folders, "--out", str(one), *OPTIONS).exit_code == 0
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    arguments = ["train", "cascade", str(folders / "objects"), str(folders / "backgrounds"), "--out", str(many)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, "-m", "saccade", *arguments, *OPTIONS]
    finished = subprocess.run(command, env=environment, timeout=240, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert many.read_bytes() == one.read_bytes()
