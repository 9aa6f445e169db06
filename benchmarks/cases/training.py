"""One step of training a whole network, beside torchvision's model in torch: the same weights, the same images.

Before anything is timed, both train for twenty steps and their losses must agree within a thousandth. The rate is low
because rounding grows from step to step: at 0.001 torch's own two memory formats come apart as far as we from either.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from saccade.benchmarking import Case, Work, close, reference

STEPS = 20


def cases(quick: bool) -> Iterator[Case]:
    if importlib.util.find_spec("torchvision") is None:
        return  # the reference is its
    for name, batch, side in [("resnet18", 8, 64)] if quick else [("resnet18", 16, 224)]:
        yield Case(
            name=f"training/{name}-{batch}x{side}",
            operation="training step",
            size=f"{name}, {batch}×3×{side}×{side}",
            threads=(2,),
            bar=1.15,
            prepare=partial(_work, name, batch, side),
        )


def _work(name: str, batch: int, side: int) -> Work:
    import torch
    from torchvision import models as reference_models

    from saccade import models

    torch.manual_seed(0)
    state = getattr(reference_models, name)().state_dict()
    images, labels = torch.randn(STEPS, batch, 3, side, side), torch.randint(0, 1000, (STEPS, batch))

    def trainer(build: Callable[..., Any], layout: torch.memory_format) -> Callable[[], list[float]]:
        """The first call gives the losses of twenty steps, each later one trains for a step more."""
        model = build()
        model.load_state_dict(state)
        model = model.to(memory_format=layout).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0001, momentum=0.9, weight_decay=0.0005)
        batches = [images[i].contiguous(memory_format=layout) for i in range(STEPS)]
        taken: list[float] = []

        def step() -> None:
            at = len(taken) % STEPS
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(batches[at]), labels[at])
            loss.backward()
            optimizer.step()
            taken.append(loss.item())

        def run() -> list[float]:
            for _ in range(1 if taken else STEPS):
                step()
            return taken[:STEPS]

        return run

    def eager(layout: torch.memory_format, _: ModuleType) -> Callable[[], list[float]]:
        return trainer(getattr(reference_models, name), layout)

    return Work(
        ours=trainer(getattr(models, name), torch.channels_last),
        references={
            "torch": reference("torch", partial(eager, torch.contiguous_format)),
            "torch, channels_last": reference("torch", partial(eager, torch.channels_last)),
        },
        verify=close(rtol=1e-3),
    )
