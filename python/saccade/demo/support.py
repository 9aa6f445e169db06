"""What the steps of the demonstration share."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

__all__ = ["Check", "DemoError", "require", "require_extras"]


class DemoError(Exception):
    """The demonstration cannot run; the message says what to do."""


@dataclass(frozen=True)
class Check:
    """Something that has to agree with a reference. ``ok`` is None where the reference is absent."""

    name: str
    ok: bool | None
    detail: str


def require(module: str, purpose: str) -> ModuleType:
    """Import a module of the ``demo`` extra.

    Raises:
        DemoError: where it is not installed; the message holds the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DemoError(
            f"demo: {module} is needed {purpose} and does not load ({error}). "
            "Install it with: python -m pip install 'saccade[demo]'"
        ) from error


def require_extras(*, photo: bool, cascade: bool) -> None:
    """Import all that the demonstration will need, so that it does not fail when half of it is done.

    Args:
        photo: whether scikit-image's photograph is needed.
        cascade: whether a cascade of OpenCV's is needed.

    Raises:
        DemoError: where something is not installed.
    """
    require("PIL.Image", "to read and write pictures")
    require("matplotlib.figure", "to plot")
    require("torchvision.models.detection", "for the detector")
    if photo:
        require("skimage.data", "for its bundled photograph (or name an image file)")
    if cascade:
        require("cv2", "for the cascade that it ships (or name one with --cascade)")
