"""The quality benchmark of denoising runs, and what it measures is better than nothing."""

import json

from benchmarks.quality import denoise


def test_quick_run(tmp_path):
    report = denoise.main(["--quick", "--threads", "1", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "denoise.json").read_text()) == report
    assert (tmp_path / "denoise.png").stat().st_size > 20000
    noisy = report["noisy"]["psnr"]
    assert report["cuts"]["psnr"] > noisy + 5
    assert abs(report["cuts"]["psnr"] - report["scikit-image"]["psnr"]) < 1
    assert report["network"]["psnr"] > noisy + 1
    assert report["outliers"]["cuts"]["psnr"] > report["outliers"]["noisy"]["psnr"] + 10


def test_the_test_photographs_are_not_trained_on():
    assert not set(denoise.TRAIN) & set(denoise.TEST)
