"""Grids of layers that are coarser than the run's, where their graphs have the layers' own nodes (the paper's g).

Attribute ``coarse`` of graph.zarr: {"mode": "bilinear" or "area", "grids": {layer: [h, w], ...}}. It is absent where
every layer has the run's nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array, csr_matrix

from spectral_graph.grid_map import Grid, map_of_nodes, scaled_grid_map


def own_grid(attributes: Mapping[str, Any], layer: str) -> Grid | None:
    """Return the grid (h, w) of a layer whose graph is on its own grid; None where it has the run's nodes."""
    found = attributes.get("coarse", {}).get("grids", {}).get(layer)
    return None if found is None else (int(found[0]), int(found[1]))


def layer_nodes(attributes: Mapping[str, Any], layer: str) -> int:
    """Return the number of nodes of a layer's graph, over all images."""
    grid, nodes = own_grid(attributes, layer), int(attributes["nodes"])
    return nodes if grid is None else nodes // int(attributes["nodes_per_image"]) * grid[0] * grid[1]


def layer_map(attributes: Mapping[str, Any], layer: str) -> csr_array | None:
    """Return g (nodes of the layer, nodes of the run) float64 of one image; None where both have the same nodes."""
    grid = own_grid(attributes, layer)
    if grid is None:
        return None
    rows, columns = attributes["grid"]
    return scaled_grid_map((rows, columns), grid, attributes["coarse"]["mode"])


def run_nodes(nodes: np.ndarray, g: csr_array | None) -> np.ndarray:
    """Return the run's nodes (m,) int64 of the images whose nodes in a layer are given, all of each image.

    Args:
        nodes: (n,) node numbers of the layer, all nodes of each image, image after image.
        g: of the layer; None where it has the run's nodes.
    """
    if g is None:
        return nodes
    per_layer, per_image = g.shape
    images = np.asarray(nodes[::per_layer], np.int64) // per_layer
    found: np.ndarray = (images[:, None] * per_image + np.arange(per_image)).reshape(-1)
    return found


def to_run_nodes(matrix: csr_matrix, columns: np.ndarray, g: csr_array) -> csr_matrix:
    """Return g^T S g: rows of a layer's graph taken to the run's nodes (Eqn. 3).

    Args:
        matrix: S (n, m), all rows of some images, image after image.
        columns: (m,) node numbers of the columns of S; those of the result are counted in the same way.
        g: from `layer_map`.

    Returns:
        (nodes of the run in those images, nodes of the run up to the last column's image).
    """
    rows = map_of_nodes(g, np.arange(matrix.shape[0]))
    return csr_matrix(rows.T @ (csr_array(matrix) @ map_of_nodes(g, columns)))


def coarse_attribute(mode: str, grids: Mapping[str, Grid], layers: Sequence[str], grid: Grid) -> dict[str, Any]:
    """Return the attribute ``coarse`` as a one-entry dictionary; {} where all layers have the run's nodes.

    Args:
        mode: of `RunConfig.coarse_layers`.
        grids: own grid of every layer.
        layers: in their order.
        grid: the run's.
    """
    others = {layer: list(grids[layer]) for layer in layers if grids[layer] != grid}
    return {} if mode == "features" or not others else {"coarse": {"mode": mode, "grids": others}}
