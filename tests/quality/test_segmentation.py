"""The quality benchmark of segmentation runs, and what it trains is good; a minute's version of it."""

import json

import pytest
import torch

from benchmarks.quality import segmentation


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("quality")
    # One thread: two wait for each other where others use the processor.
    found = segmentation.main(["--quick", "--threads", "1", "--out", str(out)])
    return out, found


def test_quick_run(report):
    out, found = report
    assert json.loads((out / "segmentation.json").read_text()) == found
    assert (out / "segmentation.png").stat().st_size > 20000
    assert found["drn_seg_small"]["least_mean_iou"] >= 0.65


def test_dilation_beats_strides(report):
    _, found = report
    dilated, strided = (found[name]["mean_boundary_mean_iou"] for name in ("drn_seg_small", "drn_seg_strided"))
    assert dilated > strided + 0.03


def test_a_crf_on_top_finds_boundaries(report):
    _, found = report
    assert found["fcn32s_crf"]["mean_boundary_mean_iou"] >= found["fcn32s_coarse"]["mean_boundary_mean_iou"] + 0.03


def test_the_test_scenes_are_nobody_elses():
    tests = []
    for seed in range(2):
        sets = segmentation.data(seed, segmentation.Scale(64, 20, 5))
        train, test = ({image.numpy().tobytes() for image, _ in part} for part in (sets.train, sets.test))
        assert not train & test
        tests.append(test)
    assert tests[0] == tests[1]
    again = segmentation.data(0, segmentation.Scale(64, 20, 5))
    assert not torch.equal(again.train[3][0], sets.train[3][0])  # of another seed
