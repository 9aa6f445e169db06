import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import saccade
from saccade.cli import app

RUNNER = CliRunner()


def test_json_says_what_is_installed():
    result = RUNNER.invoke(app, ["info", "--json"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["saccade"] == saccade.__version__
    assert facts["isa"]["active"] in ("generic", "avx2", "avx512", "avx512_bf16")
    assert facts["modules"]["numpy"] == {"loaded": True, "reason": ""}
    assert facts["modules"]["torch"] == {"loaded": True, "reason": ""}
    assert facts["modules"]["cuda"]["loaded"] or facts["modules"]["cuda"]["reason"]
    assert set(facts["references"]) == {"torch", "torchvision", "cv2", "skimage", "numpy"}
    assert facts["threads"] == saccade.get_num_threads()


def test_text_names_the_reason_for_what_is_not_loaded():
    result = RUNNER.invoke(app, ["info"])
    assert result.exit_code == 0
    assert saccade.__version__ in result.stdout
    reason = json.loads(RUNNER.invoke(app, ["info", "--json"]).stdout)["modules"]["cuda"]["reason"]
    assert reason.split("(")[0].strip() in result.stdout


@pytest.mark.parametrize("command", [[], ["info"], ["bench"]])
def test_help(command):
    result = RUNNER.invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_wrong_option():
    assert RUNNER.invoke(app, ["info", "--no-such-option"]).exit_code == 2


def run(code, **environment):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120)


def test_forced_instruction_set_that_does_not_exist():
    result = run("from saccade.cli import app; app(['info'])", SACCADE_ISA="nonsense")
    assert result.returncode == 1
    assert "nonsense" in result.stdout


def test_broken_torch_operators_are_reported_not_raised(tmp_path):
    path = tmp_path / "absent.so"
    result = run("from saccade.cli import app; app(['info', '--json'])", SACCADE_TORCH_LIBRARY=str(path))
    assert result.returncode == 1
    facts = json.loads(result.stdout)
    assert str(path) in facts["modules"]["torch"]["reason"]
    assert facts["modules"]["numpy"]["loaded"]


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("saccade", ["torch", "numpy", "torchvision", "cv2"]),
        ("saccade.ops", ["torch._dynamo", "torchvision", "cv2"]),
        ("saccade.cli", ["torch", "torchvision", "cv2", "skimage"]),
    ],
)
def test_import_loads_no_more_than_it_must(module, unwanted):
    result = run(f"import sys, {module}; print([name for name in {unwanted} if name in sys.modules])")
    assert result.stdout.strip() == "[]", result.stderr
