import json
import math
import time

import pytest

import saccade
from saccade.benchmarking import (
    Case,
    CaseError,
    Report,
    Work,
    compare,
    default_directory,
    interleave,
    load_cases,
    load_report,
    run_case,
    save_report,
    timing,
    use_threads,
)
from saccade.benchmarking.peaks import measure_peak
from saccade.benchmarking.results import group_bars


def case(ours, references, **kwargs):
    kwargs.setdefault("name", "x/1")
    work_kwargs = {key: kwargs.pop(key) for key in ("bytes", "flops", "verify") if key in kwargs}
    return Case(operation="x", size="1", prepare=lambda: Work(ours, references, **work_kwargs), **kwargs)


def slow():
    time.sleep(0.01)
    return 1


def test_functions_are_timed_in_turns():
    order = []
    times = interleave({"a": lambda: order.append("a") or time.sleep(0.01), "b": lambda: order.append("b")}, 0.0)
    runs = [name for i, name in enumerate(order) if i == 0 or order[i - 1] != name]
    assert runs == ["a", "b"] * 4  # calibration, then three rounds
    assert times["a"].samples == times["b"].samples == 3
    assert times["a"].q1 <= times["a"].median <= times["a"].q3
    assert times["a"].median >= 0.01


def test_agreeing_case_is_timed_and_judged():
    outcome = run_case(case(lambda: 1, {"slow": slow, "none": "none is not installed"}, bar=2.0, bytes=100.0), 1, 0.0)
    assert not outcome.failed
    assert outcome.met
    assert outcome.ratios["slow"] == outcome.references["slow"].median / outcome.ours.median
    assert outcome.missing == {"none": "none is not installed"}
    assert outcome.gb_s == pytest.approx(100e-9 / outcome.ours.median)
    assert outcome.peak_share > 0


def test_bar_holds_for_the_first_reference_only():
    absent_first = {"none": "none is not installed", "same": lambda: 1}
    outcome = run_case(case(lambda: 1, absent_first, bar=1e-9), 1, 0.0)
    assert outcome.met is None
    record = Report.of([outcome]).cases[0]
    assert list(record["references"]) == ["none", "same"]
    assert record["met"] is None


def test_disagreeing_case_is_not_timed():
    outcome = run_case(case(lambda: 1, {"other": lambda: 2}), 1, 0.0)
    assert outcome.failed
    assert outcome.ours is None
    assert outcome.differences["other"].largest == 1


def test_failing_case_is_reported():
    def fail():
        raise ValueError("x: no")

    outcome = run_case(case(fail, {}), 1, 0.0)
    assert outcome.failed
    assert outcome.error == "ValueError: x: no"


def test_report_round_trip_and_comparison(tmp_path):
    outcomes = [
        run_case(case(lambda: 1, {"same": lambda: 1}, group_bar=1e-9), 1, 0.0),
        run_case(case(lambda: [1], {"other": lambda: [1, 2]}, name="x/2"), 1, 0.0),
    ]
    report = Report.of(outcomes)
    save_report(report, tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text()
    assert "Infinity" not in text
    assert json.loads(text)["schema"] == 1
    assert load_report(tmp_path / "a.json") == report
    first, second = report.cases
    assert first["ok"]
    assert not second["ok"]
    assert second["time"] is None
    assert second["references"]["other"] == {"difference": None, "ok": False}
    (change,) = compare(report, report)
    assert change.name == "x/1"
    assert change.speedup == 1
    (bar,) = group_bars(report.cases[:1])
    assert bar.met
    assert math.isclose(bar.mean, first["references"]["same"]["ratio"])


def test_report_of_another_kind_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(ValueError, match=r"a\.json: not a result of saccade bench"):
        load_report(tmp_path / "a.json")


def test_threads_are_set_and_restored():
    import torch

    before = saccade.get_num_threads(), torch.get_num_threads()
    with use_threads(1):
        assert (saccade.get_num_threads(), torch.get_num_threads()) == (1, 1)
    assert (saccade.get_num_threads(), torch.get_num_threads()) == before


def test_peak_is_positive():
    peak = measure_peak(1)
    assert peak.copy_gb_s > 0
    assert peak.fma_gflop_s > 0


def test_own_cases_have_unique_names_and_quick_ones_are_fewer():
    full, quick = load_cases(), load_cases(quick=True)
    assert default_directory().parts[-2:] == ("benchmarks", "cases")
    assert 0 < len(quick) < len(full)
    assert {case.name for case, _ in load_cases(name_filter="nms/")} == {c.name for c, _ in full if "nms/" in c.name}
    assert load_cases(threads=[7]) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("x = 1", r"there is no function cases\(quick\)"),
        ("import saccade_no_such_module", "ModuleNotFoundError"),
        ("def cases(quick):\n    raise OSError('no')", r"cases\(False\) raised OSError: no"),
        (
            "from saccade.benchmarking import Case\ndef cases(quick):\n    return [Case('a', 'a', '', None)] * 2",
            "two cases are called a",
        ),
    ],
)
def test_bad_case_file(tmp_path, text, message):
    if text is not None:
        (tmp_path / "mine.py").write_text(text)
    with pytest.raises(CaseError, match=rf"mine\.py: {message}"):
        load_cases([tmp_path / "mine.py"])


def test_waits_until_other_threads_are_idle(monkeypatch):
    """A clock by hand: another library's thread spins for 30 ms, then sleeps."""
    now = 0.0
    pauses = []

    def sleep(seconds):
        nonlocal now
        now += seconds
        pauses.append(seconds)

    monkeypatch.setattr(timing.time, "sleep", sleep)
    monkeypatch.setattr(timing.time, "process_time", lambda: min(now, 0.030))
    timing._wait_for_idle_threads()
    assert 0.030 <= now < 0.045
    monkeypatch.setattr(timing.time, "process_time", lambda: now)  # one that never stops is not waited for
    pauses.clear()
    timing._wait_for_idle_threads()
    assert 10 < len(pauses) < 1000
