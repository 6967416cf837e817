"""From feature vectors of a few images to one symmetric sparse affinity graph (Eqn. 7 of the paper, sparsified)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from spectral_graph.errors import FeatureError
from spectral_graph.graph.csr_rows import CsrRows
from spectral_graph.graph.hubs import balance
from spectral_graph.graph.selection import Selection
from spectral_graph.ops import csr_symmetrise, topc_affinity, unit_project

Kind = Literal["vv", "qk", "kk"]
TENSORS: dict[str, tuple[str, str]] = {"vv": ("v", "v"), "qk": ("q", "k"), "kk": ("k", "k")}
"""Which tensors are compared: rows of the first with rows of the second."""


@dataclass(frozen=True)
class Affinity(CsrRows):
    """The rows of a symmetric graph A = (B + B^T) / 2 with positive values, and facts about the selection B.

    Attributes:
        degree: (n,) float32, row sums of A.
        in_degree: (n,) int32: how many nodes chose each node.
        short_rows: nodes with fewer than c_intra + c_inter neighbours.
    """

    degree: np.ndarray
    in_degree: np.ndarray
    short_rows: int


def unit_rows(vectors: torch.Tensor, mean: torch.Tensor | None, name: str) -> torch.Tensor:
    """Return rows as (n, d) float32 of unit length; zero rows stay zero.

    Args:
        vectors: (n, d) float16 or float32.
        mean: (d,) float32, subtracted before; None for none.
        name: of the vectors, for the message.

    Raises:
        FeatureError: NaN or infinity in the vectors.
    """
    depth = vectors.shape[1]
    unit, scales, _ = unit_project(vectors, torch.zeros(depth) if mean is None else mean, torch.empty(depth, 0))
    bad = scales.isnan()
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise FeatureError(f"{name} vector of node {row} holds NaN or infinity; leave its image out")
    return unit


def nearest(
    query: torch.Tensor,
    key: torch.Tensor | None,
    image_ptr: torch.Tensor,
    counts: tuple[int, int],
    threshold: float,
    query_mean: torch.Tensor | None = None,
    key_mean: torch.Tensor | None = None,
) -> CsrRows:
    """Return the nearest nodes of every node of a few images by cosine, exactly.

    Args:
        query: (n, d) float16 or float32, one row a node.
        key: the same; None where query and key are the same (V-V, K-K), which saves half of the products.
        image_ptr: (images + 1,) int64; image i owns the rows image_ptr[i] to image_ptr[i + 1].
        counts: neighbours inside the own image, and in the others.
        threshold: cosines below are dropped.
        query_mean: subtracted before normalising (centring); None for none.
        key_mean: the same for keys.

    Raises:
        FeatureError: NaN or infinity in the vectors.
    """
    left = unit_rows(query, query_mean, "query")
    right = left if key is None else unit_rows(key, key_mean, "key")
    found = topc_affinity(left, right, image_ptr, *counts, threshold, symmetric=key is None)
    return CsrRows.from_tensors(*found)


def build_affinity(
    query: torch.Tensor,
    key: torch.Tensor | None,
    image_ptr: torch.Tensor,
    selection: Selection,
    query_mean: torch.Tensor | None = None,
    key_mean: torch.Tensor | None = None,
) -> Affinity:
    """Build the affinity graph of the nodes of a few images.

    Args:
        query: (n, d) float16 or float32, one row a node.
        key: the same; None where query and key are the same (V-V, K-K).
        image_ptr: (images + 1,) int64; image i owns the rows image_ptr[i] to image_ptr[i + 1].
        selection: which affinities become edges.
        query_mean: subtracted before normalising (centring); None for none.
        key_mean: the same for keys.

    Returns:
        The symmetric graph. Nodes without a neighbour have an empty row and degree 0.

    Raises:
        FeatureError: NaN or infinity in the vectors.
        GraphError: c_intra exceeds the nodes of the largest image, or c_inter the nodes of the others.
    """
    sizes = image_ptr.diff().numpy()
    images, nodes = len(sizes), int(image_ptr[-1])
    selection.require_room(sizes, ", or put more images together")
    intra, inter = selection.candidates
    counts = (intra, inter if images > 1 else 0)
    lists = nearest(query, key, image_ptr, counts, selection.threshold, query_mean, key_mean)
    if selection.hubs == "csls":
        image_of = np.repeat(np.arange(images), sizes)
        known = lists if key is None else lists.transpose(nodes)
        scales = selection.scales(known, _own(known, image_of))
        lists = selection.choose(lists, _own(lists, image_of), scales)
    lists = selection.weigh(lists)
    if selection.hubs == "cap":
        lists = selection.cap(lists.transpose(nodes), images).transpose(nodes)
    elif selection.hubs == "mutual":
        lists = selection.mutual(lists, lists.transpose(nodes), nodes)
    *found, sums = csr_symmetrise(*lists.tensors(), nodes)
    graph, degree = CsrRows.from_tensors(*found), sums.numpy()
    if selection.hubs == "sinkhorn":
        graph = graph.scaled(0, balance(graph.to_scipy(nodes).astype(np.float64).dot, degree))
        degree = graph.row_sums
    return Affinity(
        graph.indptr,
        graph.indices,
        graph.values,
        degree,
        in_degree=np.bincount(lists.indices, minlength=nodes).astype(np.int32),
        short_rows=int((lists.counts < selection.wanted(images)).sum()),
    )


def _own(lists: CsrRows, image_of: np.ndarray) -> np.ndarray:
    return image_of[lists.row_of_entry] == image_of[lists.indices]
