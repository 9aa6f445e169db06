"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["replace_whole"]


def replace_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write aside, then rename: where that fails or is killed, the file that was there is still there."""
    aside = path.with_name(path.name + ".part")
    try:
        write(aside)
        # The name must not reach the disk before the content does.
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
