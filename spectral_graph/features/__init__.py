"""Vision models and the queries, keys and values of their attention layers."""

from spectral_graph.features.model import (
    DEFAULT_MODEL,
    Extraction,
    LayerInfo,
    VisionModel,
    WeightsInfo,
    load_model,
)

__all__ = ["DEFAULT_MODEL", "Extraction", "LayerInfo", "VisionModel", "WeightsInfo", "load_model"]
