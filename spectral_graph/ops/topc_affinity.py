"""topc_affinity: the best neighbours of every node inside and outside its image."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from spectral_graph.ops.checks import (
    MOST_COLUMNS,
    check_ascending,
    check_count,
    check_same_shape,
    check_tensor,
    check_threshold,
    contiguous,
    require,
    require_equal,
)
from spectral_graph.ops.library import call, define, fake, fallback

OP = "topc_affinity"
CHUNK = 1 << 23
"""Products that the pure-torch operator holds at a time."""

define(
    "topc_affinity(Tensor query, Tensor key, Tensor image_ptr, int c_intra, int c_inter, float threshold, "
    "bool symmetric) -> (Tensor indptr, Tensor indices, Tensor values)"
)


def topc_affinity(
    query: Tensor,
    key: Tensor,
    image_ptr: Tensor,
    c_intra: int,
    c_inter: int,
    threshold: float = 0.0,
    *,
    symmetric: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the directed graph of best neighbours by s_ij = query_i . key_j, without ever forming all products.

    Node i gets the `c_intra` best j of its own image (never i itself) and the `c_inter` best j of other images. Of
    equal values the lower column is taken. Only s_ij > 0 and s_ij >= threshold (both compared in float32) are kept, NaN
    never, so a row may be shorter or empty. The caller normalises the vectors where cosines are wanted.

    The compiled values are single chains of fused multiply-adds over the channels (separate multiplications and
    additions on a processor without AVX2), so they depend neither on the number of threads nor on `symmetric`, and
    s_ij = s_ji, bit by bit, where query is key. Those of the pure-torch operator come from torch.mm and have neither
    property.

    From 4096 vectors and 256 channels on, upper bounds by the inequality of Cauchy and Schwarz prune most pairs of
    vectors that lie close to a subspace of low dimension, as features do: the bounds use 31 or 95 coordinates and the
    norm of the residual. They include the rounding errors, so the result is the same, bit by bit.

    Beside the result the compiled operator needs 8 bytes for each of the (c_intra + c_inter) N places, 16 MiB of packed
    keys, and 388 N bytes for the coordinates.

    Not differentiable.

    Args:
        query: (N, d) float32.
        key: (N, d) float32.
        image_ptr: (n_images + 1,) int64; image m has the nodes image_ptr[m] to image_ptr[m + 1].
        c_intra: neighbours inside the image.
        c_inter: neighbours outside the image.
        threshold: least value that is kept, at least 0.
        symmetric: the caller guarantees that `key` equals `query`; then half the products are enough.

    Returns:
        indptr (N + 1,) int64, indices (nnz,) int32 ascending in each row, values (nnz,) float32.

    Raises:
        GraphError: an argument does not fit.
    """
    arguments = (*contiguous(OP, query=query, key=key, image_ptr=image_ptr), c_intra, c_inter, threshold, symmetric)
    result: tuple[Tensor, Tensor, Tensor] = call(torch.ops.spectral_graph.topc_affinity.default, *arguments)
    return result


def _check(query: Tensor, key: Tensor, image_ptr: Tensor, c_intra: int, c_inter: int, threshold: float) -> None:
    check_tensor(OP, "query", query, 2, torch.float32)
    check_tensor(OP, "key", key, 2, torch.float32)
    check_tensor(OP, "image_ptr", image_ptr, 1, torch.int64)
    check_same_shape(OP, "key", key, query.shape, "query")
    nodes = query.shape[0]
    require(OP, nodes <= MOST_COLUMNS, f"query must have at most {MOST_COLUMNS} rows, got {nodes}")
    require(OP, image_ptr.numel() >= 1, "image_ptr must have images + 1 elements, got none")
    check_count(OP, "c_intra", c_intra)
    check_count(OP, "c_inter", c_inter)
    check_threshold(OP, threshold)


def _check_content(image_ptr: Tensor, nodes: int) -> list[int]:
    starts: list[int] = image_ptr.tolist()
    require(OP, starts[0] == 0, f"image_ptr must begin with 0, got {starts[0]}")
    check_ascending(OP, "image_ptr", image_ptr)
    require_equal(OP, starts[-1], nodes, "image_ptr must end with the number of nodes")
    return starts


@fake(OP)
def _fake(
    query: Tensor, key: Tensor, image_ptr: Tensor, c_intra: int, c_inter: int, threshold: float, symmetric: bool
) -> tuple[Tensor, Tensor, Tensor]:
    _check(query, key, image_ptr, c_intra, c_inter, threshold)
    entries = torch.library.get_ctx().new_dynamic_size()
    return (
        query.new_empty(query.shape[0] + 1, dtype=torch.int64),
        query.new_empty(entries, dtype=torch.int32),
        query.new_empty(entries),
    )


def _best(values: Tensor, places: int) -> Tensor:
    """Return which of `values` (rows, columns) are among the best of their row; -inf never is."""
    places = min(places, values.shape[1])
    if places == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    least = values.topk(places, dim=1).values[:, -1:]
    above = values > least
    ties = (values == least) & (values > -math.inf)
    return above | (ties & (ties.cumsum(1) <= places - above.sum(1, keepdim=True)))


@fallback(OP)
def _torch(
    query: Tensor, key: Tensor, image_ptr: Tensor, c_intra: int, c_inter: int, threshold: float, symmetric: bool
) -> tuple[Tensor, Tensor, Tensor]:
    _check(query, key, image_ptr, c_intra, c_inter, threshold)
    nodes = query.shape[0]
    starts = _check_content(image_ptr, nodes)
    bound = torch.tensor(threshold, dtype=torch.float32)
    counts, columns, weights = [], [], []
    for start, end in pairwise(starts):
        step = max(1, CHUNK // nodes) if nodes else 1
        for first in range(start, end, step):
            last = min(end, first + step)
            values = query[first:last] @ key.T
            values.masked_fill_(~((values >= bound) & (values > 0)), -math.inf)
            own = values[:, start:end].clone()
            own[torch.arange(last - first), torch.arange(first - start, last - start)] = -math.inf
            values[:, start:end] = -math.inf
            keep = _best(values, c_inter)
            keep[:, start:end] = _best(own, c_intra)
            values[:, start:end] = own
            counts.append(keep.sum(1))
            columns.append(keep.nonzero()[:, 1].int())
            weights.append(values[keep])
    indptr = torch.zeros(nodes + 1, dtype=torch.int64)
    if counts:
        torch.cumsum(torch.cat(counts), 0, out=indptr[1:])
    return (
        indptr,
        torch.cat(columns) if columns else torch.empty(0, dtype=torch.int32),
        torch.cat(weights) if weights else query.new_empty(0),
    )
