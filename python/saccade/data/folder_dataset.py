"""Image files in folders: a folder for each class, or any tree of images without labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from saccade._extras import require

__all__ = ["FolderDataset", "UnreadableImage"]

_OP = "FolderDataset"
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".pnm", ".tif", ".tiff", ".webp"}
_LISTED = 10


class UnreadableImage(NamedTuple):
    """A file that is no image, or not all of one, and what the decoder said."""

    path: Path
    reason: str


class FolderDataset(Dataset[Any]):
    """Images read from files when they are asked for: ``(image, label)``, or ``image`` alone if not ``labelled``.

    Args:
        root: with labels, a folder that holds a folder for each class, of images at any depth; without, a folder of
            images at any depth. Names that begin with a dot are passed over. The order is that of the sorted paths.
        transform: applied to each image, a uint8 tensor ``(C, H, W)``.
        labelled: whether the folders are classes.
        on_error: ``"raise"``: a file that cannot be read raises when it is asked for. ``"skip"``: every file is read
            once at the start and those that cannot be are left out, listed in ``skipped``; a length and indices that
            never change are what keeps splits disjoint.
        num_classes: the number of classes that there must be.
        classes: the classes in the order of their labels, where that is not the alphabetical one, or where another
            folder (the test set's) may lack some.
        mode: ``"RGB"`` or ``"L"`` (grey), to which all images are converted. 16-bit grey keeps its upper 8 bits.
        allow_empty: whether a class may be without images.

    Attributes: ``paths``, ``labels`` (a tensor, or None), ``classes``, ``num_classes``, ``ids`` (paths below the root),
    ``skipped`` (of :class:`UnreadableImage`), ``transform``.

    Raises:
        ValueError: if the folder holds no images, a class is empty (named), the classes are not those expected, or
            an image cannot be read (named). ImportError: without Pillow.

    Photographs are turned upright by their EXIF orientation, as OpenCV does and torchvision does not.

    >>> import tempfile, pathlib, PIL.Image
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
    ...     (root / name).parent.mkdir(exist_ok=True)
    ...     PIL.Image.new("RGB", (6, 4)).save(root / name)
    >>> data = saccade.data.FolderDataset(root)
    >>> data.classes, data.labels, data[0][0].shape
    (['cat', 'dog'], tensor([0, 0, 1]), torch.Size([3, 4, 6]))
    >>> (root / "cat/1.png").write_text("no image") and None
    >>> data = saccade.data.FolderDataset(root, on_error="skip")
    >>> len(data), [path.name for path, reason in data.skipped]
    (2, ['1.png'])
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        transform: Callable[[Any], Any] | None = None,
        labelled: bool = True,
        on_error: Literal["raise", "skip"] = "raise",
        num_classes: int | None = None,
        classes: Sequence[str] | None = None,
        mode: Literal["RGB", "L"] = "RGB",
        allow_empty: bool = False,
    ) -> None:
        self.root = Path(root)
        self._check(on_error, mode, labelled, num_classes, classes)
        require("PIL.Image", _OP, "train")
        self.transform = transform
        self.mode = mode
        self.skipped: list[UnreadableImage] = []
        self.classes = self._find_classes(classes) if labelled else []
        self.num_classes = len(self.classes) if labelled else None
        if num_classes is not None and num_classes != self.num_classes:
            raise ValueError(
                f"{_OP}: root must hold num_classes={num_classes} classes, got {self.num_classes}: "
                f"{_listed(self.classes)}"
            )
        folders = [self.root / name for name in self.classes] if labelled else [self.root]
        files = [_images(folder) for folder in folders]
        if on_error == "skip":
            self.skipped = _unreadable([path for paths in files for path in paths], mode)
            bad = {path for path, _ in self.skipped}
            files = [[path for path in paths if path not in bad] for paths in files]
        self._refuse_empty(files, labelled, allow_empty)
        self.paths = [path for paths in files for path in paths]
        self.ids = [path.relative_to(self.root).as_posix() for path in self.paths]
        counts = torch.tensor([len(paths) for paths in files])
        self.labels = torch.arange(len(files)).repeat_interleave(counts) if labelled else None

    def _check(self, on_error: str, mode: str, labelled: bool, num_classes: Any, classes: Any) -> None:
        if on_error not in ("raise", "skip"):
            raise ValueError(f"{_OP}: on_error must be 'raise' or 'skip', got {on_error!r}")
        if mode not in ("RGB", "L"):
            raise ValueError(f"{_OP}: mode must be 'RGB' or 'L', got {mode!r}")
        if not labelled and (num_classes is not None or classes is not None):
            raise ValueError(
                f"{_OP}: num_classes and classes must be None without labels, got {num_classes}, {classes}"
            )
        if not self.root.is_dir():
            raise ValueError(f"{_OP}: root must be a folder that exists, got {self.root}")

    def _find_classes(self, classes: Sequence[str] | None) -> list[str]:
        found = sorted(path.name for path in self.root.iterdir() if path.is_dir() and not path.name.startswith("."))
        if not found:
            raise ValueError(
                f"{_OP}: root must hold a folder for each class (or set labelled=False), got none in {self.root}"
            )
        if classes is None:
            return found
        if len(set(classes)) != len(classes):
            raise ValueError(f"{_OP}: classes must differ, got {list(classes)}")
        unknown = [name for name in found if name not in classes]
        if unknown:
            raise ValueError(f"{_OP}: classes must name every folder in {self.root}, got none for {_listed(unknown)}")
        return list(classes)

    def _refuse_empty(self, files: list[list[Path]], labelled: bool, allow_empty: bool) -> None:
        skipped = f" ({len(self.skipped)} could not be read)" if self.skipped else ""
        if not any(files):
            raise ValueError(f"{_OP}: root must hold at least one image, got none in {self.root}{skipped}")
        if labelled and not allow_empty:
            empty = [name for name, paths in zip(self.classes, files, strict=True) if not paths]
            if empty:
                raise ValueError(
                    f"{_OP}: every class must hold at least one image, got none in {_listed(empty)}{skipped}"
                )

    def __len__(self) -> int:
        """The number of images."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        """``(image, label)``, or the image alone."""
        path = self.paths[index]
        try:
            image: Any = read_image(path, self.mode)
        except Exception as error:  # Pillow's decoders raise nearly anything
            raise ValueError(f"{_OP}: {path} must be an image, could not read it: {error}") from error
        if self.transform is not None:
            image = self.transform(image)
        return image if self.labels is None else (image, int(self.labels[index]))

    def content(self, index: int) -> bytes:
        """The file's bytes: what :func:`check_disjoint` compares."""
        return self.paths[index].read_bytes()

    def verify(self) -> list[UnreadableImage]:
        """Read every image once, with several threads; return those that cannot be read."""
        return _unreadable(self.paths, self.mode)

    def __repr__(self) -> str:
        """Size and classes."""
        classes = "unlabelled" if self.labels is None else f"{self.num_classes} classes"
        return f"FolderDataset({self.root}, {len(self)} images, {classes}, {len(self.skipped)} skipped)"


def read_image(path: Path, mode: str) -> Tensor:
    """An image file as a uint8 tensor ``(C, H, W)``."""
    from PIL import Image, ImageOps

    with Image.open(path) as file:
        image: Any = ImageOps.exif_transpose(file)
        if image.mode.startswith("I"):  # Pillow's own conversion cuts off at 255
            grey = np.clip(np.asarray(image, np.int64), 0, 65535) >> 8
            image = Image.fromarray(grey.astype(np.uint8))
        pixels = np.array(image.convert(mode))
    return torch.from_numpy(pixels if pixels.ndim == 3 else pixels[:, :, None]).permute(2, 0, 1).contiguous()


def _images(folder: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):  # a class of `classes` that has no folder: nothing
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, n) for n in names if Path(n).suffix.lower() in _SUFFIXES and not n.startswith(".")]
    return sorted(found)


def _unreadable(paths: Sequence[Path], mode: str) -> list[UnreadableImage]:
    def check(path: Path) -> UnreadableImage | None:
        try:
            read_image(path, mode)
        except Exception as error:
            return UnreadableImage(path, str(error))
        return None

    with ThreadPoolExecutor() as pool:  # decoders release the GIL
        return [found for found in pool.map(check, paths) if found is not None]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
