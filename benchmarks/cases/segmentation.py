"""Networks that segment: accelerated, beside the same architecture run by torch and others; and what inference over
scales and mirror images costs beyond its passes through the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

from saccade.benchmarking import Case, Difference, Work, close, reference

from . import _data
from ._runtimes import runtimes
from ._torch_twin import torch_twin


@dataclass(frozen=True)
class Model:
    name: str  # of saccade.models
    side: int
    options: Mapping[str, Any] = field(default_factory=dict)
    bar: float | None = None

    @property
    def label(self) -> str:
        return self.options.get("arch", self.name)


MODELS = [
    Model("pspnet50", 473, {"classes": 21}, 2.0),
    Model("drn_seg", 512, {"arch": "drn_d_54", "classes": 19}, 2.0),
    Model("unet", 572, {"n_channels": 3, "n_classes": 2}, 2.0),
]
QUICK = [
    Model("pspnet_small", 41, {"classes": 21}),
    Model("drn_seg", 64, {"arch": "drn_d_22", "classes": 19}),
    Model("unet_small", 68, {"n_channels": 3, "n_classes": 2}),
]
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # the paper's


def cases(quick: bool) -> Iterator[Case]:
    for model in QUICK if quick else MODELS:
        yield Case(
            name=f"accelerate/{model.label}-1x{model.side}",
            operation="accelerate",
            group="accelerate, segmentation",
            size=f"{model.label}, 1×3×{model.side}×{model.side}",
            threads=(1, 2),
            bar=model.bar,
            prepare=partial(_accelerated, model),
        )
    # A third of the published side: a call takes as long as 8.7 passes at the image's own size, twice.
    name, side = ("pspnet_small", 41) if quick else ("pspnet50", 161)
    yield Case(
        name=f"predict/{name}-{side}",
        operation="predict",
        size=f"{name}, {side}×{side}, {len(SCALES)} scales, flip; beside its passes alone",
        threads=(1, 2),
        bar=1 / 1.05,
        prepare=partial(_predicted, name, side),
    )


def _built(name: str, options: Mapping[str, Any]) -> Any:
    import torch

    from saccade import models

    torch.manual_seed(0)
    return _data.with_statistics(models.build(name, **options).eval())


def _accelerated(described: Model) -> Work:
    import torch

    import saccade

    model = _built(described.name, described.options)
    image = torch.rand(1, 3, described.side, described.side)
    fast, twin = saccade.accelerate(model, image), torch_twin(model)

    def run(network: Any) -> Any:
        with torch.inference_mode():
            return network(image)

    def eager(_: ModuleType) -> Callable[[], Any]:
        return partial(run, twin)

    references = {"torch": reference("torch", eager)} | dict(runtimes(twin, image))
    return Work(ours=partial(run, fast), references=references, verify=close(rtol=1e-3))


def _predicted(name: str, side: int) -> Work:
    import torch
    from torch.nn import functional

    import saccade
    from saccade.models.segmentation import predict

    network = saccade.accelerate(_built(name, {"classes": 21}))
    image = torch.rand(1, 3, side, side)
    passes = []
    for scale in SCALES:
        scaled = round(side * scale)
        whole = -(-(scaled - 1) // 8) * 8 + 1
        small = functional.interpolate(image, size=(scaled, scaled), mode="bilinear")
        for seen in (small, small.flip(3)):
            passes.append((functional.pad(seen, (0, whole - scaled, 0, whole - scaled)), scaled))

    def ours() -> Any:
        return predict(network, image, scales=SCALES, flip=True, multiple=8, plus=1)

    def alone(_: ModuleType) -> Callable[[], Any]:
        def run() -> list[Any]:
            with torch.no_grad():
                return [network(seen) for seen, _ in passes]

        return run

    def verify(found: Any, logits: list[Any]) -> Difference:
        mean = torch.zeros_like(found)
        for number, (output, (_, scaled)) in enumerate(zip(logits, passes, strict=True)):
            probabilities = output.softmax(1)[:, :, :scaled, :scaled]
            probabilities = probabilities.flip(3) if number % 2 else probabilities
            mean += functional.interpolate(probabilities, size=(side, side), mode="bilinear") / len(passes)
        return close(atol=1e-5)(found, mean)

    return Work(ours=ours, references={"the passes alone": reference("torch", alone)}, verify=verify)
