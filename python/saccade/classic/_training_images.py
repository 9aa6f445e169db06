"""What a cascade is trained on: positive windows and background images, from arrays, folders or OpenCV's files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._native import numpy_module

__all__ = ["Images", "read_backgrounds", "read_positives", "read_vec", "write_vec"]

Images: TypeAlias = "ArrayLike | Iterable[ArrayLike] | str | os.PathLike[str]"
Grey: TypeAlias = NDArray[np.uint8]

_OP = "CascadeTrainer.fit"
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".webp"}
_VEC_HEADER = np.dtype([("count", "<i4"), ("size", "<i4"), ("min", "<i2"), ("max", "<i2")])


def read_positives(source: Images, width: int, height: int) -> Grey:
    """Windows ``(N, height, width)``; images of another size are resized."""
    if isinstance(source, (str, os.PathLike)) and Path(source).suffix.lower() == ".vec":
        return read_vec(source, width, height)
    images = _read(source, "positives")
    windows = [image if image.shape == (height, width) else resized(image, width, height) for image in images]
    return np.stack(windows)


def read_backgrounds(source: Images, width: int, height: int) -> list[Grey]:
    """Grey images, each at least as large as the window."""
    images = _read(source, "backgrounds")
    for i, image in enumerate(images):
        if image.shape[0] < height or image.shape[1] < width:
            raise ValueError(
                f"{_OP}: backgrounds must be at least as large as the window, {width} x {height}, got "
                f"{image.shape[1]} x {image.shape[0]} (number {i})"
            )
    return images


def resized(image: Grey, width: int, height: int) -> Grey:
    """An image of another size, as the detector makes its levels."""
    result: Grey = numpy_module.resize_linear_exact(image, width, height)
    return result


def _read(source: Images, name: str) -> list[Grey]:
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        files = _files(path, name)
        images: list[Any] = [_read_file(file, name) for file in files]
        labels = [str(file) for file in files]
    else:
        images = list(source)  # type: ignore[arg-type]  # an array is a sequence of its images
        labels = [f"number {i}" for i in range(len(images))]
    if not images:
        raise ValueError(f"{_OP}: {name} must hold at least one image, got none")
    return [_grey(image, name, label) for image, label in zip(images, labels, strict=True)]


def _files(path: Path, name: str) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES)
        if not files:
            raise ValueError(f"{_OP}: {name} must hold at least one image, got none in the folder {path}")
        return files
    if not path.exists():
        raise ValueError(f"{_OP}: {name} must be a folder or a file that exists, got {path}")
    if path.suffix.lower() in _SUFFIXES:
        return [path]
    try:
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{_OP}: {name} must be a folder, an image or a list of images, got {path}") from None
    return [path.parent / line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


def _read_file(path: Path, name: str) -> Any:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise RuntimeError(f"{_OP}: image files need Pillow (python -m pip install pillow)") from None
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L" if image.mode in ("1", "L", "I", "I;16", "F") else "RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f"{_OP}: {name} must be images, could not read {path}: {error}") from None


def _grey(image: Any, name: str, label: str) -> Grey:
    array = np.asarray(image)
    if array.dtype != np.uint8:
        raise TypeError(f"{_OP}: {name} must be uint8, got {array.dtype} ({label})")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or 0 in array.shape:
        raise ValueError(f"{_OP}: {name} must have shape (H, W) or (H, W, 3), got {array.shape} ({label})")
    if array.ndim == 2:
        return array
    # The detector's luma, which is OpenCV's.
    return ((array.astype(np.int32) @ (9798, 19235, 3735) + 2**14) >> 15).astype(np.uint8)


def read_vec(path: str | os.PathLike[str], width: int, height: int) -> Grey:
    """The samples of OpenCV's ``.vec`` file, ``(N, height, width)``."""
    data = Path(path).read_bytes()
    if len(data) < _VEC_HEADER.itemsize:
        raise ValueError(f"{_OP}: {path} must begin with a header of 12 bytes, got {len(data)}")
    header = np.frombuffer(data, _VEC_HEADER, 1)[0]
    count, size = int(header["count"]), int(header["size"])
    if size != width * height:
        raise ValueError(f"{_OP}: {path} must hold windows of {width} x {height} = {width * height} pixels, got {size}")
    expected = _VEC_HEADER.itemsize + count * (1 + 2 * size)
    if count < 1 or len(data) < expected:
        raise ValueError(f"{_OP}: {path} must hold {count} samples in {expected} bytes, got {len(data)}: cut short?")
    samples = np.frombuffer(data, np.uint8, count * (1 + 2 * size), _VEC_HEADER.itemsize).reshape(count, 1 + 2 * size)
    pixels = np.ascontiguousarray(samples[:, 1:]).view("<i2")
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(f"{_OP}: {path} must hold pixels from 0 to 255, got {pixels.min()} to {pixels.max()}")
    return pixels.astype(np.uint8).reshape(count, height, width)


def write_vec(path: str | os.PathLike[str], windows: Grey) -> None:
    """Write ``(N, height, width)`` uint8 windows as OpenCV's ``opencv_createsamples`` does."""
    count = len(windows)
    header = np.array([(count, windows[0].size, 0, 0)], _VEC_HEADER)
    samples = np.zeros((count, 1 + 2 * windows[0].size), np.uint8)
    samples[:, 1:] = windows.reshape(count, -1).astype("<i2").view(np.uint8)
    Path(path).write_bytes(header.tobytes() + samples.tobytes())
