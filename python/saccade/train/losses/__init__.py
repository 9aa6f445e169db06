"""Losses: torch's where it has them, with arguments that are checked by name.

Each is a function and a module. ``reduction`` is ``"mean"``, ``"sum"`` or ``"none"`` throughout.

| loss | when |
|---|---|
| ``mse_loss`` | regression; errors are Gaussian, large ones count most |
| ``mae_loss`` | regression with outliers: the median instead of the mean |
| ``p_norm_loss`` | the general case: p = 1, 2 or in between |
| ``binary_cross_entropy`` | one yes or no, or several labels that do not exclude each other |
| ``cross_entropy`` | one class of many |
| ``pixel_cross_entropy`` | one class of many for each pixel |
| ``focal_loss``, ``sigmoid_focal_loss`` | easy examples far outnumber the hard ones (detection) |
| ``dice_loss`` | segments far smaller than the background; overlap is what is measured |
"""

from saccade.ops.box_losses import sigmoid_focal_loss
from saccade.train.losses.classification import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    FocalLoss,
    PixelCrossEntropyLoss,
    binary_cross_entropy,
    cross_entropy,
    focal_loss,
    pixel_cross_entropy,
)
from saccade.train.losses.overlap import DiceLoss, dice_loss
from saccade.train.losses.regression import MAELoss, MSELoss, PNormLoss, mae_loss, mse_loss, p_norm_loss

__all__ = [
    "BinaryCrossEntropyLoss",
    "CrossEntropyLoss",
    "DiceLoss",
    "FocalLoss",
    "MAELoss",
    "MSELoss",
    "PNormLoss",
    "PixelCrossEntropyLoss",
    "binary_cross_entropy",
    "cross_entropy",
    "dice_loss",
    "focal_loss",
    "mae_loss",
    "mse_loss",
    "p_norm_loss",
    "pixel_cross_entropy",
    "sigmoid_focal_loss",
]
