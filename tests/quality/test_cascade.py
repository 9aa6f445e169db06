from benchmarks.quality.cascade import main


def test_a_cascade_trained_in_a_minute_finds_most_faces_held_out(tmp_path):
    report = main(["--quick", "--out", str(tmp_path)])
    assert report["hit_rate_held_out"] >= 0.6  # 0.75 measured; 40 windows
    assert report["false_alarm_rate_per_window"] <= 3e-3  # 8e-4 measured
    assert report["astronaut_found"]
    names = ("cascade.json", "cascade.xml", "detections.png", "report.html", "stages.png", "features.png")
    assert all((tmp_path / name).exists() for name in names)
