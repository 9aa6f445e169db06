"""A look into networks: receptive fields, filters, feature maps."""

from saccade.analysis.effective_receptive_field import EffectiveField, effective_receptive_field
from saccade.analysis.receptive_field import LayerField, ReceptiveFields, receptive_field
from saccade.analysis.show import feature_maps, filter_grid, show_feature_maps, show_filters

__all__ = [
    "EffectiveField",
    "LayerField",
    "ReceptiveFields",
    "effective_receptive_field",
    "feature_maps",
    "filter_grid",
    "receptive_field",
    "show_feature_maps",
    "show_filters",
]
