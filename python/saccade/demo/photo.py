"""The photograph of the demonstration, and boxes drawn on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from saccade.demo.support import DemoError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["Photo", "draw_boxes", "load_photo"]

_COLOUR = (255, 196, 0)
_FAINT = (255, 196, 0, 110)


@dataclass(frozen=True)
class Photo:
    """A photograph: ``rgb`` ``(H, W, 3)`` and ``grey`` ``(H, W)``, uint8."""

    name: str
    rgb: NDArray[np.uint8]
    grey: NDArray[np.uint8]


def load_photo(path: Path | None, command: str = "demo") -> Photo:
    """Read an image file for a command, or take scikit-image's bundled photograph of an astronaut.

    Raises:
        DemoError: where the file is no image.
    """
    from PIL import Image, ImageOps

    if path is None:
        from skimage import data

        image, name = Image.fromarray(data.astronaut()), "astronaut (scikit-image)"
    else:
        try:
            image, name = ImageOps.exif_transpose(Image.open(path)).convert("RGB"), path.name
        except (
            Exception
        ) as error:  # Pillow raises OSError, SyntaxError, ValueError or its own, as the bytes will have it
            raise DemoError(f"{command}: cannot read the image {path}: {error}") from error
    return Photo(name, np.asarray(image), np.asarray(image.convert("L")))


def draw_boxes(photo: Photo, boxes: NDArray[np.int64], labels: Sequence[str] = (), *, faint: bool = False) -> Picture:
    """Draw ``(N, 4)`` boxes ``x, y, w, h`` with a label each; ``faint`` for many that overlap, whose lines add up."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(photo.rgb)
    draw = ImageDraw.Draw(image, "RGBA")  # an RGBA pen blends with what is there
    side = max(image.size)
    line = max(1, side // 512) if faint else max(2, side // 256)
    font = ImageFont.load_default(size=max(12, side // 28))
    for index, (x, y, width, height) in enumerate(boxes.tolist()):
        draw.rectangle((x, y, x + width, y + height), outline=_FAINT if faint else _COLOUR, width=line)
        if index < len(labels):
            left, top, right, bottom = draw.textbbox((x, y), labels[index], font=font, anchor="lb")
            lift = max(0, line - top)  # keeps the label inside the picture
            draw.rectangle((left, top - line + lift, right + 2 * line, bottom + lift), fill=_COLOUR)
            draw.text((x + line, y + lift), labels[index], font=font, anchor="lb", fill=(0, 0, 0))
    return image
