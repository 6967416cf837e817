"""From feature vectors of a few images to one symmetric sparse affinity graph (Eqn. 7 of the paper, sparsified)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from spectral_graph.errors import FeatureError, GraphError
from spectral_graph.ops import csr_symmetrise, topc_affinity

Kind = Literal["vv", "qk", "kk"]
TENSORS: dict[str, tuple[str, str]] = {"vv": ("v", "v"), "qk": ("q", "k"), "kk": ("k", "k")}
"""Which tensors are compared: rows of the first with rows of the second."""


@dataclass(frozen=True)
class Affinity:
    """A symmetric graph A = (B + B^T) / 2 in CSR, with facts about the selection B.

    Attributes:
        indptr: (n + 1,) int64.
        indices: (nnz,) int32, ascending within a row.
        values: (nnz,) float32, each above 0.
        degree: (n,) float32, row sums of A.
        short_rows: nodes for which fewer than c_intra + c_inter neighbours passed the threshold.
        largest_in_degree: of the selection B: how many nodes chose the most chosen node.
    """

    indptr: torch.Tensor
    indices: torch.Tensor
    values: torch.Tensor
    degree: torch.Tensor
    short_rows: int
    largest_in_degree: int


def unit_rows(vectors: torch.Tensor, mean: torch.Tensor | None) -> torch.Tensor:
    """Return rows (n, d) float32 scaled to unit length, after subtracting `mean` (d,) if given; zero rows stay zero."""
    rows = vectors if mean is None else vectors - mean
    norm = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / norm.clamp_min(torch.finfo(rows.dtype).tiny)


def build_affinity(
    query: torch.Tensor,
    key: torch.Tensor | None,
    image_ptr: torch.Tensor,
    c_intra: int,
    c_inter: int,
    threshold: float,
    query_mean: torch.Tensor | None = None,
    key_mean: torch.Tensor | None = None,
    sharpen: float = 1.0,
) -> Affinity:
    """Build the affinity graph of the nodes of a few images.

    Args:
        query: (n, d) float32, one row a node.
        key: (n, d) float32; None where query and key are the same (V-V, K-K), which saves half of the products.
        image_ptr: (images + 1,) int64; image i owns the rows image_ptr[i] to image_ptr[i + 1].
        c_intra: neighbours inside the own image.
        c_inter: neighbours in other images.
        threshold: cosines below are dropped.
        query_mean: subtracted before normalising (centring); None for none.
        key_mean: the same for keys.
        sharpen: exponent of the kept cosines; above 1, near neighbours count more than far ones.

    Returns:
        The symmetric graph. Nodes without a neighbour have an empty row and degree 0.

    Raises:
        FeatureError: NaN or infinity in the vectors.
        GraphError: c_intra exceeds the nodes of the largest image, or c_inter the nodes of the others.
    """
    sizes = image_ptr.diff()
    largest, total = int(sizes.max()), int(image_ptr[-1])
    if c_intra > largest - 1:
        raise GraphError(
            f"c_intra is {c_intra}, but an image has {largest} nodes, so a node has at most {largest - 1} neighbours "
            "in it; lower --c-intra"
        )
    if len(sizes) > 1 and c_inter > total - int(sizes.min()):
        raise GraphError(
            f"c_inter is {c_inter}, but the other images of the mini-batch have {total - int(sizes.min())} nodes; "
            "lower --c-inter or raise --batch"
        )
    for name, vectors in (("query", query), ("key", key)):
        if vectors is not None and not bool(torch.isfinite(vectors).all()):
            row = int((~torch.isfinite(vectors)).any(dim=1).nonzero()[0])
            raise FeatureError(f"{name} vector of node {row} holds NaN or infinity; leave its image out")
    left = unit_rows(query, query_mean)
    right = left if key is None else unit_rows(key, key_mean)
    indptr, indices, values = topc_affinity(
        left, right, image_ptr, c_intra, c_inter if len(sizes) > 1 else 0, threshold, symmetric=key is None
    )
    wanted = c_intra + (c_inter if len(sizes) > 1 else 0)
    short = int((indptr.diff() < wanted).sum())
    in_degree = int(np.bincount(indices.numpy(), minlength=1).max()) if len(indices) else 0
    if sharpen != 1:
        # In float64, so that the rounding of the power cannot depend on how the work is split.
        values = values.double().pow(sharpen).float()
    indptr, indices, values, degree = csr_symmetrise(indptr, indices, values, total)
    return Affinity(indptr, indices, values, degree, short, in_degree)
