"""Networks that ``saccade detect`` finds objects with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from saccade.train.detection_weights import TrainedDetector

__all__ = ["find_in_batch", "names_of", "open_network", "record_of", "run_lengths"]

# torchvision's weights of these were trained with frozen batch normalisations, the older ones without their eps.
_FROZEN = ("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn")


def open_network(
    model: str,
    weights: Path | None,
    num_classes: int | None,
    names: Path | None,
    device: str | None,
    accelerate: bool = True,
) -> TrainedDetector:
    """The network of a name and a file of weights, of a ``.cfg`` and ``.weights`` of darknet, or of a checkpoint.

    Raises:
        ValueError: for a model that is none, or weights that do not fit. OSError: for files that cannot be read.
    """
    import torch

    import saccade
    from saccade.train.detection_weights import load_detector

    if model not in _detectors() and Path(model).suffix != ".cfg":
        if not Path(model).is_file():
            raise ValueError(
                f"model must be a checkpoint, a .cfg of darknet, or one of {', '.join(_detectors())}, got {model}"
            )
        if weights is not None or num_classes is not None:
            raise ValueError("weights and num_classes must not be given with a checkpoint, it has them")
        opened = load_detector(model)
    else:
        opened = _with_weights(model, weights, num_classes)
    if names is not None:
        lines = [line.strip() for line in names.read_text().splitlines() if line.strip()]
        opened = opened._replace(classes=lines)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    network = opened.model.to(where)
    return opened._replace(model=saccade.accelerate(network) if accelerate else network)


def _detectors() -> list[str]:
    from saccade.models import list_models
    from saccade.models._registry import _CONSTRUCTORS

    return [name for name in list_models() if _CONSTRUCTORS[name].__module__.startswith("saccade.models.detection.")]


def _with_weights(model: str, weights: Path | None, num_classes: int | None) -> TrainedDetector:
    from saccade.models import build, load_checkpoint
    from saccade.models.detection import darknet_yolo
    from saccade.ops import FrozenBatchNorm2d
    from saccade.train.detection_weights import TrainedDetector, first_label_of

    if weights is None:
        raise ValueError(f"weights must be given for {model}: without them it finds nothing")
    if Path(model).suffix == ".cfg":
        network: Any = darknet_yolo(model)
    else:
        options: dict[str, Any] = {"norm_layer": FrozenBatchNorm2d} if model in _FROZEN else {}
        network = build(model, num_classes=num_classes, **options)
    load_checkpoint(network, weights)
    return TrainedDetector(network.eval(), None, first_label_of(network))


def find_in_batch(network: TrainedDetector, pictures: Sequence[Any], min_score: float) -> list[dict[str, Any]]:
    """What a network finds in arrays ``(H, W, 3)``, on the CPU."""
    import torch

    device = next(network.model.parameters()).device
    images = [torch.from_numpy(np.array(rgb)).permute(2, 0, 1).to(device) for rgb in pictures]
    return [{name: value.cpu() for name, value in found.items()} for found in network.find(images, min_score)]


def names_of(network: TrainedDetector, labels: Sequence[int]) -> list[str]:
    """Names of classes; where they are unknown, the network's own numbers."""
    known = network.classes or []
    return [known[label] if label < len(known) else str(label + network.first_label) for label in labels]


def record_of(network: TrainedDetector, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Findings for programs: boxes as x, y, width, height; masks as COCO's run lengths."""
    records = []
    names = names_of(network, found["labels"].tolist())
    for index, (x1, y1, x2, y2) in enumerate(found["boxes"].tolist()):
        box = [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)]
        record: dict[str, Any] = {"box": box, "class": names[index], "score": round(float(found["scores"][index]), 5)}
        if "masks" in found:
            mask = found["masks"][index].numpy()
            record["mask"] = {"size": list(mask.shape), "counts": run_lengths(mask)}
        records.append(record)
    return records


def run_lengths(mask: Any) -> list[int]:
    """COCO's uncompressed run lengths: column by column, the first run is of zeros.

    >>> run_lengths(np.array([[0, 1], [1, 1]]))
    [1, 3]
    """
    flat = np.asarray(mask, bool).flatten(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return [0, *runs] if flat.size and flat[0] else runs
