"""Weights from files."""

import pickle

import pytest
import torch

import saccade
from saccade.models import CheckpointError, LoadReport, load_checkpoint


def small(**options):
    return saccade.models.resnet_small(**options)


def equal(model, state):
    return all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


WRAPPED = {
    "plain": lambda state: state,
    "module.": lambda state: {f"module.{key}": value for key, value in state.items()},
    "wrapped": lambda state: {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}},
    "lightning": lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}, "loops": {}},
    "compiled, in lightning": lambda state: {
        "state_dict": {f"model._orig_mod.{key}": value for key, value in state.items()}
    },
    "torchvision's training script": lambda state: {"model": state, "optimizer": {"state": {}}, "epoch": 1},
    "half": lambda state: {key: value.half().float() for key, value in state.items()},
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_wrapped(kind, tmp_path):
    state = small().state_dict()
    torch.save(WRAPPED[kind](state), tmp_path / "weights.pt")
    for source in (tmp_path / "weights.pt", str(tmp_path / "weights.pt"), WRAPPED[kind](state)):
        model = small()
        report = load_checkpoint(model, source)
        assert report.fits
        assert str(report) == "everything fits"
        expected = {key: value.half().float() for key, value in state.items()} if kind == "half" else state
        assert equal(model, expected)


def test_dtype_of_the_model_stays():
    model = small().double()
    load_checkpoint(model, small().state_dict())
    assert model.fc.weight.dtype == torch.float64


def test_without_counters_of_batches():
    state = {key: value for key, value in small().state_dict().items() if "num_batches_tracked" not in key}
    assert load_checkpoint(small(), state).fits


def wrong(state):
    state = dict(state)
    del state["bn1.weight"], state["fc.bias"]
    state["fc2.weight"] = torch.zeros(3)
    state["conv1.weight"] = torch.zeros(16, 1, 3, 3)
    return state


DIFFERENCES = (
    "missing (2): bn1.weight, fc.bias\n"
    "unexpected (1): fc2.weight\n"
    "mis-shaped (1): conv1.weight (16, 1, 3, 3) in the checkpoint, (16, 3, 3, 3) in the model"
)


def test_differences_are_listed_and_nothing_is_loaded():
    model = small()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(model, wrong(small().state_dict()))
    assert str(error.value) == f"load_checkpoint: the checkpoint does not fit ResNet:\n{DIFFERENCES}"
    assert error.value.report == LoadReport(
        ["bn1.weight", "fc.bias"], ["fc2.weight"], {"conv1.weight": ((16, 1, 3, 3), (16, 3, 3, 3))}
    )
    assert equal(model, before)


def test_not_strict():
    model, state = small(), small().state_dict()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    report = load_checkpoint(model, wrong(state), strict=False)
    assert str(report) == DIFFERENCES
    assert not report.fits
    for key, value in model.state_dict().items():
        kept = key in ("bn1.weight", "fc.bias", "conv1.weight")
        assert torch.equal(value, (before if kept else state)[key])


def test_long_lists_are_shortened():
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(small(), {"x": torch.zeros(1)})
    assert ", and " in str(error.value)
    assert str(error.value).count("weight") < 25
    assert len(error.value.report.missing) == 107


def test_no_code_of_a_file_runs(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("code of the file ran",))

    torch.save({"state_dict": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(ValueError, match=r"^load_checkpoint: .*trap\.pt must be a file of tensors and plain values"):
        load_checkpoint(small(), tmp_path / "trap.pt")


def test_files_that_are_none(tmp_path):
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "cut.pt").write_bytes(pickle.dumps({"a": 1})[:-3])
    torch.save(small().state_dict(), tmp_path / "whole.pt")
    (tmp_path / "half.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:20000])
    torch.save(torch.zeros(2), tmp_path / "tensor.pt")
    for name in ("text.pt", "cut.pt", "half.pt"):
        with pytest.raises(ValueError, match=rf"^load_checkpoint: .*{name} must be a file of tensors"):
            load_checkpoint(small(), tmp_path / name)
    with pytest.raises(ValueError, match=r"^load_checkpoint: .*tensor\.pt must hold a dict, got Tensor$"):
        load_checkpoint(small(), tmp_path / "tensor.pt")


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("/no/such.pt", FileNotFoundError, "load_checkpoint: there is no file /no/such.pt"),
        (3, TypeError, "load_checkpoint: source must be a path or a dict, got int"),
        ({}, ValueError, "load_checkpoint: source must hold weights, got an empty dict"),
        ({"a": 3}, ValueError, "load_checkpoint: a must be a tensor, got int"),
    ],
)
def test_errors(source, kind, message):
    with pytest.raises(kind) as error:
        load_checkpoint(small(), source)
    assert str(error.value) == message
