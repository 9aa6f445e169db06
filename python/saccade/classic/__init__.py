"""Classical vision for NumPy arrays.

Results of a megabyte and more leave their memory, once dropped, to later results of the same size: up to 256 MiB waits.

The codebook and the Implicit Shape Model learn with scikit-learn, interest points are scikit-image's: imported where
they are needed, and installed by ``pip install 'saccade[classic]'``.
"""

from typing import TYPE_CHECKING, Any

from saccade.classic.box_filter import box_filter, box_sum
from saccade.classic.cascade import CascadeClassifier, group_rectangles
from saccade.classic.cascade_trainer import CascadeTrainer
from saccade.classic.codebook import Codebook, centroids
from saccade.classic.compare_histograms import compare_histograms
from saccade.classic.denoise import denoise
from saccade.classic.dense_crf import dense_crf
from saccade.classic.felzenszwalb import felzenszwalb
from saccade.classic.grab_cut import grab_cut
from saccade.classic.gradients import gradients, orientation_histogram
from saccade.classic.graph_cut import graph_cut
from saccade.classic.haar_features import HaarFeature, HaarFeatureSet, haar_features
from saccade.classic.haar_like_feature import haar_like_feature
from saccade.classic.hog import hog
from saccade.classic.hog_descriptor import HOGDescriptor
from saccade.classic.image_histogram import image_histogram
from saccade.classic.implicit_shape_model import ImplicitShapeModel
from saccade.classic.integral_image import integral_image
from saccade.classic.lbp_codes import lbp_codes
from saccade.classic.scene_edit import blur_background, feather_mask, recolour, replace_background
from saccade.classic.selective_search import exhaustive_windows, selective_search
from saccade.classic.sliding_window import SlidingWindowDetector

if TYPE_CHECKING:
    from saccade.classic.adaboost import AdaBoostClassifier

__all__ = [
    "AdaBoostClassifier",
    "CascadeClassifier",
    "CascadeTrainer",
    "Codebook",
    "HOGDescriptor",
    "HaarFeature",
    "HaarFeatureSet",
    "ImplicitShapeModel",
    "SlidingWindowDetector",
    "blur_background",
    "box_filter",
    "box_sum",
    "centroids",
    "compare_histograms",
    "denoise",
    "dense_crf",
    "exhaustive_windows",
    "feather_mask",
    "felzenszwalb",
    "grab_cut",
    "gradients",
    "graph_cut",
    "group_rectangles",
    "haar_features",
    "haar_like_feature",
    "hog",
    "image_histogram",
    "integral_image",
    "lbp_codes",
    "orientation_histogram",
    "recolour",
    "replace_background",
    "selective_search",
]


def __getattr__(name: str) -> Any:
    if name == "AdaBoostClassifier":  # scikit-learn takes a second to import, and may be absent
        from saccade.classic.adaboost import AdaBoostClassifier

        return AdaBoostClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
