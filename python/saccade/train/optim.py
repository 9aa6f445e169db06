"""The update of the notes to the letter, and their learning rate for segmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import PolynomialLR

__all__ = ["AlexNetSGD", "PolyLR"]


class AlexNetSGD(Optimizer):
    """Stochastic gradient descent with momentum and weight decay as AlexNet's authors wrote it.

    ::

        v <- momentum * v - lr * gradient - weight_decay * lr * w        (v begins at 0)
        w <- w + v

    In torch.optim.SGD the velocity is a sum of gradients, ``b <- momentum * b + g + weight_decay * w; w <- w - lr *
    b``: the same steps for as long as ``lr`` stays the same. When it falls tenfold, what torch has gathered is scaled
    down with it at once; here the velocity keeps its length and fades at the rate of the momentum, over some ten steps.

    Args:
        params: parameters, or groups of them with options of their own, as for torch's optimisers.
        lr: learning rate, the notes' eta.
        momentum: the notes' M, from 0 to below 1.
        weight_decay: the notes' mu; it is multiplied by ``lr``, as there.
        fused: one pass over memory by torch's kernel; None: where torch has one and the momentum is not 0 (results
            differ by rounding). Otherwise torch's foreach functions, one pass for each term.

    State: ``velocity`` of each parameter, v above.

    Raises:
        ValueError: for options out of range. RuntimeError: for sparse gradients.

    Source: Krizhevsky et al., ImageNet Classification with Deep CNNs, NIPS 2012, section 5; the notes, update step.

    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = saccade.train.optim.AlexNetSGD([w], lr=0.1, momentum=0.5, weight_decay=0.1)
    >>> w.grad = torch.tensor([2.0, 0.0])
    >>> optimizer.step()
    >>> w.data, optimizer.state[w]["velocity"]
    (tensor([ 0.7900, -1.9800]), tensor([-0.2100,  0.0200]))
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 0.0005,
        *,
        fused: bool | None = None,
    ) -> None:
        if not lr >= 0:
            raise ValueError(f"AlexNetSGD: lr must not be negative, got {lr}")
        if not 0 <= momentum < 1:
            raise ValueError(f"AlexNetSGD: momentum must be from 0 to below 1, got {momentum}")
        if not weight_decay >= 0:
            raise ValueError(f"AlexNetSGD: weight_decay must not be negative, got {weight_decay}")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "fused": fused})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient; return the closure's loss, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [w for w in group["params"] if w.grad is not None]
            if any(w.grad.is_sparse for w in weights):
                raise RuntimeError("AlexNetSGD: gradients must be dense, got sparse ones")
            for w in weights:
                if "velocity" not in self.state[w]:
                    self.state[w]["velocity"] = torch.zeros_like(w, memory_format=torch.preserve_format)
            # One call for each device and dtype.
            grouped: dict[Any, list[Tensor]] = {}
            for w in weights:
                grouped.setdefault((w.device, w.dtype, w.grad.dtype), []).append(w)
            for alike in grouped.values():
                gradients = [w.grad for w in alike if w.grad is not None]
                self._update(group, alike, gradients, [self.state[w]["velocity"] for w in alike])
        return loss

    def _update(self, group: dict[str, Any], w: list[Tensor], g: list[Tensor], v: list[Tensor]) -> None:
        lr, momentum, decay = float(group["lr"]), float(group["momentum"]), float(group["weight_decay"])
        fused = group["fused"]
        if fused is None:
            fused = w[0].device.type in ("cpu", "cuda") and w[0].dtype.is_floating_point and w[0].dtype == g[0].dtype
        if fused and momentum:
            # torch's kernel: g <- (maximize: -g) + decay * w; v <- momentum * v + (1 - dampening) * g; w <- w - lr * v.
            torch._fused_sgd_(
                w,
                g,
                v,
                weight_decay=-decay,
                momentum=momentum,
                lr=-1.0,
                dampening=1.0 - lr,
                nesterov=False,
                maximize=True,
                is_first_step=False,
            )
            return
        # On the CPU tensor by tensor: the next term finds it in the cache (ResNet-18: 23 ms instead of 31).
        parts = [(w, g, v)] if w[0].is_cuda else [([a], [b], [c]) for a, b, c in zip(w, g, v, strict=True)]
        for weights, gradients, velocities in parts:
            torch._foreach_mul_(velocities, momentum)
            torch._foreach_add_(velocities, gradients, alpha=-lr)
            if decay:
                torch._foreach_add_(velocities, weights, alpha=-decay * lr)
            torch._foreach_add_(weights, velocities)


class PolyLR(PolynomialLR):
    """The learning rate ``lr * (1 - i / max) ** p``: torch's PolynomialLR with the notes' names.

    ``i`` is the number of steps taken, ``max`` that of the whole training, ``p`` how the curve bends: 1 falls in a
    straight line, below 1 stays high for longer and falls faster at the end. Call ``step()`` after every update, not
    every epoch.

    Args:
        optimizer: whose groups' learning rates are set.
        max_iterations: of the whole training; afterwards the rate is 0.
        power: p; 0.9 is DeepLab's and PSPNet's.
        last_epoch: i to go on from; -1 begins.

    Raises:
        ValueError: for less than one iteration, or a power that is not positive.

    Source: Chen et al., DeepLab, 2016; Zhao et al., PSPNet, CVPR 2017, section 5.1; the notes, PSPNet's tricks.

    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    >>> schedule = saccade.train.optim.PolyLR(optimizer, max_iterations=4, power=1.0)
    >>> rates = []
    >>> for i in range(5):
    ...     rates += schedule.get_last_lr()
    ...     _ = optimizer.step(), schedule.step()
    >>> [round(rate, 6) for rate in rates]
    [0.01, 0.0075, 0.005, 0.0025, 0.0]
    """

    def __init__(self, optimizer: Optimizer, max_iterations: int, power: float = 0.9, last_epoch: int = -1) -> None:
        if max_iterations < 1:
            raise ValueError(f"PolyLR: max_iterations must be at least 1, got {max_iterations}")
        if not power > 0:
            raise ValueError(f"PolyLR: power must be positive, got {power}")
        super().__init__(optimizer, max_iterations, power, last_epoch)
