"""Images with objects, as COCO's annotation files describe them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from saccade._extras import require
from saccade.data._annotations import BadBox, Entries, OnBadBox, number
from saccade.data.folder_dataset import read_image

__all__ = ["CocoDataset"]

_OP = "CocoDataset"


class CocoDataset(Dataset[Any]):
    """``(image, target)``: a uint8 tensor ``(3, H, W)`` and a dict for the objects in it.

    ``boxes`` ``(N, 4)`` float32 corners x1, y1, x2, y2 in pixels; ``labels`` ``(N,)`` int64 from 0, the index in
    ``classes``; ``iscrowd`` ``(N,)`` int64, 1 for a group of objects that is not told apart: kept here, not learned
    from, and in the evaluation neither right nor wrong; ``area`` ``(N,)`` float32; ``image_id``, an int; with ``masks``
    also ``masks`` ``(N, H, W)`` bool. Images without objects have tensors of length 0.

    Args:
        images: folder of the image files.
        annotations: the JSON file.
        masks: whether masks are made of polygons and run lengths, by faster-coco-eval.
        transform: applied to the image and the target together: ``transform(image, target) -> (image, target)``.
        on_bad_box: of boxes without area, or more than a pixel out of their image: ``"raise"`` (the entry is named),
            ``"drop"``, or ``"clip"`` to what lies in it. All bad ones are listed in ``bad_boxes``.
        skip_empty: whether images without objects are left out.
        classes: names of the classes to read, in the order of their labels; default: all, by the ids of the file.

    Attributes: ``classes``, ``category_ids`` (by label), ``paths``, ``image_ids``, ``bad_boxes``.

    Raises:
        ValueError: for a file that is not JSON or not of this format; the entry is named, e.g. ``annotations[3]``. For
            an image that cannot be read, or has another size than the file says, when it is asked for. ImportError:
            without Pillow, or faster-coco-eval with ``masks``.

    Source: Lin et al., Microsoft COCO, 2014; cocodataset.org/#format-data.

    >>> import json, pathlib, tempfile, PIL.Image
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> PIL.Image.new("RGB", (40, 30)).save(root / "a.png")
    >>> box = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [5, 6, 20, 10], "area": 200, "iscrowd": 0}
    >>> image = {"id": 7, "file_name": "a.png", "height": 30, "width": 40}
    >>> content = {"images": [image], "annotations": [box], "categories": [{"id": 3, "name": "cat"}]}
    >>> _ = (root / "a.json").write_text(json.dumps(content))
    >>> image, target = saccade.data.CocoDataset(root, root / "a.json")[0]
    >>> image.shape, target["boxes"], target["labels"]
    (torch.Size([3, 30, 40]), tensor([[ 5.,  6., 25., 16.]]), tensor([0]))
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        annotations: str | os.PathLike[str],
        *,
        masks: bool = False,
        transform: Callable[[Any, Any], Any] | None = None,
        on_bad_box: OnBadBox = "raise",
        skip_empty: bool = False,
        classes: Sequence[str] | None = None,
    ) -> None:
        require("PIL.Image", _OP, "train")
        self._coder: Any = require("faster_coco_eval.core.mask", _OP, "train") if masks else None
        self.root, self.file, self.masks, self.transform = Path(images), Path(annotations), masks, transform
        if not self.root.is_dir():
            raise ValueError(f"{_OP}: images must be a folder that exists, got {self.root}")
        entries = Entries(_OP, on_bad_box)
        content = _content(self.file)
        self._read_categories(content["categories"], classes)
        self._read_images(content["images"])
        self._objects: list[list[dict[str, Any]]] = [[] for _ in self.image_ids]
        places = {image: place for place, image in enumerate(self.image_ids)}
        for index, entry in enumerate(content["annotations"]):
            self._read_object(f"{self.file.name}: annotations[{index}]", entry, places, entries)
        self.bad_boxes: list[BadBox] = entries.bad
        if skip_empty:
            kept = [place for place, objects in enumerate(self._objects) if objects]
            for name in ("image_ids", "paths", "sizes", "_objects"):
                setattr(self, name, [getattr(self, name)[place] for place in kept])

    def _read_categories(self, categories: list[Any], classes: Sequence[str] | None) -> None:
        names: dict[int, str] = {}
        for index, entry in enumerate(categories):
            where = f"{self.file.name}: categories[{index}]"
            key = _field(where, entry, "id", int)
            if key in names:
                raise ValueError(f"{_OP}: {where} must have an id of its own, got {key} again")
            names[key] = _field(where, entry, "name", str)
        if not names:
            raise ValueError(f"{_OP}: {self.file.name}: categories must hold at least one class, got none")
        self._all = set(names)
        if classes is None:
            self.category_ids = sorted(names)
        else:
            ids = {name: key for key, name in names.items()}
            unknown = [name for name in classes if name not in ids]
            if unknown or len(set(classes)) != len(classes):
                raise ValueError(f"{_OP}: classes must be different ones of {sorted(ids)}, got {list(classes)}")
            self.category_ids = [ids[name] for name in classes]
        self.classes = [names[key] for key in self.category_ids]
        self._labels = {key: label for label, key in enumerate(self.category_ids)}

    def _read_images(self, images: list[Any]) -> None:
        self.image_ids: list[int] = []
        self.paths: list[Path] = []
        self.sizes: list[tuple[int, int]] = []
        for index, entry in enumerate(images):
            where = f"{self.file.name}: images[{index}]"
            self.image_ids.append(_field(where, entry, "id", int))
            self.paths.append(self.root / _field(where, entry, "file_name", str))
            height, width = (_field(where, entry, name, int) for name in ("height", "width"))
            if min(height, width) < 1:
                raise ValueError(f"{_OP}: {where} must have a positive height and width, got {height} and {width}")
            self.sizes.append((height, width))
        if len(set(self.image_ids)) != len(self.image_ids):
            twice = next(key for i, key in enumerate(self.image_ids) if key in self.image_ids[:i])
            raise ValueError(f"{_OP}: {self.file.name}: images must have different ids, got {twice} twice")

    def _read_object(self, where: str, entry: Any, places: dict[int, int], entries: Entries) -> None:
        place = places.get(_field(where, entry, "image_id", int))
        if place is None:
            raise ValueError(f"{_OP}: {where} must have the image_id of an image, got {entry['image_id']}")
        category = _field(where, entry, "category_id", int)
        if category not in self._all:
            raise ValueError(f"{_OP}: {where} must have a category_id of {sorted(self._all)}, got {category}")
        box = _field(where, entry, "bbox", list)
        if len(box) != 4 or not all(map(number, box)):
            raise ValueError(f"{_OP}: {where} must have a bbox of 4 numbers, got {box}")
        crowd = entry.get("iscrowd", 0)
        if crowd not in (0, 1):
            raise ValueError(f"{_OP}: {where} must have an iscrowd of 0 or 1, got {crowd}")
        if category not in self._labels:
            return
        x, y, width, height = (float(value) for value in box)
        inside = entries.take(where, (x, y, x + width, y + height), self.sizes[place])
        if inside is None:
            return
        found = {"where": where, "box": inside, "label": self._labels[category], "crowd": int(crowd)}
        area = entry.get("area")
        found["area"] = float(area) if number(area) else width * height
        if self._coder is not None:
            found["outline"] = _outline(where, entry.get("segmentation"), self.sizes[place])
        self._objects[place].append(found)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        """``(image, target)``, or what the transform makes of them."""
        path, size = self.paths[index], self.sizes[index]
        try:
            image = read_image(path, "RGB")
        except Exception as error:  # Pillow's decoders raise nearly anything
            raise ValueError(f"{_OP}: {path} must be an image, could not read it: {error}") from error
        if tuple(image.shape[1:]) != size:
            raise ValueError(
                f"{_OP}: {path} must have the size that {self.file.name} says, height and width {size}, "
                f"got {tuple(image.shape[1:])}"
            )
        target = self.target(index)
        return (image, target) if self.transform is None else self.transform(image, target)

    def target(self, index: int) -> dict[str, Any]:
        """The target of an image, which is not read."""
        objects = self._objects[index]
        target: dict[str, Any] = {
            "boxes": torch.tensor([each["box"] for each in objects], dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor([each["label"] for each in objects], dtype=torch.int64),
            "iscrowd": torch.tensor([each["crowd"] for each in objects], dtype=torch.int64),
            "area": torch.tensor([each["area"] for each in objects], dtype=torch.float32),
            "image_id": self.image_ids[index],
        }
        if self._coder is not None:
            target["masks"] = self._masks(objects, self.sizes[index])
        return target

    def _masks(self, objects: list[dict[str, Any]], size: tuple[int, int]) -> Tensor:
        masks = np.zeros((len(objects), *size), bool)
        for mask, each in zip(masks, objects, strict=True):
            outline: Any = each["outline"]
            try:
                if isinstance(outline, list):
                    outline = self._coder.merge(self._coder.frPyObjects(outline, *size))
                elif isinstance(outline["counts"], list):
                    outline = self._coder.frPyObjects(outline, *size)
                mask[:] = self._coder.decode(outline)
            except Exception as error:  # the decoder's own, of several kinds
                raise ValueError(f"{_OP}: {each['where']} must have a segmentation, cannot read it: {error}") from error
        return torch.from_numpy(masks)

    def __repr__(self) -> str:
        """Size and classes."""
        return f"CocoDataset({self.file}, {len(self)} images, {len(self.classes)} classes, {len(self.bad_boxes)} bad)"


def _content(file: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{_OP}: annotations must be a file that exists, got {file}") from None
    except ValueError as error:
        raise ValueError(f"{_OP}: annotations must be JSON, cannot read {file}: {error}") from error
    for name in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise ValueError(f"{_OP}: {file.name} must hold a list of {name}, got none")
    return content


def _field(where: str, entry: Any, name: str, kind: type) -> Any:
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{_OP}: {where} must have {name!r}, of type {kind.__name__}, got {value!r}")
    return value


def _outline(where: str, outline: Any, size: tuple[int, int]) -> Any:
    """Polygons, or run lengths of the image's size; ValueError for anything else."""
    if isinstance(outline, list) and outline:
        for polygon in outline:
            if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2 or not all(map(number, polygon)):
                raise ValueError(f"{_OP}: {where} must have polygons of at least 3 points, got {polygon!r}")
        return [[float(value) for value in polygon] for polygon in outline]
    if isinstance(outline, dict) and isinstance(outline.get("counts"), str | list):
        if list(outline.get("size", ())) != list(size):
            raise ValueError(f"{_OP}: {where} must have run lengths of size {list(size)}, got {outline.get('size')}")
        counts = outline["counts"]
        if isinstance(counts, list) and (
            any(not isinstance(run, int) or run < 0 for run in counts) or sum(counts) != size[0] * size[1]
        ):
            raise ValueError(
                f"{_OP}: {where} must have run lengths that sum to {size[0] * size[1]}, got {len(counts)} of them"
            )
        return {"size": list(size), "counts": counts}
    raise ValueError(f"{_OP}: {where} must have a segmentation of polygons or run lengths, got {outline!r}")
