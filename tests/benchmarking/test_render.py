"""The documents made from results."""

import importlib.util
from pathlib import Path

import pytest

from saccade.benchmarking import Case, Report, Work, load_report, run_case, save_report

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def render():
    spec = importlib.util.spec_from_file_location("render", ROOT / "benchmarks" / "render.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    def prepare():
        return Work(lambda: 1, {"other": lambda: 1, "absent": "absent is not installed"}, bytes=8.0)

    cases = [
        Case(f"x/{i}", "operation x", f"size {i} | a", prepare, group="group x", group_bar=1e-9, bar=2.0)
        for i in (1, 2)
    ]
    path = tmp_path_factory.mktemp("results") / "run.json"
    save_report(Report.of([run_case(case, 1, 0.0) for case in cases]), path)
    return path


def test_documents(render, results, tmp_path):
    (tmp_path / "README.md").write_text(f"before\n{render.BEGIN}\nold\n{render.END}\nafter\n")
    for _ in range(2):  # a second run changes nothing
        assert render.main([str(results), "--root", str(tmp_path)]) == 0
        readme = (tmp_path / "README.md").read_text()
        assert readme.startswith(f"before\n{render.BEGIN}\n\n| operation |")
        assert readme.endswith(f"{render.END}\nafter\n")
        assert "| operation x | other |" in readme
        assert "old" not in readme
    page = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert "size 1 \\| a" in page
    assert "absent: absent is not installed" in page
    assert "group x, 1 thread: geometric mean" in page
    assert "operation x" in (tmp_path / "docs" / "benchmarks.svg").read_text()


def test_readme_without_marks_is_left_alone(render, results, tmp_path):
    (tmp_path / "README.md").write_text("text\n")
    with pytest.raises(SystemExit, match="lacks the marks"):
        render.main([str(results), "--root", str(tmp_path)])
    assert (tmp_path / "README.md").read_text() == "text\n"


def test_results_are_merged(render, results):
    report = load_report(results)
    first, second = Report(report.machine, report.cases[:1]), Report(report.machine, report.cases[1:])
    assert render.merged([first, second]) == report
    assert render.merged([report, report]) == report
    with pytest.raises(SystemExit, match="different machines"):
        render.merged([first, Report({**report.machine, "cpu": "another"}, second.cases)])


def test_own_readme_has_the_marks(render):
    text = (ROOT / "README.md").read_text()
    assert text.index(render.BEGIN) < text.index(render.END)
