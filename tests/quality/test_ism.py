"""The quality benchmark of the Implicit Shape Model runs, and what it finds is good."""

import json

import numpy as np

from benchmarks.quality import ism
from benchmarks.quality._precision_recall import average_precision, curve, equal_error_rate, match


def test_quick_run(tmp_path):
    report = ism.main(["--quick", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "ism.json").read_text()) == report
    assert (tmp_path / "precision_recall.png").stat().st_size > 5000
    assert (tmp_path / "detections.png").stat().st_size > 50000
    assert report["hough"]["equal_error_rate"] >= 0.8
    assert report["segmentation_iou"] >= 0.7


def test_curve_of_known_detections():
    scores, correct = np.array([0.9, 0.8, 0.8, 0.5, 0.1]), np.array([1, 1, 0, 1, 0], bool)
    recall, precision = curve(scores, correct, 4)
    np.testing.assert_allclose(recall, [1 / 4, 2 / 4, 3 / 4, 3 / 4])
    np.testing.assert_allclose(precision, [1, 2 / 3, 3 / 4, 3 / 5])
    assert equal_error_rate(recall, precision) == 0.75
    np.testing.assert_allclose(average_precision(recall, precision), 1 / 4 + 3 / 4 / 2)
    empty = curve(np.zeros(0), np.zeros(0, bool), 3)
    assert (equal_error_rate(*empty), average_precision(*empty)) == (0, 0)


def test_each_object_is_found_once():
    detections = [[0, 0, 10, 10], [1, 0, 10, 10], [100, 0, 10, 10]]
    np.testing.assert_array_equal(match(np.array(detections), np.array([[0, 0, 10, 10], [50, 0, 5, 5]])), [0, -1, -1])
    np.testing.assert_array_equal(match(np.array(detections), np.zeros((0, 4))), [-1, -1, -1])
