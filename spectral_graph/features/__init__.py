"""Vision models and the queries, keys and values of their attention layers."""

from spectral_graph.features.hooks import hook_attention
from spectral_graph.features.model import (
    DEFAULT_MODEL,
    Extraction,
    LayerInfo,
    VisionModel,
    WeightsInfo,
    load_model,
)
from spectral_graph.features.noise import Noise

__all__ = [
    "DEFAULT_MODEL",
    "Extraction",
    "LayerInfo",
    "Noise",
    "VisionModel",
    "WeightsInfo",
    "hook_attention",
    "load_model",
]
