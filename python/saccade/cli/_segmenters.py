"""What gives `saccade segment` the classes of an image's pixels: GrabCut, or a network from a name or a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

    from saccade.models import LoadReport

__all__ = ["Inference", "Segmenter", "grab_cut_segmenter", "network_segmenter"]

Bytes = NDArray[np.uint8]
Probabilities = NDArray[np.float32]  # (classes, H, W)
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Segmenter:
    """``probabilities(rgb, scale)``: ``(classes, H, W)`` of an image that was resized by ``scale``."""

    names: Sequence[str]
    probabilities: Callable[[Bytes, float], Probabilities]


@dataclass(frozen=True)
class Inference:
    """How a network is asked: see `saccade.models.segmentation.predict`."""

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: int = 0
    accelerate: bool = True
    device: str = "cpu"


@dataclass(frozen=True)
class _Network:
    model: nn.Module
    mean: Sequence[float]
    std: Sequence[float]
    names: Sequence[str] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # of predict: sides that the model takes


def grab_cut_segmenter(rect: tuple[int, int, int, int], seed: int = 0) -> Segmenter:
    """The object in a rectangle ``x, y, width, height`` of the image as it is on disk."""
    from saccade.classic import grab_cut

    def run(rgb: Bytes, scale: float) -> Probabilities:
        x, y, right, bottom = (round(scale * side) for side in (rect[0], rect[1], rect[0] + rect[2], rect[1] + rect[3]))
        labels = grab_cut(rgb, rect=(x, y, right - x, bottom - y), seed=seed)
        is_object = (labels % 2).astype(np.float32)
        return np.stack([1 - is_object, is_object])

    return Segmenter(("background", "object"), run)


def network_segmenter(
    source: str,
    weights: Path | None,
    *,
    num_classes: int | None = None,
    names: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    inference: Inference | None = None,
) -> Segmenter:
    """A network of saccade.models.segmentation with weights, or a checkpoint of 'saccade train segment'.

    Raises:
        ValueError: for names that there are not, files that hold no weights or those of another network.
    """
    import torch

    import saccade
    from saccade.data.segmentation_folder import CITYSCAPES_IDS, VOC_CLASSES
    from saccade.models.segmentation import predict

    how = inference or Inference()
    if source in _network_names():
        network = _named(source, weights, num_classes, dict(options or {}))
    elif Path(source).is_file():
        network = _trained(Path(source))
    else:
        raise ValueError(
            f"segment: model must be one of {', '.join(_network_names())}, or a checkpoint of 'saccade train segment', "
            f"got {source!r}"
        )
    model = network.model.eval()
    model = saccade.accelerate(model) if how.accelerate and how.device == "cpu" else model.to(how.device)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (network.mean, network.std))
    asked: dict[str, Any] = {**network.options, "scales": how.scales, "flip": how.flip}
    if how.window:
        asked["window"] = how.window

    def run(rgb: Bytes, scale: float) -> Probabilities:
        pixels = rgb if mean.shape[1] == 3 else rgb.astype(np.float32).mean(2, keepdims=True)
        images = torch.from_numpy(np.moveaxis(pixels, 2, 0).astype(np.float32) / 255)[None]
        found = predict(model, ((images - mean) / std).to(how.device), **asked)[0].cpu().numpy()
        return np.concatenate([1 - found, found]) if len(found) == 1 else found

    count = max(2, _classes_of(model, mean.shape[1], asked))
    published = {len(each): each for each in (VOC_CLASSES, tuple(CITYSCAPES_IDS))}
    known = names or network.names or published.get(count)
    if known is not None and len(known) != count:
        raise ValueError(f"segment: names must be those of the model's {count} classes, got {len(known)}")
    return Segmenter(known or [str(number) for number in range(count)], run)


def _network_names() -> list[str]:
    from saccade.models import list_models, segmentation

    return sorted(set(list_models()) & set(segmentation.__all__))


def _classes_of(model: nn.Module, channels: int, asked: Mapping[str, Any]) -> int:
    """How many logits the model gives for a pixel: it is asked."""
    import torch

    from saccade.models.segmentation import predict

    side = asked.get("window", 33)
    probe = torch.zeros(1, channels, side, side, device=next(model.parameters()).device)
    return int(predict(model, probe, **{**asked, "scales": (1.0,), "flip": False}).shape[1])


def _named(name: str, weights: Path | None, num_classes: int | None, options: dict[str, Any]) -> _Network:
    if weights is None:
        raise ValueError(f"segment: weights must be a checkpoint for {name}, got none")
    if num_classes is not None:
        options["num_classes"] = num_classes
    model = _loaded(name, weights, options)
    channels = int(options.get("in_channels", options.get("n_channels", 3)))
    # What the released weights of each layout expect; milesial's U-Net takes pixels from 0 to 1.
    plain = name.startswith("unet") or channels != 3
    mean, std = ((0.0,) * channels, (1.0,) * channels) if plain else _IMAGENET
    return _Network(model, mean, std, None, _sides(model))


def _loaded(name: str, weights: Path, options: dict[str, Any]) -> nn.Module:
    """The model with a checkpoint's weights, and as many classes as these are for where none are asked for."""
    from saccade.models import CheckpointError, build, load_checkpoint

    model = build(name, **options)
    try:
        load_checkpoint(model, weights)
    except CheckpointError as error:
        made = _made_with(error.report)
        if not made or made.keys() & options.keys():
            raise
        model = build(name, **options, **made)
        load_checkpoint(model, weights)
    return model


def _made_with(report: LoadReport) -> dict[str, Any]:
    """Options of the model in a checkpoint, where only its number of classes or an auxiliary classifier differs."""
    counts = {found[0] for found, _ in report.mis_shaped.values()}
    other = any(found[0] == wanted[0] for found, wanted in report.mis_shaped.values())
    auxiliary = all(key.startswith("aux_classifier.") for key in report.unexpected)
    if report.missing or other or len(counts) > 1 or not auxiliary:
        return {}
    made: dict[str, Any] = {"num_classes": counts.pop()} if counts else {}
    return {**made, "aux_loss": True} if report.unexpected else made


def _trained(path: Path) -> _Network:
    """The network of a checkpoint of 'saccade train segment', its classes, and the normalisation of its training set.

    The file holds ``state_dict``; ``info``: ``recipe`` with the name of the ``model``, ``options`` it was built with,
    names of the ``classes``; and under the name of the data module ``normalize``: ``mean`` and ``variance``.
    """
    import torch

    from saccade.models import build, load_checkpoint

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file may raise nearly anything
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"segment: checkpoint {path} cannot be read: {reason}") from error
    info = content.get("info", {}) if isinstance(content, dict) else {}
    if info.get("command") != "saccade train segment":
        raise ValueError(
            f"segment: model must be a checkpoint of 'saccade train segment', or a name with --weights, got {path}"
        )
    model = build(info["recipe"]["model"], num_classes=len(info["classes"]), **info["options"])
    load_checkpoint(model, content)
    kept = next(part["normalize"] for part in content.values() if isinstance(part, dict) and "normalize" in part)
    # A channel that never varies is only shifted, as in saccade.data.transforms.MeanStd.
    mean, variance = kept["mean"].float(), kept["variance"].float()
    std = variance.sqrt().where(variance > 0, torch.ones_like(variance))
    return _Network(model, mean.tolist(), std.tolist(), info["classes"], _sides(model))


def _sides(model: nn.Module) -> dict[str, int]:
    """Options of predict that give a model images of sides that it takes."""
    from saccade.models.segmentation.pspnet import PSPNet
    from saccade.models.segmentation.segmenter import Segmenter as Transformer

    if isinstance(model, PSPNet):
        return {"multiple": 8, "plus": 1}
    return {"window": model.image_size} if isinstance(model, Transformer) else {}
