"""cosine_topc: the best candidates of each query by exact cosine."""

from __future__ import annotations

import torch
from torch import Tensor

from spectral_graph.ops.checks import (
    check_count,
    check_half_or_float,
    check_tensor,
    check_threshold,
    contiguous,
    fail,
    require_equal,
)
from spectral_graph.ops.library import call, define, fake, fallback

OP = "cosine_topc"

define(
    "cosine_topc(Tensor query, Tensor rows, Tensor mean, Tensor inverse_norm, Tensor node, Tensor candidates, int c, "
    "float threshold) -> (Tensor columns, Tensor values)"
)


def cosine_topc(
    query: Tensor,
    rows: Tensor,
    mean: Tensor,
    inverse_norm: Tensor,
    node: Tensor,
    candidates: Tensor,
    c: int,
    threshold: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return the c best candidates of each query by query . (row - mean) inverse_norm, under their names.

    Kept are values > 0 and >= threshold (compared in float32). Higher value first, of equal values the lower name. With
    queries and scales of `unit_project` and one mean for both, the value of (i, j) has the same bits as that of (j, i).
    The compiled result does not depend on the number of threads. Not differentiable.

    Args:
        query: (n, d) float32, unit rows.
        rows: (m, d) float16 or float32, as they are stored, neither centred nor scaled.
        mean: (d,) float32.
        inverse_norm: (m,) float32.
        node: (m,) int32, the names.
        candidates: (n, k) int32, different rows; negative ones are skipped.
        c: the most candidates that a query keeps.
        threshold: least value that is kept, at least 0.

    Returns:
        columns (n, c) int32 of names, -1 on the free places at the end of a row; values (n, c) float32, there 0.

    Raises:
        GraphError: an argument does not fit.
    """
    arguments = contiguous(
        OP, query=query, rows=rows, mean=mean, inverse_norm=inverse_norm, node=node, candidates=candidates
    )
    result: tuple[Tensor, Tensor] = call(torch.ops.spectral_graph.cosine_topc.default, *arguments, c, threshold)
    return result


def _check(
    query: Tensor,
    rows: Tensor,
    mean: Tensor,
    inverse_norm: Tensor,
    node: Tensor,
    candidates: Tensor,
    c: int,
    threshold: float,
) -> None:
    check_tensor(OP, "query", query, 2, torch.float32)
    check_half_or_float(OP, "rows", rows)
    check_tensor(OP, "mean", mean, 1, torch.float32)
    check_tensor(OP, "inverse_norm", inverse_norm, 1, torch.float32)
    check_tensor(OP, "node", node, 1, torch.int32)
    check_tensor(OP, "candidates", candidates, 2, torch.int32)
    queries, depth = query.shape
    require_equal(OP, rows.shape[1], depth, "rows must have as many columns as query")
    require_equal(OP, mean.shape[0], depth, "mean must have as many elements as query has columns")
    for name, part in (("inverse_norm", inverse_norm), ("node", node)):
        require_equal(OP, part.shape[0], rows.shape[0], f"{name} must have an element for every row")
    require_equal(OP, candidates.shape[0], queries, "candidates must have a row for every query")
    check_count(OP, "c", c)
    check_threshold(OP, threshold)


@fake(OP)
def _fake(
    query: Tensor,
    rows: Tensor,
    mean: Tensor,
    inverse_norm: Tensor,
    node: Tensor,
    candidates: Tensor,
    c: int,
    threshold: float,
) -> tuple[Tensor, Tensor]:
    _check(query, rows, mean, inverse_norm, node, candidates, c, threshold)
    return candidates.new_empty(query.shape[0], c), query.new_empty(query.shape[0], c)


@fallback(OP)
def _torch(
    query: Tensor,
    rows: Tensor,
    mean: Tensor,
    inverse_norm: Tensor,
    node: Tensor,
    candidates: Tensor,
    c: int,
    threshold: float,
) -> tuple[Tensor, Tensor]:
    _check(query, rows, mean, inverse_norm, node, candidates, c, threshold)
    keys = rows.shape[0]
    beyond = candidates[candidates >= keys]
    if len(beyond):
        fail(OP, f"candidates must be below the number of rows, {keys}, got {int(beyond[0])}")
    bound = torch.tensor(threshold, dtype=torch.float32)
    columns = candidates.new_full((query.shape[0], c), -1)
    values = query.new_zeros(query.shape[0], c)
    for i, places in enumerate(candidates):
        at = places[places >= 0].long()
        found = ((rows[at].float() - mean) * inverse_norm[at, None]) @ query[i]
        keep = (found > 0) & (found >= bound)
        at, found = at[keep], found[keep]
        by_name = node[at].sort().indices
        order = by_name[found[by_name].sort(descending=True, stable=True).indices][:c]
        columns[i, : len(order)] = node[at[order]]
        values[i, : len(order)] = found[order]
    return columns, values
