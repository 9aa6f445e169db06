"""A look into networks: receptive fields, filters, feature maps, classes of pixels."""

from saccade._overlay import class_palette, overlay_classes
from saccade.analysis.effective_receptive_field import EffectiveField, effective_receptive_field
from saccade.analysis.receptive_field import LayerField, ReceptiveFields, receptive_field
from saccade.analysis.show import feature_maps, filter_grid, show_feature_maps, show_filters

__all__ = [
    "EffectiveField",
    "LayerField",
    "ReceptiveFields",
    "class_palette",
    "effective_receptive_field",
    "feature_maps",
    "filter_grid",
    "overlay_classes",
    "receptive_field",
    "show_feature_maps",
    "show_filters",
]
