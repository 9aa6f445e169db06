"""Data sets, splits that cannot overlap, and normalisation that remembers its statistics.

Nothing here needs torchvision to be imported; ``transforms.augmentation`` does when it is called, image files need
Pillow, ``digits`` scikit-learn: all of them come with ``pip install 'saccade[train]'``.
"""

from saccade.data import transforms
from saccade.data._annotations import BadBox
from saccade.data.array_dataset import ArrayDataset
from saccade.data.cached_dataset import CachedDataset
from saccade.data.coco_dataset import CocoDataset
from saccade.data.digits import digits
from saccade.data.disjoint import Overlap, OverlapError, check_disjoint
from saccade.data.folder_dataset import FolderDataset, UnreadableImage
from saccade.data.loader import SeededSampler, loader
from saccade.data.scenes import Scene, SceneDataset
from saccade.data.segmentation_folder import SegmentationFolder
from saccade.data.splits import split
from saccade.data.voc_dataset import VocDataset

__all__ = [
    "ArrayDataset",
    "BadBox",
    "CachedDataset",
    "CocoDataset",
    "FolderDataset",
    "Overlap",
    "OverlapError",
    "Scene",
    "SceneDataset",
    "SeededSampler",
    "SegmentationFolder",
    "UnreadableImage",
    "VocDataset",
    "check_disjoint",
    "digits",
    "loader",
    "split",
    "transforms",
]
