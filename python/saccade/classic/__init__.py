"""Classical vision for NumPy arrays.

Results of a megabyte and more leave their memory, once dropped, to later results of the same size: up to 256 MiB waits.
"""

from saccade.classic.box_filter import box_filter, box_sum
from saccade.classic.cascade import CascadeClassifier, group_rectangles
from saccade.classic.gradients import gradients, orientation_histogram
from saccade.classic.haar_features import HaarFeature, HaarFeatureSet, haar_features
from saccade.classic.haar_like_feature import haar_like_feature
from saccade.classic.hog import hog
from saccade.classic.hog_descriptor import HOGDescriptor
from saccade.classic.integral_image import integral_image

__all__ = [
    "CascadeClassifier",
    "HOGDescriptor",
    "HaarFeature",
    "HaarFeatureSet",
    "box_filter",
    "box_sum",
    "gradients",
    "group_rectangles",
    "haar_features",
    "haar_like_feature",
    "hog",
    "integral_image",
    "orientation_histogram",
]
