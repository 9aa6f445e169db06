"""Training stops at the first number that is none, and says where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

__all__ = ["NonFiniteError", "StopOnNaN"]


class NonFiniteError(FloatingPointError):
    """A loss or gradient became NaN or infinite.

    Attributes: ``step`` (of the optimiser, from 0), ``tensor`` (the name of the first that went bad), ``checkpoint``
    (the last one written before, or None).
    """

    def __init__(self, step: int, tensor: str, kind: str, checkpoint: str | None = None) -> None:
        kept = f"; the last checkpoint before it is {checkpoint}" if checkpoint else ""
        super().__init__(f"training stopped at step {step}: {tensor} is {kind}{kept}")
        self.step, self.tensor, self.checkpoint = step, tensor, checkpoint


class StopOnNaN(Callback):
    """Looks at the loss and all gradients after each backward pass and raises :class:`NonFiniteError`.

    What went bad first is looked for in the order of the computation: the batch, parameters, buffers (running
    statistics are left out: a bad batch has spoilt them already), the outputs of the modules in another forward pass,
    the loss, gradients. With several processes there is no other forward pass. With fp16 scaling, gradients that
    overflow are the scaler's business, and only the loss is looked at.

    The check costs a pass over the gradients, which is little beside a backward pass.
    """

    def __init__(self) -> None:
        self._batch: tuple[Any, int] = (None, 0)
        self._loss: Tensor | None = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember the batch for a search."""
        self._batch = (batch, batch_idx)

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        """Remember the loss: looking at it here would stop one process and let others wait for its gradients."""
        self._loss = loss.detach()

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Raise if anything is bad."""
        gradients = [] if _scaled(trainer) else [p.grad for p in pl_module.parameters() if p.grad is not None]
        values = [] if self._loss is None else [self._loss]
        if all(_finite(value) for value in values) and _all_finite(gradients):
            return
        tensor, kind = self._find(trainer, pl_module)
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        last = next((c.last for c in callbacks if hasattr(c, "last") and c.last.exists()), None)
        raise NonFiniteError(trainer.global_step, tensor, kind, str(last) if last else None)

    def _find(self, trainer: L.Trainer, module: L.LightningModule) -> tuple[str, str]:
        for name, value in self._suspects(trainer, module):
            if not _finite(value):
                return name, "NaN" if bool(torch.isnan(value).any()) else "infinite"
        return "the loss", "NaN"

    def _suspects(self, trainer: L.Trainer, module: L.LightningModule) -> Iterator[tuple[str, Tensor]]:
        yield from ((f"the batch's {name}", value) for name, value in _tensors(self._batch[0]))
        yield from ((f"parameter {name}", value) for name, value in module.named_parameters())
        statistics = ("running_mean", "running_var")
        yield from ((f"buffer {n}", v) for n, v in module.named_buffers() if n.rpartition(".")[2] not in statistics)
        if trainer.world_size == 1:
            yield from _outputs(module, lambda: module.training_step(*self._batch))
        if self._loss is not None:
            yield "the loss", self._loss
        # Backward runs from the last layer to the first.
        for name, parameter in reversed(list(module.named_parameters())):
            if parameter.grad is not None:
                yield f"the gradient of {name}", parameter.grad


def _outputs(module: nn.Module, run: Callable[[], Any]) -> list[tuple[str, Tensor]]:
    """The first module output that is bad in another forward pass, if there is one."""
    found: list[tuple[str, Tensor]] = []

    def look(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(owner: nn.Module, inputs: Any, output: Any) -> None:
            bad = next((value for _, value in _tensors(output) if not _finite(value)), None)
            if bad is not None and not found:
                found.append((f"the output of {name} ({type(owner).__name__})", bad))

        return hook

    hooks = [child.register_forward_hook(look(name)) for name, child in module.named_modules() if name]
    try:
        with torch.no_grad():
            run()
    except (RuntimeError, ValueError):
        pass  # what went wrong is found elsewhere, or is the loss itself
    finally:
        for handle in hooks:
            handle.remove()
    return found


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        if value.dtype.is_floating_point:
            yield name.strip() or "tensor", value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from _tensors(child, f"{name} {key}")
    elif isinstance(value, list | tuple):
        for i, child in enumerate(value):
            yield from _tensors(child, f"{name} tensor {i}")


def _scaled(trainer: L.Trainer) -> bool:
    return getattr(trainer.precision_plugin, "scaler", None) is not None


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())


def _all_finite(values: list[Tensor]) -> bool:
    """Norms first: one number for each tensor; they may overflow where no value does."""
    if not values:
        return True
    if all(v.layout == torch.strided for v in values):
        norms = torch._foreach_norm(values)
        if bool(torch.isfinite(torch.stack([n.float() for n in norms])).all()):
            return True
    return all(_finite(value.coalesce().values() if value.is_sparse else value) for value in values)
