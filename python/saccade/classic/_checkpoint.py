"""Checkpoints of cascade training: one file, replaced as a whole."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade._files import replace_whole
from saccade.classic._boosting import Tree

__all__ = ["fingerprint", "load_checkpoint", "save_checkpoint"]


def fingerprint(arrays: Iterable[NDArray[Any]]) -> str:
    """What tells one set of images from another."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def save_checkpoint(
    path: str | os.PathLike[str],
    settings: dict[str, Any],
    trees: Sequence[Sequence[Tree]],
    thresholds: Sequence[float],
    records: Sequence[Sequence[Any]],
    negatives: NDArray[np.uint8],
) -> None:
    """Replace the file as a whole: where this fails, the one that was there is still there."""
    every = [tree for stage in trees for tree in stage]

    def write(aside: Path) -> None:
        with aside.open("wb") as file:
            np.savez_compressed(
                file,
                settings=np.array(json.dumps(settings)),
                records=np.array(json.dumps([list(record) for record in records])),
                stage_trees=np.array([len(stage) for stage in trees]),
                tree_nodes=np.array([len(tree.features) for tree in every]),
                stage_thresholds=np.array(thresholds),
                features=np.concatenate([tree.features for tree in every]),
                thresholds=np.concatenate([tree.thresholds for tree in every]),
                children=np.concatenate([tree.children for tree in every]),
                leaves=np.concatenate([tree.leaves for tree in every]),
                negatives=negatives,
            )

    replace_whole(Path(path), write)


def load_checkpoint(
    path: str | os.PathLike[str], settings: dict[str, Any]
) -> tuple[list[list[Tree]], list[float], list[list[Any]], NDArray[np.uint8]]:
    """Trees, threshold and record of each stage, and the last negatives."""
    op = "CascadeTrainer.fit"
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {name: file[name] for name in file.files}
        saved = json.loads(str(data["settings"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{op}: checkpoint {path} cannot be read: {error}") from None
    for name, value in settings.items():
        if saved.get(name) != value:
            raise ValueError(f"{op}: checkpoint {path} was made with {name} {saved.get(name)!r}, got {value!r}")
    trees: list[Tree] = []
    node = 0
    for count in data["tree_nodes"].tolist():
        nodes, leaves = slice(node, node + count), slice(node + len(trees), node + count + len(trees) + 1)
        trees.append(
            Tree(data["features"][nodes], data["thresholds"][nodes], data["children"][nodes], data["leaves"][leaves])
        )
        node += count
    stages = []
    for count in data["stage_trees"].tolist():
        stages.append(trees[:count])
        trees = trees[count:]
    return stages, data["stage_thresholds"].tolist(), json.loads(str(data["records"])), data["negatives"]
