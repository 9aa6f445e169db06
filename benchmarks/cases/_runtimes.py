"""Functions of torch tensors as ONNX Runtime, OpenVINO and torch.compile run them, where they are installed."""

from __future__ import annotations

import io
import shutil
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from saccade.benchmarking import reference

if TYPE_CHECKING:
    import torch

References = Mapping[str, Callable[[], Any] | str]


def runtimes(function: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> References:
    """The other runtimes of a function, or of a module in evaluation, for inputs in NCHW: they know no other.

    What the function takes from around it is constant for them, as weights are for a module.
    """
    return {
        "onnxruntime": reference("onnxruntime", partial(_onnxruntime, function, inputs)),
        "openvino": reference("openvino", partial(_openvino, function, inputs)),
    }


def compiled(function: Callable[..., Any], *arguments: Any) -> References:
    """torch.compile of a function, in inference: it generates code anew for each number of threads."""
    import torch

    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        return {"torch.compile": "torch.compile needs a C++ compiler, and there is none"}
    fast = torch.compile(function)

    def run() -> Any:
        with torch.no_grad():
            return fast(*arguments)

    return {"torch.compile": run}


def _quietly(convert: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Without torch's warnings of what will replace tracing one day."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return convert(*arguments, **options)


def _contiguous(inputs: tuple[torch.Tensor, ...]) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in inputs]


def _module(function: Callable[..., torch.Tensor]) -> torch.nn.Module:
    import torch

    if isinstance(function, torch.nn.Module):
        return function.eval()

    class Module(torch.nn.Module):
        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return function(*inputs)

    return Module().eval()


def _onnxruntime(
    function: Callable[..., torch.Tensor], inputs: tuple[torch.Tensor, ...], onnxruntime: ModuleType
) -> Callable[[], Any] | str:
    import torch

    file = io.BytesIO()
    try:
        _quietly(torch.onnx.export, _module(function), inputs, file, dynamo=False)
    except torch.onnx.errors.OnnxExporterError as error:
        return f"torch.onnx cannot export it: {str(error).split('. ')[0]}"
    arrays, sessions = _contiguous(inputs), dict[int, Any]()

    def run() -> Any:
        threads = torch.get_num_threads()
        if threads not in sessions:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            sessions[threads] = onnxruntime.InferenceSession(
                file.getvalue(), options, providers=["CPUExecutionProvider"]
            )
        session = sessions[threads]
        names = [argument.name for argument in session.get_inputs()]
        return session.run(None, dict(zip(names, arrays, strict=True)))[0]

    return run


def _openvino(
    function: Callable[..., torch.Tensor], inputs: tuple[torch.Tensor, ...], openvino: ModuleType
) -> Callable[[], Any]:
    import torch

    converted = _quietly(openvino.convert_model, _module(function), example_input=inputs)
    arrays, models = _contiguous(inputs), dict[int, Any]()

    def run() -> Any:
        threads = torch.get_num_threads()
        if threads not in models:
            settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
            models[threads] = openvino.Core().compile_model(converted, "CPU", settings)
        return models[threads](arrays)[0]

    return run
