"""An existing model, with its convolutions fused into ours."""

from __future__ import annotations

import copy
import sys
from typing import Any

import torch
from torch import nn

from saccade import ops
from saccade._accelerate.region import Region
from saccade._accelerate.report import Report
from saccade._accelerate.trace import NotTraceable, leaves
from saccade._accelerate.verify import TOLERANCES, verify
from saccade.nn import SyncBatchNorm

__all__ = ["accelerate", "explain"]

_REPORT = "_saccade_report"
_WORK = (
    nn.Conv2d,
    nn.ConvTranspose2d,
    nn.BatchNorm2d,
    nn.SyncBatchNorm,
    SyncBatchNorm,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
)


def accelerate(model: nn.Module, example_inputs: Any = None, *, dtype: torch.dtype | None = None) -> nn.Module:
    """The same model for inference, on saccade's kernels.

    Convolutions are fused with the batch normalisation, the residual and the activation that follow them, and run in
    channels_last; fully connected layers take along the residual and the activation; poolings are replaced. A model
    whose forward cannot be turned into a graph (control flow that depends on the data, lists of images) keeps its code,
    and the largest parts inside it that can are rewritten.
    :func:`explain` says what was done and what was not.

    Args:
        model: in evaluation mode. It stays as it is: the result is a copy, of the same class, with the same
            parameters, buffers and state-dict keys. A later ``load_state_dict`` into the copy holds.
        example_inputs: one input, or a tuple of positional arguments, to check the copy with. Each rewritten part must
            give what the model's own gives, up to 1e-3 of the largest magnitude of each output (float64: 1e-9,
            float16: 2e-2, bfloat16: 1e-1).
        dtype: what to compute in: weights are converted once, inputs and outputs of the rewritten parts in each call.

    Returns:
        The copy. Its parameters require no gradient. Outputs are contiguous, unless an input was channels_last.

    Raises:
        ValueError: in training mode, or on a model that is accelerated already; TypeError: on what is no module, or a
        dtype that is none of float16, bfloat16, float32 and float64; RuntimeError: where the check fails.

    What the check cannot see: parts that the example does not reach. A forward that depends on Python's state outside
    of the module is recorded as it is at the time of the call.

    >>> layers = torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU()
    >>> model, image = torch.nn.Sequential(*layers).eval(), torch.rand(1, 3, 9, 9)
    >>> fast = saccade.accelerate(model, image)
    >>> torch.allclose(fast(image), model(image), atol=1e-5)
    True
    """
    _check(model, dtype)
    fast = copy.deepcopy(model).requires_grad_(False)
    report = Report()
    known = all(map(_is_known, fast.modules()))
    _Walk(report, dtype, any_layout=known and _is_detector(fast)).visit(fast, "")
    setattr(fast, _REPORT, report)
    if example_inputs is not None:
        example = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
        verify(model, fast, list(report.fused), example, dtype)
    return fast


def explain(model: nn.Module) -> str:
    """Say what :func:`accelerate` fused in a model, what it left to torch, and what could not be traced and why.

    >>> print(saccade.explain(saccade.accelerate(torch.nn.Conv2d(3, 8, 3).eval())))
    the model (Conv2d)
      ours: 1× conv2d
    """
    report = getattr(model, _REPORT, None)
    if report is None:
        raise ValueError(f"explain: model must come from saccade.accelerate, got {type(model).__name__}")
    return str(report)


def _check(model: nn.Module, dtype: torch.dtype | None) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"accelerate: model must be a torch.nn.Module, got {type(model).__name__}")
    if dtype is not None and dtype not in TOLERANCES:
        raise TypeError(f"accelerate: dtype must be float16, bfloat16, float32, float64 or None, got {dtype}")
    if getattr(model, _REPORT, None) is not None:
        raise ValueError("accelerate: model must not be accelerated already")
    training = next((name for name, inner in model.named_modules() if inner.training), None)
    if training is not None:
        where = f"{training} is" if training else "it is"
        raise ValueError(f"accelerate: model must be in evaluation mode (model.eval()), but {where} in training mode")


class _Walk:
    """Rewrites the largest parts of a model that have a graph."""

    def __init__(self, report: Report, dtype: torch.dtype | None, any_layout: bool) -> None:
        self._report, self._dtype, self._any_layout = report, dtype, any_layout
        self._seen: set[nn.Module] = set()

    def visit(self, module: nn.Module, name: str) -> None:
        if module in self._seen or not any(map(self._is_work, module.modules())):
            return
        self._seen.add(module)
        kind = type(module).__name__
        try:
            if type(module).forward is nn.Module.forward:  # a list of modules
                raise NotTraceable("")
            region = Region(module, self._dtype, self._any_layout and name != "")
        except NotTraceable as reason:
            if str(reason):
                self._report.left.append((name, kind, str(reason)))
            for child_name, child in module.named_children():
                if type(child) is _poolers():
                    setattr(module, child_name, _our_pooler(child))
                    self._report.replaced["MultiScaleRoIAlign"] += 1
                else:
                    self.visit(child, f"{name}.{child_name}" if name else child_name)
            return
        self._report.fused[name] = kind, region.summary
        module.forward = region

    def _is_work(self, module: nn.Module) -> bool:
        # Heads of fully connected layers alone keep their dtype: scores and offsets of boxes are told apart by it.
        return isinstance(module, _work()) or (self._dtype is None and isinstance(module, nn.Linear))


def _poolers() -> type[nn.Module] | None:
    torchvision = sys.modules.get("torchvision.ops")
    return None if torchvision is None else torchvision.MultiScaleRoIAlign


def _work() -> tuple[type[nn.Module], ...]:
    pooler = _poolers()
    return (*_WORK, *leaves(), *(() if pooler is None else (pooler,)))


def _our_pooler(pool: Any) -> nn.Module:
    ours = ops.MultiScaleRoIAlign(
        pool.featmap_names,
        pool.output_size,
        pool.sampling_ratio,
        canonical_scale=pool.canonical_scale,
        canonical_level=pool.canonical_level,
    )
    return ours.eval()


def _is_known(module: nn.Module) -> bool:
    return type(module).__module__.startswith(("torch.nn.modules.", "torchvision.", "saccade."))


def _is_detector(module: nn.Module) -> bool:
    return type(module).__module__.startswith(("torchvision.models.detection.", "saccade.models.detection."))
