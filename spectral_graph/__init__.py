"""spectral_graph: streaming spectral graphs over the attention layers of vision models.

    import spectral_graph as sg

    run = sg.run("folder", "runs/photos", root="my_photos")   # or sg.open_run("runs/photos")
    x = run.eigenvectors("vv")                                # (N, C), memory-mapped
    y = run.operator("vv") @ x                                # the graph of all layers, from disk

    found = sg.spectral_embedding(X, n_components=20, nodes_per_image=256)  # vectors of your own

    A = sg.neighbours(X, nodes_per_image=256)                 # the same step by step, on SciPy's matrices
    found = sg.eigenvectors(sg.normalise(A), k=20)

Names are imported when they are first used, so that importing the package stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from spectral_graph.version import __version__

if TYPE_CHECKING:
    from spectral_graph.embed import Eigenvectors, Embedding, spectral_embedding
    from spectral_graph.errors import SpectralGraphError, SpectralGraphWarning
    from spectral_graph.functional import eigenvectors, neighbours, normalise
    from spectral_graph.pipeline import run
    from spectral_graph.runs.open_run import Graph, Run, open_run
    from spectral_graph.vectors import Layer

_HOMES = {
    "Eigenvectors": "embed",
    "Embedding": "embed",
    "Graph": "runs.open_run",
    "Layer": "vectors",
    "Run": "runs.open_run",
    "SpectralGraphError": "errors",
    "SpectralGraphWarning": "errors",
    "eigenvectors": "functional",
    "neighbours": "functional",
    "normalise": "functional",
    "open_run": "runs.open_run",
    "run": "pipeline",
    "spectral_embedding": "embed",
}

__all__ = [
    "Eigenvectors",
    "Embedding",
    "Graph",
    "Layer",
    "Run",
    "SpectralGraphError",
    "SpectralGraphWarning",
    "__version__",
    "eigenvectors",
    "neighbours",
    "normalise",
    "open_run",
    "run",
    "spectral_embedding",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"spectral_graph.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'spectral_graph' has no attribute {name!r}")
