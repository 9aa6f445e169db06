"""Where ``saccade detect`` gets pictures from: files, folders, frames of videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from saccade._extras import require

__all__ = ["Picture", "VideoError", "count_pictures", "find_files", "read_pictures"]

_VIDEOS = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"}


class VideoError(ValueError):
    """A video that cannot be read."""


class Picture(NamedTuple):
    """A picture to look at: its file, the number of the frame in a video (None: no video), ``rgb`` ``(H, W, 3)``."""

    path: Path
    frame: int | None
    seconds: float | None
    rgb: Any

    @property
    def name(self) -> str:
        """For a file of its own."""
        return self.path.stem if self.frame is None else f"{self.path.stem}-{self.frame:06d}"


def find_files(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and the images and videos in folders, at any depth, sorted."""
    from saccade.data.folder_dataset import _SUFFIXES, _images  # it loads torch

    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            videos = [file for file in path.rglob("*") if file.suffix.lower() in _VIDEOS]
            found = sorted([*_images(path), *videos])
            if not found:
                raise ValueError(f"the folder {path} holds no image ({', '.join(sorted(_SUFFIXES))}) and no video")
            files += found
        else:
            files.append(path)
    return files


def count_pictures(files: Sequence[Path], every: int) -> int:
    """How many pictures there will be, as far as videos tell how long they are."""
    return sum(max(1, -(-_length(file) // every)) if _is_video(file) else 1 for file in files)


def read_pictures(files: Sequence[Path], every: int = 1) -> Iterator[Picture]:
    """Each image, and every ``every``-th frame of each video.

    Raises:
        DemoError: for a file that is no image. VideoError: for one that is no video. ImportError: without OpenCV, for
            a video.
    """
    from saccade.demo.photo import load_photo

    for file in files:
        if _is_video(file):
            yield from _frames(file, every)
        else:
            yield Picture(file, None, None, load_photo(file, "detect").rgb)


def _is_video(file: Path) -> bool:
    return file.suffix.lower() in _VIDEOS


def _open(file: Path) -> Any:
    cv2 = require("cv2", "detect: a video", "demo")
    capture = cv2.VideoCapture(str(file))
    if not capture.isOpened():
        raise VideoError(f"cannot read the video {file}")
    return cv2, capture


def _length(file: Path) -> int:
    cv2, capture = _open(file)
    try:
        return max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    finally:
        capture.release()


def _frames(file: Path, every: int) -> Iterator[Picture]:
    cv2, capture = _open(file)
    try:
        rate = float(capture.get(cv2.CAP_PROP_FPS)) or 1.0
        number = 0
        while capture.grab():  # frames that are left out are not decoded to pixels
            if number % every == 0:
                good, frame = capture.retrieve()
                if not good:
                    raise VideoError(f"cannot read frame {number} of the video {file}")
                rgb = np.ascontiguousarray(frame[:, :, ::-1])
                yield Picture(file, number, round(number / rate, 3), rgb)
            number += 1
        if number == 0:
            raise VideoError(f"the video {file} has no frame that can be read")
    finally:
        capture.release()
