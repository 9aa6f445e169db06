"""Images and the class of each of their pixels, from folders as VOC, Cityscapes and ADE20K have them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from saccade._extras import require
from saccade.data._labels import outside
from saccade.data.folder_dataset import _images, _listed, read_image

__all__ = ["CITYSCAPES_IDS", "VOC_CLASSES", "SegmentationFolder"]

_OP = "SegmentationFolder"
_MASKS = {".png", ".bmp", ".gif", ".pgm", ".tif", ".tiff", ".webp"}  # without what loses values

# fmt: off
VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
CITYSCAPES_IDS = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27,
    "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}
# fmt: on


class SegmentationFolder(Dataset[Any]):
    """``(image, classes)`` of image files and of mask files that have their names, read when they are asked for.

    Args:
        images: folder of images at any depth.
        masks: folder of masks: grey or palette images (PNG), whose values are the classes, at the same places.
        classes: names of the classes, in the order of their labels.
        num_classes: instead of names. Without both, all masks are read once and the greatest label is the last class.
        ignore_index: the label of pixels that count for nothing.
        label_map: the label of values of the masks, for those that are not the same.
        image_suffix, mask_suffix: ends of the names, before the extension, that the others do not have, e.g.
            ``"_leftImg8bit"`` and ``"_gtFine_labelIds"``.
        names: of the images to take, without suffix and extension; default: all that have a mask or an image, and each
            must have both.
        transform: given image, a uint8 tensor ``(C, H, W)``, and classes, int64 ``(H, W)``; what it returns is the
            item, e.g. :func:`saccade.data.transforms.SegmentationAugmentation`.
        mode: ``"RGB"`` or ``"L"`` (grey), to which images are converted.

    Attributes: ``images``, ``masks`` (paths), ``classes``, ``num_classes``, ``ignore_index``, ``ids``.

    :meth:`voc`, :meth:`cityscapes` and :meth:`ade20k` read those data sets' own folders.

    Raises:
        ValueError: for folders without images, images without a mask and masks without an image (named); when an item
            is read: for a mask of another size than the image, or with labels outside the classes (file, labels and
            their counts are named). ImportError: without Pillow.

    >>> import tempfile, pathlib, PIL.Image
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> for folder, mode, value in (("images", "RGB", (9, 9, 9)), ("masks", "L", 1)):
    ...     (root / folder).mkdir()
    ...     PIL.Image.new(mode, (6, 4), value).save(root / folder / "a.png")
    >>> data = saccade.data.SegmentationFolder(root / "images", root / "masks", classes=["ground", "tree"])
    >>> image, classes = data[0]
    >>> image.shape, classes.shape, classes.unique()
    (torch.Size([3, 4, 6]), torch.Size([4, 6]), tensor([1]))
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str],
        *,
        classes: Sequence[str] | None = None,
        num_classes: int | None = None,
        ignore_index: int = 255,
        label_map: Mapping[int, int] | None = None,
        image_suffix: str = "",
        mask_suffix: str = "",
        names: Sequence[str] | None = None,
        transform: Callable[[Tensor, Tensor], Any] | None = None,
        mode: Literal["RGB", "L"] = "RGB",
    ) -> None:
        require("PIL.Image", _OP, "train")
        for name, folder in (("images", images), ("masks", masks)):
            if not Path(folder).is_dir():
                raise ValueError(f"{_OP}: {name} must be a folder that exists, got {folder}")
        if classes is not None and num_classes not in (None, len(classes)):
            raise ValueError(f"{_OP}: classes must be num_classes={num_classes} names, got {len(classes)}")
        self.ignore_index, self.transform, self.mode = ignore_index, transform, mode
        self._label_map = dict(label_map or {})
        pictures = _named(Path(images), image_suffix)
        labelled = _named(Path(masks), mask_suffix, _MASKS)
        self.ids = _paired(pictures, labelled, names, images)
        self.images = [pictures[name] for name in self.ids]
        self.masks = [labelled[name] for name in self.ids]
        count = len(classes) if classes is not None else num_classes or self._count_classes()
        if count < 2:
            raise ValueError(f"{_OP}: classes must be at least 2, got {count}")
        self.num_classes = count
        self.classes = [str(name) for name in classes] if classes is not None else [str(i) for i in range(count)]

    @classmethod
    def voc(cls, root: str | os.PathLike[str], part: str = "train", **options: Any) -> SegmentationFolder:
        """PASCAL VOC: ``root`` holds JPEGImages, SegmentationClass and ImageSets/Segmentation/``part``.txt.

        21 classes; boundaries are labelled 255. ``root`` is e.g. ``VOCdevkit/VOC2012``.
        """
        folder = Path(root)
        listed = folder / "ImageSets" / "Segmentation" / f"{part}.txt"
        if not listed.is_file():
            raise ValueError(f"{_OP}: root must hold ImageSets/Segmentation/{part}.txt, got {root}")
        options = {"classes": VOC_CLASSES, "names": listed.read_text().split(), **options}
        return cls(folder / "JPEGImages", folder / "SegmentationClass", **options)

    @classmethod
    def cityscapes(cls, root: str | os.PathLike[str], part: str = "train", **options: Any) -> SegmentationFolder:
        """Cityscapes: ``root`` holds leftImg8bit/``part`` and gtFine/``part``, the masks are ``*_gtFine_labelIds``.

        The 19 classes that the benchmark evaluates, in the order of its train ids; all others are ignored.
        """
        label_map = {value: 255 for value in range(256)}
        label_map |= {value: label for label, value in enumerate(CITYSCAPES_IDS.values())}
        options = {
            "classes": tuple(CITYSCAPES_IDS),
            "label_map": label_map,
            "image_suffix": "_leftImg8bit",
            "mask_suffix": "_gtFine_labelIds",
            **options,
        }
        return cls(Path(root) / "leftImg8bit" / part, Path(root) / "gtFine" / part, **options)

    @classmethod
    def ade20k(cls, root: str | os.PathLike[str], part: str = "training", **options: Any) -> SegmentationFolder:
        """ADE20K of the scene parsing challenge: ``root`` holds images/``part`` and annotations/``part``.

        150 classes; value 0 is ignored, the others are one more than the class. ``part``: ``"training"``,
        ``"validation"``. Names are those of ``objectInfo150.txt``, where it is there.
        """
        table = Path(root) / "objectInfo150.txt"
        named: dict[str, Any] = {"num_classes": 150}
        if table.is_file():
            lines = table.read_text().splitlines()[1:]
            named = {"classes": [line.split("\t")[-1].split(",")[0].strip() for line in lines if line.strip()]}
        label_map = {0: 255, **{value: value - 1 for value in range(1, 256)}}
        options = {**named, "label_map": label_map, **options}
        return cls(Path(root) / "images" / part, Path(root) / "annotations" / part, **options)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.ids)

    def __getitem__(self, index: int) -> Any:
        """``(image, classes)``, or what the transform makes of them."""
        path = self.images[index]
        try:
            image = read_image(path, self.mode)
        except Exception as error:  # Pillow's decoders raise nearly anything
            raise ValueError(f"{_OP}: {path} must be an image, could not read it: {error}") from error
        classes = self._read_mask(index)
        mask = self.masks[index]
        if classes.shape != image.shape[1:]:
            raise ValueError(
                f"{_OP}: {mask} must be as large as its image, {tuple(image.shape[1:])}, got {tuple(classes.shape)}"
            )
        wrong = outside(classes, self.num_classes, self.ignore_index)
        if wrong:
            raise ValueError(
                f"{_OP}: labels of {mask} must be from 0 to {self.num_classes - 1} "
                f"or ignore_index {self.ignore_index}, got {wrong}"
            )
        return (image, classes) if self.transform is None else self.transform(image, classes)

    def content(self, index: int) -> bytes:
        """The image file's bytes: what :func:`check_disjoint` compares."""
        return self.images[index].read_bytes()

    def __repr__(self) -> str:
        """Size and classes."""
        return f"SegmentationFolder({len(self)} images, {self.num_classes} classes)"

    def _read_mask(self, index: int) -> Tensor:
        from PIL import Image

        path = self.masks[index]
        try:
            with Image.open(path) as file:
                mode, values = file.mode, np.array(file)
        except Exception as error:
            raise ValueError(f"{_OP}: {path} must be a mask, could not read it: {error}") from error
        if values.ndim != 2 or values.dtype.kind not in "biu":
            raise ValueError(f"{_OP}: {path} must be a grey or palette image of classes, got mode {mode}")
        found = values.astype(np.int64)
        if self._label_map:
            table = np.arange(max(int(found.max(initial=0)), *self._label_map) + 1)
            table[list(self._label_map)] = list(self._label_map.values())
            found = table[found] if found.min(initial=0) >= 0 else found  # a negative value is named by the check
        return torch.from_numpy(found)

    def _count_classes(self) -> int:
        def last(index: int) -> int:
            values = self._read_mask(index)
            values = values[values != self.ignore_index]
            return int(values.max()) if values.numel() else 0

        with ThreadPoolExecutor() as pool:  # decoders release the GIL
            return 1 + max(pool.map(last, range(len(self.masks))), default=0)


def _named(folder: Path, suffix: str, kinds: set[str] | None = None) -> dict[str, Path]:
    """Files by their path below the folder, without suffix and extension."""
    found: dict[str, Path] = {}
    for path in _images(folder):
        if not path.stem.endswith(suffix) or (kinds and path.suffix.lower() not in kinds):
            continue
        name = (path.parent / path.stem.removesuffix(suffix)).relative_to(folder).as_posix()
        if name in found:
            raise ValueError(f"{_OP}: names must differ without their extensions, got {found[name]} and {path}")
        found[name] = path
    return found


def _paired(pictures: dict[str, Path], masks: dict[str, Path], names: Sequence[str] | None, folder: Any) -> list[str]:
    wanted = sorted({*pictures, *masks}) if names is None else list(names)
    for found, what in ((pictures, "an image"), (masks, "a mask")):
        lacking = [name for name in wanted if name not in found]
        if lacking:
            raise ValueError(f"{_OP}: every name must have {what}, got none for {_listed(lacking)}")
    if not wanted:
        raise ValueError(f"{_OP}: images must hold at least one image, got none in {folder}")
    return wanted
