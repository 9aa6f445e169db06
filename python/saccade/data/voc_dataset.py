"""Images with objects, as PASCAL VOC's annotation files describe them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from torch.utils.data import Dataset

from saccade._extras import require
from saccade.data._annotations import BadBox, Entries, OnBadBox
from saccade.data.folder_dataset import read_image

__all__ = ["VOC_CLASSES", "VocDataset"]

_OP = "VocDataset"
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class VocDataset(Dataset[Any]):
    """``(image, target)`` as :class:`CocoDataset` gives them, from a folder in the layout of VOC.

    The folder holds ``JPEGImages``, ``Annotations`` (an XML file for each image), ``ImageSets/Main`` (a list of names
    for each part) and, for masks, ``SegmentationObject``. VOC counts pixels from 1 and its boxes hold their last one;
    here corners are coordinates from 0, the box of the first pixel is ``0, 0, 1, 1``.

    Args:
        root: e.g. ``VOCdevkit/VOC2007``.
        part: ``"train"``, ``"val"``, ``"trainval"``, ``"test"``: a file of ``ImageSets/Main``; None: every XML file.
        masks: whether masks are read, from images in whose pixels the number of the object stands.
        difficult: ``"ignore"``: objects that are marked so have ``iscrowd`` 1, they are not learned from and in the
            evaluation neither right nor wrong, as VOC has it; ``"keep"``: they are like others.
        transform: applied to the image and the target together: ``transform(image, target) -> (image, target)``.
        on_bad_box: as CocoDataset's.
        classes: names in the order of their labels; default: VOC's twenty where no other name occurs, otherwise all
            names that occur, sorted.

    Raises:
        ValueError: for a file that is missing or broken, named, with the object where one is wrong.

    Source: Everingham et al., The PASCAL Visual Object Classes Challenge, 2010.

    >>> import pathlib, tempfile, PIL.Image
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> for folder in ("JPEGImages", "Annotations"):
    ...     (root / folder).mkdir()
    >>> PIL.Image.new("RGB", (40, 30)).save(root / "JPEGImages/a.jpg")
    >>> box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>12</ymax></bndbox>"
    >>> size = "<size><width>40</width><height>30</height></size>"
    >>> xml = f"<annotation><filename>a.jpg</filename>{size}<object><name>cat</name>{box}</object></annotation>"
    >>> _ = (root / "Annotations/a.xml").write_text(xml)
    >>> data = saccade.data.VocDataset(root)
    >>> data[0][1]["boxes"], data.classes[data[0][1]["labels"][0]]
    (tensor([[ 0.,  1.,  9., 12.]]), 'cat')
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        part: str | None = None,
        *,
        masks: bool = False,
        difficult: str = "ignore",
        transform: Callable[[Any, Any], Any] | None = None,
        on_bad_box: OnBadBox = "raise",
        classes: Sequence[str] | None = None,
    ) -> None:
        require("PIL.Image", _OP, "train")
        if difficult not in ("ignore", "keep"):
            raise ValueError(f"{_OP}: difficult must be 'ignore' or 'keep', got {difficult!r}")
        self.root, self.masks, self.transform = Path(root), masks, transform
        self._ignore = difficult == "ignore"
        files = self._files(part)
        entries = Entries(_OP, on_bad_box)
        self.paths: list[Path] = []
        self.sizes: list[tuple[int, int]] = []
        self._objects: list[list[dict[str, Any]]] = []
        for file in files:
            self._read(file, entries)
        self.bad_boxes: list[BadBox] = entries.bad
        self.classes = self._find_classes(classes)
        self._label = {name: label for label, name in enumerate(self.classes)}

    def _files(self, part: str | None) -> list[Path]:
        folder = self.root / "Annotations"
        if not folder.is_dir():
            raise ValueError(f"{_OP}: root must hold a folder Annotations, got {self.root}")
        if part is None:
            files = sorted(folder.glob("*.xml"))
        else:
            listed = self.root / "ImageSets" / "Main" / f"{part}.txt"
            if not listed.is_file():
                raise ValueError(f"{_OP}: part must be a file of {listed.parent}, got {part!r}")
            files = [folder / f"{line.split()[0]}.xml" for line in listed.read_text().splitlines() if line.strip()]
        if not files:
            raise ValueError(f"{_OP}: root must hold at least one annotated image, got none in {self.root}")
        return files

    def _read(self, file: Path, entries: Entries) -> None:
        try:
            tree = ElementTree.parse(file).getroot()
        except FileNotFoundError:
            raise ValueError(f"{_OP}: {file} must exist, its image is listed") from None
        except ElementTree.ParseError as error:
            raise ValueError(f"{_OP}: {file} must be XML, cannot read it: {error}") from error
        width, height = (_integer(file.name, tree, f"size/{name}") for name in ("width", "height"))
        if min(width, height) < 1:
            raise ValueError(f"{_OP}: {file.name} must have a positive height and width, got {height} and {width}")
        name = (tree.findtext("filename") or f"{file.stem}.jpg").strip()
        self.paths.append(self.root / "JPEGImages" / name)
        self.sizes.append((height, width))
        objects = []
        for index, element in enumerate(tree.findall("object")):
            where = f"{file.name}: object {index + 1}"
            found = (element.findtext("name") or "").strip()
            if not found:
                raise ValueError(f"{_OP}: {where} must have a name, got none")
            x1, y1, x2, y2 = (_number(where, element, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax"))
            box = entries.take(where, (x1 - 1, y1 - 1, x2, y2), (height, width))
            if box is not None:
                difficult = (element.findtext("difficult") or "0").strip() == "1"
                objects.append({"name": found, "where": where, "box": box, "difficult": difficult, "number": index + 1})
        self._objects.append(objects)

    def _find_classes(self, classes: Sequence[str] | None) -> list[str]:
        found = sorted({each["name"] for objects in self._objects for each in objects})
        if classes is None:
            return list(VOC_CLASSES) if set(found) <= set(VOC_CLASSES) else found
        for objects in self._objects:
            for each in objects:
                if each["name"] not in classes:
                    raise ValueError(
                        f"{_OP}: {each['where']} must have a name of {list(classes)}, got {each['name']!r}"
                    )
        return list(classes)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        """``(image, target)``, or what the transform makes of them."""
        path, size = self.paths[index], self.sizes[index]
        image = self._image(path, "RGB")
        if tuple(image.shape[1:]) != size:
            raise ValueError(
                f"{_OP}: {path} must have the size of its annotation, height and width {size}, "
                f"got {tuple(image.shape[1:])}"
            )
        target = self.target(index)
        return (image, target) if self.transform is None else self.transform(image, target)

    def target(self, index: int) -> dict[str, Any]:
        """The target of an image, which is not read."""
        objects = self._objects[index]
        boxes = torch.tensor([each["box"] for each in objects], dtype=torch.float32).reshape(-1, 4)
        target: dict[str, Any] = {
            "boxes": boxes,
            "labels": torch.tensor([self._label[each["name"]] for each in objects], dtype=torch.int64),
            "iscrowd": torch.tensor([each["difficult"] and self._ignore for each in objects], dtype=torch.int64),
            "area": (boxes[:, 2:] - boxes[:, :2]).prod(1),
            "image_id": index,
        }
        if self.masks:
            path = self.root / "SegmentationObject" / f"{self.paths[index].stem}.png"
            numbers = self._numbers(path)
            if numbers.shape != self.sizes[index]:
                raise ValueError(f"{_OP}: {path} must have the image's size {self.sizes[index]}, got {numbers.shape}")
            wanted = np.array([each["number"] for each in objects], np.uint8).reshape(-1, 1, 1)
            target["masks"] = torch.from_numpy(numbers == wanted)
        return target

    def _image(self, path: Path, mode: str) -> Any:
        try:
            return read_image(path, mode)
        except Exception as error:  # Pillow's decoders raise nearly anything
            raise ValueError(f"{_OP}: {path} must be an image, could not read it: {error}") from error

    def _numbers(self, path: Path) -> Any:
        from PIL import Image

        try:
            with Image.open(path) as file:
                return np.array(file)  # of the palette: numbers of objects
        except Exception as error:
            raise ValueError(f"{_OP}: {path} must be an image, could not read it: {error}") from error

    def __repr__(self) -> str:
        """Size and classes."""
        return f"VocDataset({self.root}, {len(self)} images, {len(self.classes)} classes, {len(self.bad_boxes)} bad)"


def _number(where: str, element: ElementTree.Element, name: str) -> float:
    text = element.findtext(name)
    try:
        return float(text or "")
    except ValueError:
        raise ValueError(f"{_OP}: {where} must have a number for {name}, got {text!r}") from None


def _integer(where: str, element: ElementTree.Element, name: str) -> int:
    return int(_number(where, element, name))
