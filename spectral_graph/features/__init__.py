"""Vision models and the queries, keys and values of their attention layers.

Names are imported when they are first used: who only reads the feature store needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spectral_graph.features.hooks import hook_attention
    from spectral_graph.features.load import load_model
    from spectral_graph.features.model import (
        DEFAULT_MODEL,
        Extraction,
        LayerInfo,
        VisionModel,
        WeightsInfo,
    )
    from spectral_graph.features.noise import Noise

_HOMES = {
    "DEFAULT_MODEL": "model",
    "Extraction": "model",
    "LayerInfo": "model",
    "Noise": "noise",
    "VisionModel": "model",
    "WeightsInfo": "model",
    "hook_attention": "hooks",
    "load_model": "load",
}

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


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"spectral_graph.features.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'spectral_graph.features' has no attribute {name!r}")
