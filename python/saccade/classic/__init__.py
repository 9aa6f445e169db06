"""Classical vision for NumPy arrays.

Results of a megabyte and more leave their memory, once dropped, to later results of the same size: up to 256 MiB waits.
"""

from typing import TYPE_CHECKING, Any

from saccade.classic.box_filter import box_filter, box_sum
from saccade.classic.cascade import CascadeClassifier, group_rectangles
from saccade.classic.cascade_trainer import CascadeTrainer
from saccade.classic.haar_features import HaarFeature, HaarFeatureSet, haar_features
from saccade.classic.haar_like_feature import haar_like_feature
from saccade.classic.integral_image import integral_image

if TYPE_CHECKING:
    from saccade.classic.adaboost import AdaBoostClassifier

__all__ = [
    "AdaBoostClassifier",
    "CascadeClassifier",
    "CascadeTrainer",
    "HaarFeature",
    "HaarFeatureSet",
    "box_filter",
    "box_sum",
    "group_rectangles",
    "haar_features",
    "haar_like_feature",
    "integral_image",
]


def __getattr__(name: str) -> Any:
    if name == "AdaBoostClassifier":  # scikit-learn takes a second to import, and may be absent
        from saccade.classic.adaboost import AdaBoostClassifier

        return AdaBoostClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
