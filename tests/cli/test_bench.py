import json

import pytest
from typer.testing import CliRunner

from saccade.cli import app

RUNNER = CliRunner()
CASES = """
from saccade.benchmarking import Case, Work, reference

def cases(quick):
    yield Case("sum/small", "sum", "3", lambda: work({ours}), bar=1e-9, threads=(1, 2))

def work(value):
    return Work(lambda: value, {{"numpy": reference("numpy", lambda np: lambda: np.sum([1, 2])),
                                "absent": reference("saccade_no_such_module", lambda m: m.f)}})
"""


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.py"
    path.write_text(CASES.format(ours="3"))
    return path


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text(CASES.format(ours="4"))
    return path


def bench(*arguments):
    return RUNNER.invoke(app, ["bench", "--seconds", "0", *map(str, arguments)])


def test_agreeing_case(good, tmp_path):
    result = bench("--cases", good, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    assert "equal" in result.stdout
    assert "saccade_no_such_module is not installed" in result.stdout
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["schema"] == 1
    assert {"cpu", "cores", "isa", "peaks", "compiler", "versions", "commit"} <= set(data["machine"])
    assert [(case["name"], case["threads"]) for case in data["cases"]] == [("sum/small", 1), ("sum/small", 2)]
    case = data["cases"][0]
    assert case["ok"]
    assert case["met"]
    assert case["time"]["samples"] >= 3
    assert case["references"]["numpy"]["difference"] == 0
    assert case["references"]["absent"] == {"missing": "saccade_no_such_module is not installed"}


def test_disagreeing_case_exits_with_one(bad, tmp_path):
    result = bench("--cases", bad, "--json", tmp_path / "out.json")
    assert result.exit_code == 1
    assert "disagrees" in result.stdout
    assert not json.loads((tmp_path / "out.json").read_text())["cases"][0]["ok"]


def test_compare(good, tmp_path):
    assert bench("--cases", good, "--json", tmp_path / "old.json").exit_code == 0
    result = bench("--cases", good, "--compare", tmp_path / "old.json", "--threads", "1")
    assert result.exit_code == 0
    assert "speed-up" in result.stdout


def test_own_cases_are_listed():
    result = bench("--list", "--filter", "nms/clustered-1000", "--threads", "1")
    assert result.exit_code == 0
    assert "nms/clustered-1000-iou0.5  threads 1" in result.stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--filter", "no such case"], "no case's name contains 'no such case'"),
        (["--threads", "one"], "--threads must be counts such as 1,2, got one"),
        (["--threads", "0"], "--threads must be counts such as 1,2, got 0"),
        (["--cases", "no-such-file.py"], "no-such-file.py: no such file"),
        (["--compare", "no-such-file.json"], "no-such-file.json"),
        (["--filter", "nms", "--json", "no-such-folder/a.json"], "the folder does not exist"),
    ],
)
def test_what_cannot_be_done_exits_with_two(arguments, message):
    result = bench(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr.replace("\n", "")
