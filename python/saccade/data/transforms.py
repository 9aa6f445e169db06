"""Normalisation fitted on training data, and the augmentations of the notes."""

from saccade.data._augmentation import augmentation
from saccade.data._joint import Joint
from saccade.data._normalization import MeanStd, MinMax
from saccade.data._segmentation_augmentation import SegmentationAugmentation

__all__ = ["Joint", "MeanStd", "MinMax", "SegmentationAugmentation", "augmentation"]
