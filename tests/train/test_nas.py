import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("optuna")

from saccade.cli import app
from saccade.train import nas

SPACE = nas.SearchSpace(
    stages=nas.Repeat(
        1, 3, width=nas.Int(8, 32, step=8), block=nas.Block(plain={}, grouped={"groups": nas.Choice(2, 4)})
    ),
    rate=nas.Float(1e-4, 1e-1, log=True),
    activation=nas.Choice("relu", "elu", None),
)


def quality(architecture, trial):
    """Any function of the architecture and the trial's seed; no two architectures have the same value."""
    width = sum(stage["width"] for stage in architecture["stages"])
    return width + 1e3 * architecture["rate"] + (architecture["activation"] == "elu") + trial.seed % 97 / 100


def summary(result):
    return [(trial.slot, trial.state, trial.architecture, trial.value) for trial in result.trials]


def test_architectures_lie_in_their_space():
    kinds = set()
    for seed in range(60):
        architecture = SPACE.random(seed)
        assert list(architecture) == ["stages", "rate", "activation"]
        assert 1 <= len(architecture["stages"]) <= 3
        for stage in architecture["stages"]:
            assert stage["width"] in (8, 16, 24, 32)
            assert stage["block"] in (
                {"kind": "plain"},
                {"kind": "grouped", "groups": 2},
                {"kind": "grouped", "groups": 4},
            )
            kinds.add(json.dumps(stage["block"]))
        assert 1e-4 <= architecture["rate"] <= 1e-1
        assert architecture["activation"] in ("relu", "elu", None)
    assert len(kinds) == 3
    assert SPACE.random(7) == SPACE.random(7)
    assert nas.SearchSpace(width=nas.Int(1, 8, log=True)).random(3)["width"] in range(1, 9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nas.Choice(), "Choice: options must be numbers, words, booleans or None, at least one, got ()"),
        (lambda: nas.Choice(1, 1), "Choice: options must differ, got (1, 1)"),
        (
            lambda: nas.Int(3, 2),
            "Int: low <= high and step >= 1 must hold, and with log low >= 1 and step 1, "
            "got low=3, high=2, step=1, log=False",
        ),
        (
            lambda: nas.Float(0, 1, log=True),
            "Float: low <= high must hold, finite, and with log low > 0, got low=0, high=1, log=True",
        ),
        (lambda: nas.Block(), "Block: blocks must be at least one, got none"),
        (lambda: nas.Repeat(-1, 2), "Repeat: 0 <= low <= high must hold, got low=-1, high=2"),
        (lambda: nas.Block(a={"kind": nas.Int(1, 2)}), "Block: names must not be 'kind' nor hold a dot, got 'kind'"),
    ],
)
def test_impossible_spaces(make, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        make()
    assert str(caught.value) == message


def test_space_of_something_else():
    with pytest.raises(TypeError, match=r"^SearchSpace: width must be a Choice, Int, Float, Block or Repeat, got 3$"):
        nas.SearchSpace(width=3)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_seed_decides(sampler):
    first, again, other = (
        summary(nas.search(quality, SPACE, trials=16, sampler=sampler, storage=None, seed=seed)) for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other
    assert [slot for slot, *_ in first] == list(range(16))


def test_tpe_finds_more_than_random():
    space = nas.SearchSpace(**{name: nas.Float(0, 1) for name in "abcd"})

    def peak(architecture, trial):
        return -sum((value - 0.3) ** 2 for value in architecture.values())

    best = {
        sampler: sum(
            nas.search(peak, space, trials=40, sampler=sampler, storage=None, seed=s).best.value for s in range(3)
        )
        for sampler in ("random", "tpe")
    }
    assert best["tpe"] > best["random"] / 2  # both are negative: at most half the distance


def test_stopped_search_goes_on_to_the_same_end(tmp_path):
    whole = nas.search(quality, SPACE, trials=13, storage=None)
    file = tmp_path / "search.sqlite3"
    assert len(nas.search(quality, SPACE, trials=5, storage=file).trials) == 5
    assert summary(nas.search(quality, SPACE, trials=13, storage=f"sqlite:///{file}")) == summary(whole)
    ran = []
    nas.search(lambda a, t: ran.append(t.slot) or 0.0, SPACE, trials=13, storage=file)
    assert ran == []


def test_interrupted_trial_is_tried_again(tmp_path):
    whole = nas.search(quality, SPACE, trials=13, storage=None)
    file = tmp_path / "search.sqlite3"

    def interrupted(architecture, trial):
        if trial.slot == 11:
            raise KeyboardInterrupt
        return quality(architecture, trial)

    with pytest.raises(KeyboardInterrupt):
        nas.search(interrupted, SPACE, trials=13, storage=file)
    assert summary(nas.search(quality, SPACE, trials=13, storage=file)) == summary(whole)


WORKER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from saccade.train import nas
from nas_worker_space import SPACE, quality

def objective(architecture, trial):
    print(trial.slot, flush=True)
    {body}
    return quality(architecture, trial)

nas.search(objective, SPACE, trials={trials}, storage={storage!r})
"""


def worker(tmp_path, storage, trials, body="pass"):
    source = Path(__file__).read_text()
    (tmp_path / "nas_worker_space.py").write_text(
        "from saccade.train import nas\n" + source[source.index("SPACE = ") : source.index("def summary")]
    )
    code = WORKER.format(tests=str(tmp_path), body=body, trials=trials, storage=str(storage))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_killed_search_goes_on_to_the_same_end(tmp_path):
    whole = nas.search(quality, SPACE, trials=13, storage=None)
    file = tmp_path / "search.sqlite3"
    process = worker(tmp_path, file, 13, "time.sleep(600 if trial.slot == 11 else 0)")
    for line in process.stdout:
        if line.strip() == "11":
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    result = nas.search(quality, SPACE, trials=13, storage=file)
    assert summary(result) == summary(whole)
    assert len(result.study.trials) == 14  # one of them was given up


def test_two_processes_share_the_trials_of_one_search(tmp_path):
    file = tmp_path / "search.sqlite3"
    nas.search(quality, SPACE, trials=1, storage=file)
    processes = [worker(tmp_path, file, 12, "time.sleep(0.05)") for _ in range(2)]
    ran = [[int(line) for line in process.communicate(timeout=200)[0].split()] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(ran[0] + ran[1]) == list(range(1, 12))
    assert min(map(len, ran)) > 0
    result = nas.search(quality, SPACE, trials=12, storage=file)
    assert [(trial.slot, trial.state) for trial in result.trials] == [(slot, "complete") for slot in range(12)]


def test_failing_trials_are_recorded(tmp_path):
    def sometimes(architecture, trial):
        if trial.slot == 2:
            raise MemoryError("too wide")
        return float("nan") if trial.slot == 3 else quality(architecture, trial)

    file = tmp_path / "search.sqlite3"
    result = nas.search(sometimes, SPACE, trials=6, storage=file)
    assert [trial.state for trial in result.trials] == ["complete"] * 2 + ["failed"] * 2 + ["complete"] * 2
    assert result.trials[2].error == "MemoryError: too wide"
    assert result.trials[3].error == "ValueError: search: objective must return a finite number, got nan"
    assert result.trials[2].architecture["stages"]
    assert "sometimes" in result.study.trials[2].user_attrs["traceback"]
    assert [t.state for t in nas.search(quality, SPACE, trials=6, storage=file).trials] == [
        t.state for t in result.trials
    ]
    page = result.report(tmp_path / "report").read_text()
    assert "MemoryError: too wide" in page


def test_search_without_success_says_why():
    def never(architecture, trial):
        raise ValueError("no")

    result = nas.search(never, SPACE, trials=2, storage=None)
    with pytest.raises(RuntimeError, match=r"^search: no trial is complete; one failed with ValueError: no$"):
        _ = result.best


@pytest.mark.parametrize("pruner", ["median", "hyperband", None])
def test_hopeless_trials_end_early(pruner):
    space = nas.SearchSpace(height=nas.Float(0, 1))
    steps = []

    def climbing(architecture, trial):
        for step in range(9):
            steps.append(step)
            trial.report(architecture["height"] * (step + 1), step)
        return architecture["height"] * 9

    result = nas.search(climbing, space, trials=20, sampler="random", pruner=pruner, storage=None)
    pruned = [trial for trial in result.trials if trial.state == "pruned"]
    assert (len(pruned) > 0) == (pruner is not None) == (len(steps) < 180)
    assert all(trial.value == list(trial.steps.values())[-1] for trial in pruned)
    heights = [trial.architecture["height"] for trial in result.trials]
    if pruner == "median":
        assert result.best.architecture["height"] == max(heights)


def test_minimize():
    result = nas.search(quality, SPACE, trials=8, direction="minimize", storage=None)
    assert result.best.value == min(trial.value for trial in result.trials)


def test_no_trial_begins_after_the_time():
    start = time.monotonic()
    result = nas.search(lambda a, t: time.sleep(0.2) or 1.0, SPACE, trials=1000, storage=None, seconds=0.5)
    assert 2 <= len(result.trials) <= 4
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed must be the one with which 'search' in {file} was begun, 0, got 1"),
        ({"sampler": "random"}, "sampler must be the one with which 'search' in {file} was begun, tpe, got random"),
        (
            {"direction": "minimize"},
            "direction must be the one with which 'search' in {file} was begun, maximize, got minimize",
        ),
    ],
)
def test_a_search_goes_on_as_it_was_begun(tmp_path, change, message):
    file = tmp_path / "search.sqlite3"
    nas.search(quality, SPACE, trials=1, storage=file)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        nas.search(quality, SPACE, trials=2, storage=file, **change)
    assert str(caught.value) == "search: " + message.format(file=file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": 0}, "trials must be a whole number of at least 1, got 0"),
        ({"sampler": "grid"}, "sampler must be 'tpe' or 'random', got 'grid'"),
        ({"pruner": "mean"}, "pruner must be 'median', 'hyperband', None or one of Optuna's, got 'mean'"),
        ({"direction": "up"}, "direction must be 'maximize' or 'minimize', got 'up'"),
        ({"storage": "/none/x.sqlite3"}, "storage must lie in a folder that exists, got /none/x.sqlite3"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        nas.search(quality, SPACE, **{"trials": 1, "storage": None, **change})
    assert str(caught.value) == f"search: {message}"


def test_report_has_pictures_and_the_best_model(tmp_path):
    torch = pytest.importorskip("torch")

    def reporting(architecture, trial):
        for step in range(3):
            trial.report(step, step)
        return quality(architecture, trial)

    result = nas.search(reporting, SPACE, trials=12, storage=None)
    page = result.report(tmp_path, build=lambda a: torch.nn.Linear(a["stages"][0]["width"], 3))
    text = page.read_text()
    for name in ("history", "curves", "importances", "parallel", "best"):
        assert Image.open(tmp_path / f"{name}.png").size[0] > 300, name
    assert text.count("data:image/png;base64,") == 5
    assert f"value {result.best.value:.6g}, slot {result.best.slot}" in text
    assert "Linear(in_features=" in text
    shares = result.importances()
    assert abs(sum(shares.values()) - 1) < 1e-6
    assert set(shares) == {"stages", "stages.0.width", "stages.0.block", "rate", "activation"}


FILE = """
from saccade.train import nas
space = nas.SearchSpace(width=nas.Int(1, 9), act=nas.Choice("relu", "elu"))
def objective(architecture, trial):
    if trial.slot == 1:
        raise RuntimeError("out of luck")
    return architecture["width"]
"""


def run(*arguments):
    return CliRunner().invoke(app, ["train", "search", *map(str, arguments)])


def test_command(tmp_path):
    file, storage = tmp_path / "widths.py", tmp_path / "widths.sqlite3"
    file.write_text(FILE)
    options = ["--storage", storage, "--sampler", "random", "--pruner", "none"]
    first = run(file, "--trials", 4, *options, "--json")
    assert first.exit_code == 0, first.output
    assert [trial["state"] for trial in json.loads(first.stdout)] == ["complete", "failed", "complete", "complete"]
    more = run(file, "--trials", 6, *options, "--report", tmp_path / "report")
    assert more.exit_code == 0, more.output
    assert "6 trials: 5 complete, 1 failed." in more.stderr
    assert "out of luck" in (tmp_path / "report" / "report.html").read_text()


def test_command_errors(tmp_path):
    missing = run(tmp_path / "none.py")
    assert (missing.exit_code, "none.py: the file does not exist" in missing.stderr) == (2, True)
    (tmp_path / "empty.py").write_text("space = None")
    empty = run(tmp_path / "empty.py")
    assert (empty.exit_code, "it does not define objective" in empty.stderr) == (2, True)
    (tmp_path / "bad.py").write_text(FILE.replace("trial.slot == 1", "True"))
    bad = run(tmp_path / "bad.py", "--trials", 1, "--storage", tmp_path / "bad.sqlite3")
    assert (bad.exit_code, "no trial is complete: RuntimeError: out of luck" in bad.stderr) == (1, True)


def test_import_needs_no_optuna():
    code = "import sys; sys.modules['optuna'] = None\nfrom saccade.train import nas\nprint(nas.SearchSpace().random(0))"
    code += "\ntry: nas.search(print, nas.SearchSpace(), trials=1)\nexcept ImportError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.home())
    assert done.stdout.splitlines()[0] == "{}"
    assert "search: needs optuna, which is not installed: python -m pip install 'saccade[train]'" in done.stdout
