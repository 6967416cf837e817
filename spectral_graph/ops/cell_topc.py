"""cell_topc: for every query the best keys of the cells that it probes."""

from __future__ import annotations

import torch
from torch import Tensor

from spectral_graph.ops.checks import (
    MOST_COLUMNS,
    check_ascending,
    check_count,
    check_half_or_float,
    check_tensor,
    contiguous,
    fail,
    require,
    require_equal,
)
from spectral_graph.ops.library import call, define, fake, fallback

OP = "cell_topc"

define(
    "cell_topc(Tensor query, Tensor query_image, Tensor keys, Tensor key_image, Tensor cell_ptr, Tensor probes, int c) "
    "-> (Tensor columns, Tensor values)"
)


def cell_topc(
    query: Tensor, query_image: Tensor, keys: Tensor, key_image: Tensor, cell_ptr: Tensor, probes: Tensor, c: int
) -> tuple[Tensor, Tensor]:
    """Return the c best keys of each query, by query . key, among the keys of the cells that the query probes.

    Keys of the query's own image are left out. Higher value first, of equal values the lower key. The compiled values
    are single chains of multiply-adds over the columns, as those of `topc_affinity`: the result is the same, bit by
    bit, for every number of threads, and however the queries are split among calls. Not differentiable.

    Args:
        query: (n, d) float32, finite.
        query_image: (n,) int32.
        keys: (m, d) float16 or float32, finite, in the order of their cells.
        key_image: (m,) int32.
        cell_ptr: (cells + 1,) int64; cell k has the keys cell_ptr[k] to cell_ptr[k + 1].
        probes: (n, p) int32, different cells; negative ones are skipped. The first should be the most promising.
        c: the most keys that a query keeps.

    Returns:
        columns (n, c) int32, -1 on the free places at the end of a row; values (n, c) float32, there 0.

    Raises:
        GraphError: an argument does not fit.
    """
    arguments = contiguous(
        OP, query=query, query_image=query_image, keys=keys, key_image=key_image, cell_ptr=cell_ptr, probes=probes
    )
    result: tuple[Tensor, Tensor] = call(torch.ops.spectral_graph.cell_topc.default, *arguments, c)
    return result


def _check(
    query: Tensor, query_image: Tensor, keys: Tensor, key_image: Tensor, cell_ptr: Tensor, probes: Tensor, c: int
) -> None:
    check_tensor(OP, "query", query, 2, torch.float32)
    check_tensor(OP, "query_image", query_image, 1, torch.int32)
    check_half_or_float(OP, "keys", keys)
    check_tensor(OP, "key_image", key_image, 1, torch.int32)
    check_tensor(OP, "cell_ptr", cell_ptr, 1, torch.int64)
    check_tensor(OP, "probes", probes, 2, torch.int32)
    queries, rows = query.shape[0], keys.shape[0]
    require_equal(OP, keys.shape[1], query.shape[1], "keys must have as many columns as query")
    require_equal(OP, query_image.shape[0], queries, "query_image must have an element for every query")
    require(OP, rows <= MOST_COLUMNS, f"keys must have at most {MOST_COLUMNS} rows, got {rows}")
    require_equal(OP, key_image.shape[0], rows, "key_image must have an element for every key")
    require(OP, cell_ptr.numel() >= 1, "cell_ptr must have cells + 1 elements, got none")
    require_equal(OP, probes.shape[0], queries, "probes must have a row for every query")
    check_count(OP, "c", c)


@fake(OP)
def _fake(
    query: Tensor, query_image: Tensor, keys: Tensor, key_image: Tensor, cell_ptr: Tensor, probes: Tensor, c: int
) -> tuple[Tensor, Tensor]:
    _check(query, query_image, keys, key_image, cell_ptr, probes, c)
    return probes.new_empty(query.shape[0], c), query.new_empty(query.shape[0], c)


def _check_content(cell_ptr: Tensor, probes: Tensor, rows: int) -> None:
    first, last = int(cell_ptr[0]), int(cell_ptr[-1])
    require(OP, first >= 0 and last <= rows, f"cell_ptr must lie in [0, {rows}], got {first} to {last}")
    check_ascending(OP, "cell_ptr", cell_ptr)
    cells = len(cell_ptr) - 1
    beyond = probes[probes >= cells]
    if len(beyond):
        fail(OP, f"probes must be below the number of cells, {cells}, got {int(beyond[0])}")


@fallback(OP)
def _torch(
    query: Tensor, query_image: Tensor, keys: Tensor, key_image: Tensor, cell_ptr: Tensor, probes: Tensor, c: int
) -> tuple[Tensor, Tensor]:
    _check(query, query_image, keys, key_image, cell_ptr, probes, c)
    _check_content(cell_ptr, probes, keys.shape[0])
    columns = probes.new_full((query.shape[0], c), -1)
    values = query.new_zeros(query.shape[0], c)
    for i, row in enumerate(probes.tolist()):
        parts = [torch.arange(int(cell_ptr[cell]), int(cell_ptr[cell + 1])) for cell in row if cell >= 0]
        at = torch.cat([part[key_image[part] != query_image[i]] for part in parts] or [torch.arange(0)]).sort().values
        found = keys[at].float() @ query[i] + 0.0
        order = found.sort(descending=True, stable=True).indices[:c]
        columns[i, : len(order)] = at[order].int()
        values[i, : len(order)] = found[order]
    return columns, values
