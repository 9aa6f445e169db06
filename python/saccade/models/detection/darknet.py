"""Networks in darknet's files: ``.cfg`` lists the layers, ``.weights`` holds the numbers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade.models.checkpoint import READERS
from saccade.nn import BatchNorm2d, Conv2d, MaxPool2d

__all__ = ["Darknet", "Section", "parse_cfg", "read_weights", "write_weights"]

Section = dict[str, Any]
_IGNORED = ("net", "network")
_HEADS = ("region", "yolo")
_ACTIVATIONS = ("leaky", "linear", "relu")


def parse_cfg(text: str) -> list[Section]:
    """The sections of a ``.cfg``, in order: a dict of ``type`` and of the options, numbers and lists of them parsed.

    Raises:
        ValueError: for lines that are neither a section, an option nor a comment; the number of the line is said.

    >>> parse_cfg("[convolutional]\\nfilters=16  # of them\\n[yolo]\\nanchors = 10,13, 16,30")
    [{'type': 'convolutional', 'filters': 16}, {'type': 'yolo', 'anchors': [10, 13, 16, 30]}]
    """
    sections: list[Section] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#")[0].split(";")[0].strip()
        key, equals, value = (part.strip() for part in line.partition("="))
        if line.startswith("[") and line.endswith("]"):
            sections.append({"type": line[1:-1].strip()})
        elif equals and sections:
            values = [_number(part) for part in value.split(",")]
            sections[-1][key] = values if len(values) > 1 else values[0]
        elif line:
            raise ValueError(f"parse_cfg: line {number} must be a section, an option of one or a comment, got {line!r}")
    return sections


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text.strip()


class _Convolution(nn.Module):
    def __init__(self, in_channels: int, options: Section) -> None:
        super().__init__()
        size, activation = options.get("size", 1), options.get("activation", "linear")
        if activation not in _ACTIVATIONS:
            raise ValueError(f"Darknet: activation must be one of {', '.join(_ACTIVATIONS)}, got {activation!r}")
        padding = size // 2 if options.get("pad") else options.get("padding", 0)
        normal = bool(options.get("batch_normalize"))
        channels, stride, groups = options["filters"], options.get("stride", 1), options.get("groups", 1)
        self.conv = Conv2d(in_channels, channels, size, stride, padding, groups=groups, bias=not normal)
        # darknet adds eps to the variance on a GPU, where its weights were trained, as torch does.
        self.norm = BatchNorm2d(channels) if normal else None
        self.slope = {"leaky": 0.1, "linear": 1.0, "relu": 0.0}[activation]

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.conv(maps)
        if self.norm is not None:
            maps = self.norm(maps)
        return maps if self.slope == 1 else functional.leaky_relu(maps, self.slope)


class _MaxPool(MaxPool2d):
    """Pads below and on the right only where the size is even: with stride 1 the map keeps its size."""

    def __init__(self, size: int, stride: int) -> None:
        super().__init__(size, stride)
        self.step, self.before, self.after = stride, (size - 1) // 2, size // 2

    def forward(self, input: Tensor) -> Any:
        sides, stride = input.shape[-2:], self.step
        if stride != self.kernel_size or sides[0] % stride or sides[1] % stride:  # else what is padded is never seen
            input = functional.pad(input, (self.before, self.after) * 2, value=-torch.inf)
        return super().forward(input)


class _Route(nn.Module):
    """Earlier outputs, one after the other along the channels."""

    def __init__(self, sources: Sequence[int]) -> None:
        super().__init__()
        self.sources = list(sources)

    def forward(self, maps: Tensor, outputs: dict[int, Tensor]) -> Tensor:
        return torch.cat([outputs[source] for source in self.sources], 1)


class _Shortcut(nn.Module):
    """The sum with an earlier output."""

    def __init__(self, source: int) -> None:
        super().__init__()
        self.sources = [source]

    def forward(self, maps: Tensor, outputs: dict[int, Tensor]) -> Tensor:
        return maps + outputs[self.sources[0]]


class _Reorganization(nn.Module):
    """Half the resolution, four times the channels, in the order of darknet.

    Its loop reads a map of C channels as one of C / 4 with sides twice as long, and so mixes places and channels;
    trained weights expect just this.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        n, c, height, width = maps.shape
        s = self.stride
        taken = maps.reshape(n, c // s**2, height, s, width, s).permute(0, 3, 5, 1, 2, 4)
        return taken.reshape(n, c * s**2, height // s, width // s)


class Darknet(nn.Module):
    """A network from the sections of a ``.cfg``; ``layers.{i}`` is the section ``i``, not counting ``[net]``.

    Takes ``convolutional``, ``maxpool``, ``route``, ``shortcut``, ``upsample``, ``reorg``; ``region`` and ``yolo`` mark
    what is returned.

    Args:
        sections: of :func:`parse_cfg`.
        in_channels: of the images.

    Output: the maps of which ``region`` and ``yolo`` sections speak, in their order.

    Source: Redmon, Darknet: Open Source Neural Networks in C, 2013-2016.
    """

    def __init__(self, sections: Sequence[Section], in_channels: int = 3) -> None:
        super().__init__()
        sections = [section for section in sections if section["type"] not in _IGNORED]
        self.layers = nn.ModuleList()
        self.heads = [number for number, section in enumerate(sections) if section["type"] in _HEADS]
        channels: list[int] = []
        for number, section in enumerate(sections):
            before = channels[-1] if channels else in_channels
            layer, after = _layer(number, section, before, channels)
            self.layers.append(layer)
            channels.append(after)
        self._needed = {source for layer in self.layers for source in getattr(layer, "sources", [])}

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps of the heads."""
        maps, found = images, []
        outputs: dict[int, Tensor] = {}
        for number, layer in enumerate(self.layers):
            if number in self.heads:
                found.append(maps)
            maps = layer(maps, outputs) if hasattr(layer, "sources") else layer(maps)
            if number in self._needed:
                outputs[number] = maps
        return found


def _layer(number: int, section: Section, before: int, channels: list[int]) -> tuple[nn.Module, int]:
    """A layer and the channels of its output."""
    kind = section["type"]
    if kind == "convolutional":
        return _Convolution(before, section), section["filters"]
    if kind == "maxpool":
        stride = int(section.get("stride", 1))
        return _MaxPool(int(section.get("size", stride)), stride), before
    if kind == "upsample":
        return nn.Upsample(scale_factor=section.get("stride", 2)), before
    if kind == "reorg":
        stride = int(section.get("stride", 1))
        return _Reorganization(stride), before * stride**2
    if kind in _HEADS:
        return nn.Identity(), before
    if kind in ("route", "shortcut"):
        named = section["layers"] if kind == "route" else section["from"]
        sources = [at + number if at < 0 else at for at in (named if isinstance(named, list) else [named])]
        for source, name in zip(sources, named if isinstance(named, list) else [named], strict=True):
            if not 0 <= source < number:
                raise ValueError(f"Darknet: section {number} ({kind}) must name one of those before it, got {name}")
        if kind == "route":
            return _Route(sources), sum(channels[source] for source in sources)
        return _Shortcut(sources[0]), before
    raise ValueError(f"Darknet: section {number} must be of a known type, got {kind!r}")


# ---- Weights ---------------------------------------------------------------------------------------------------------


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Names and values in the order of a ``.weights``: for each convolution what is added, normalisation, weights."""
    ordered = []
    own = model.state_dict()
    for name, module in model.named_modules():
        if isinstance(module, _Convolution):
            norm = ("norm.bias", "norm.weight", "norm.running_mean", "norm.running_var")
            keys = [*(("conv.bias",) if module.norm is None else norm), "conv.weight"]
            ordered += [(f"{name}.{key}", own[f"{name}.{key}"]) for key in keys]
    return ordered


def read_weights(model: nn.Module, path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The state dict of a model from a darknet ``.weights``.

    The header has three int32 (major, minor, revision) and how many images were seen, of 8 bytes from version 0.2 on.

    Raises:
        ValueError: if the file does not hold just as many numbers as the model; TypeError: if the model is no darknet.
    """
    ordered = _tensors(model)
    if not ordered:
        raise TypeError(f"load_checkpoint: {os.fspath(path)} is for a darknet model, got {type(model).__name__}")
    content = Path(path).read_bytes()
    if len(content) < 16:
        raise ValueError(f"load_checkpoint: {os.fspath(path)} must have darknet's header, got {len(content)} bytes")
    major, minor, _ = np.frombuffer(content, "<i4", 3)
    start = 20 if major * 10 + minor >= 2 else 16
    numbers = np.frombuffer(content, "<f4", (len(content) - start) // 4, start)
    wanted = sum(value.numel() for _, value in ordered)
    if len(numbers) != wanted:
        raise ValueError(
            f"load_checkpoint: {os.fspath(path)} must hold {wanted} numbers for {type(model).__name__}, "
            f"got {len(numbers)}"
        )
    parts = torch.from_numpy(numbers.copy()).split([value.numel() for _, value in ordered])
    return {key: part.view(value.shape) for (key, value), part in zip(ordered, parts, strict=True)}


def write_weights(model: nn.Module, path: str | os.PathLike[str], *, seen: int = 0) -> None:
    """Write a model as a darknet ``.weights`` (version 0.2); ``seen``: images that it was trained on."""
    with Path(path).open("wb") as file:
        file.write(np.array([0, 2, 0], "<i4").tobytes() + np.array([seen], "<u8").tobytes())
        for _, value in _tensors(model):
            file.write(value.detach().cpu().float().contiguous().numpy().astype("<f4").tobytes())


READERS[".weights"] = read_weights
