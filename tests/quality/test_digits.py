"""The quality benchmark of the digits runs, and what it trains is good."""

import json

from benchmarks.quality import digits


def test_quick_run(tmp_path):
    # One thread: two wait for each other where others use the processor.
    report = digits.main(["--quick", "--threads", "1", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "digits.json").read_text()) == report
    assert (tmp_path / "digits.png").stat().st_size > 20000
    assert report["lenet5"]["mean_test_accuracy"] >= 0.97
    assert report["mlp"]["mean_test_accuracy"] >= 0.95
    assert abs(report["logistic"]["test_accuracy"] - report["logistic"]["scikit_learn"]) <= 0.005


def test_the_test_set_is_nobody_elses():
    seen = set()
    for seed in range(3):
        sets = digits.parts(8, seed)
        images = {name: {image.numpy().tobytes() for image, _ in part} for name, part in sets.items()}
        assert not images["test"] & (images["train"] | images["val"])
        assert not images["train"] & images["val"]
        seen.add(frozenset(images["test"]))
    assert len(seen) == 1
