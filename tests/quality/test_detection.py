"""The quality benchmark of detection runs, and what it trains finds most objects."""

import json

from benchmarks.quality import detection
from saccade.data import SceneDataset


def test_quick_run(tmp_path):
    report = detection.main(["--quick", "--threads", "1", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "detection.json").read_text()) == report
    assert (tmp_path / "detection-yolo_small.jpg").stat().st_size > 20000
    (run,) = report["yolo_small"]["seeds"]
    assert run["ap50"] >= 0.4
    assert set(run["class_ap50"]) == set(SceneDataset.classes)


def test_what_was_measured_before_is_kept(tmp_path, monkeypatch):
    kept = {"quick": False, "threads": 2, "maskrcnn_small": {"least_mask_ap50": 0.5}}
    (tmp_path / "detection.json").write_text(json.dumps(kept))
    monkeypatch.setattr(detection, "train", lambda name, seed, size, setting: ({"ap50": 0.25, "seconds": 2.0}, None))
    monkeypatch.setattr(detection, "picture", lambda *arguments: None)
    report = detection.main(["--models", "yolo_small", "--seeds", "2", "--out", str(tmp_path)])
    assert report["maskrcnn_small"] == kept["maskrcnn_small"]
    assert report["yolo_small"]["mean_ap50"] == 0.25
    assert len(report["yolo_small"]["seeds"]) == 2
    assert "fasterrcnn_small" not in report


def test_the_test_scenes_are_nobody_elses():
    assert detection.TEST_SEED not in range(100)
    first = detection.scenes(detection.FULL, 1, detection.TEST_SEED, False)[0][0]
    assert all(not (detection.scenes(detection.FULL, 1, seed, False)[0][0] == first).all() for seed in range(3))
