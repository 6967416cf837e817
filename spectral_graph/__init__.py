"""spectral_graph: streaming spectral graphs over the attention layers of vision models.

    from pathlib import Path
    import spectral_graph as sg

    run = sg.run_pipeline(sg.make_config({"dataset": "folder", "root": "photos"}), Path("runs/photos"))
    graph = sg.GraphStore.open(run / "vv" / "graph.zarr")
    y = sg.merged_operator(graph, "symmetric") @ x
    bank = sg.Bank.open(run / "vv" / "ortho")
    found = sg.spectral_embedding(features, 256, channels=20)  # features of your own, 256 an image

Names are imported when they are first used, so that importing the package stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from spectral_graph.version import __version__

if TYPE_CHECKING:
    from spectral_graph.bank import Bank
    from spectral_graph.config import RunConfig, make_config
    from spectral_graph.data import open_dataset
    from spectral_graph.embed import Embedding, spectral_embedding
    from spectral_graph.errors import SpectralGraphError
    from spectral_graph.features.load import load_model
    from spectral_graph.graph.affinity import build_affinity
    from spectral_graph.graph.blocks import Block, GraphStore
    from spectral_graph.graph.operator import BlockOperator, affinity_operator, merged_operator
    from spectral_graph.pipeline import run_pipeline
    from spectral_graph.solve.adam import adam
    from spectral_graph.solve.chebyshev import chebyshev

_HOMES = {
    "Bank": "bank",
    "RunConfig": "config",
    "make_config": "config",
    "open_dataset": "data",
    "Embedding": "embed",
    "spectral_embedding": "embed",
    "SpectralGraphError": "errors",
    "load_model": "features.load",
    "build_affinity": "graph.affinity",
    "Block": "graph.blocks",
    "GraphStore": "graph.blocks",
    "BlockOperator": "graph.operator",
    "affinity_operator": "graph.operator",
    "merged_operator": "graph.operator",
    "adam": "solve.adam",
    "chebyshev": "solve.chebyshev",
    "run_pipeline": "pipeline",
}

__all__ = [
    "Bank",
    "Block",
    "BlockOperator",
    "Embedding",
    "GraphStore",
    "RunConfig",
    "SpectralGraphError",
    "__version__",
    "adam",
    "affinity_operator",
    "build_affinity",
    "chebyshev",
    "load_model",
    "make_config",
    "merged_operator",
    "open_dataset",
    "run_pipeline",
    "spectral_embedding",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"spectral_graph.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'spectral_graph' has no attribute {name!r}")
