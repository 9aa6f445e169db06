"""Classical vision for NumPy arrays.

Results of a megabyte and more leave their memory, once dropped, to later results of the same size: up to 256 MiB waits.
"""

from saccade.classic.box_filter import box_filter, box_sum
from saccade.classic.cascade import CascadeClassifier, group_rectangles
from saccade.classic.grab_cut import grab_cut
from saccade.classic.graph_cut import graph_cut
from saccade.classic.haar_features import HaarFeature, HaarFeatureSet, haar_features
from saccade.classic.haar_like_feature import haar_like_feature
from saccade.classic.integral_image import integral_image

__all__ = [
    "CascadeClassifier",
    "HaarFeature",
    "HaarFeatureSet",
    "box_filter",
    "box_sum",
    "grab_cut",
    "graph_cut",
    "group_rectangles",
    "haar_features",
    "haar_like_feature",
    "integral_image",
]
