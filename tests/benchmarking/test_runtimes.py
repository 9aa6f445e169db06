"""The runtimes that single operators are compared with agree, or are said to be absent."""

import importlib.util

import pytest

from saccade.benchmarking import default_directory, load_cases


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("operation", ["conv2d", "batch_norm", "pooling"])
def test_a_runtime(operation, name):
    cases = load_cases([default_directory() / f"{operation}.py"], quick=True, threads=[1])
    work = next(case for case, _ in cases if "training" not in case.name).prepare()
    if importlib.util.find_spec(name) is None:
        assert work.references[name] == f"{name} is not installed"
    else:
        assert work.verify(work.ours(), work.references[name]()).ok
