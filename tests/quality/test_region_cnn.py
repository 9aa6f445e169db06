"""The quality benchmark of the region networks runs, and what it trains finds shapes."""

import json

from benchmarks.quality import region_cnn


def test_quick_run(tmp_path):
    # One thread: two wait for each other where others use the processor.
    report = region_cnn.main(["--quick", "--threads", "1", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "region_cnn.json").read_text()) == report
    assert (tmp_path / "region-cnn-predictions.jpg").stat().st_size > 5000
    assert report["proposal_recall50"] >= 0.95
    assert report["fast_rcnn_small"]["mean_ap50"] >= 0.45
    assert report["rcnn_small"]["mean_ap50"] >= 0.35
    assert report["rcnn_small"]["seeds"][0]["softmax_ap50"] >= 0.4
    assert report["milliseconds"]["rcnn_small"] > report["milliseconds"]["fast_rcnn_small"]


def test_mirrored_examples():
    (example,) = region_cnn.examples(1, 3, region_cnn.QUICK)
    image, target, proposals = example
    for axes in ([], [1], [2], [1, 2]):
        moved, there, boxes = region_cnn.flipped(example, axes)
        assert len(boxes) == len(proposals)
        for before, after in ((target["boxes"], there["boxes"]), (proposals, boxes)):
            (x1, y1, x2, y2), (u1, v1, u2, v2) = before[0].int().tolist(), after[0].int().tolist()
            assert image[:, y1:y2, x1:x2].flip(axes).equal(moved[:, v1:v2, u1:u2])
