"""cell_topc: for every query the best keys of the cells that it probes."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from spectral_graph.ops.checks import MOST_COLUMNS, check_tensor, contiguous, require
from spectral_graph.ops.library import call, define, fake, fallback
from spectral_graph.ops.unit_project import check_half_or_float

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
        probes: (n, p) int32, different cells; negative ones are passed over. The first should be the most promising.
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
    depth, given = query.shape[1], keys.shape[1]
    require(OP, given == depth, lambda: f"keys must have as many columns as query, {depth}, got {given}")
    images = query_image.shape[0]
    text = f"query_image must have an element for every query, {queries}, got {images}"
    require(OP, images == queries, lambda: text)
    require(OP, rows <= MOST_COLUMNS, lambda: f"keys must have at most {MOST_COLUMNS} rows, got {rows}")
    owners = key_image.shape[0]
    require(OP, owners == rows, lambda: f"key_image must have an element for every key, {rows}, got {owners}")
    require(OP, cell_ptr.numel() >= 1, lambda: "cell_ptr must have cells + 1 elements, got none")
    lists = probes.shape[0]
    require(OP, lists == queries, lambda: f"probes must have a row for every query, {queries}, got {lists}")
    require(OP, c >= 0, lambda: f"c must be at least 0, got {c}")


@fake(OP)
def _fake(
    query: Tensor, query_image: Tensor, keys: Tensor, key_image: Tensor, cell_ptr: Tensor, probes: Tensor, c: int
) -> tuple[Tensor, Tensor]:
    _check(query, query_image, keys, key_image, cell_ptr, probes, c)
    return probes.new_empty(query.shape[0], c), query.new_empty(query.shape[0], c)


def _check_content(cell_ptr: Tensor, probes: Tensor, rows: int) -> None:
    starts = cell_ptr.tolist()
    text = f"cell_ptr must lie in [0, {rows}], got {starts[0]} to {starts[-1]}"
    require(OP, starts[0] >= 0 and starts[-1] <= rows, lambda: text)
    for i, (start, end) in enumerate(pairwise(starts)):
        fall = f"got cell_ptr[{i}] = {start} and cell_ptr[{i + 1}] = {end}"
        require(OP, start <= end, lambda fall=fall: f"cell_ptr must not decrease, {fall}")  # type: ignore[misc]
    cells = len(starts) - 1
    beyond = probes[probes >= cells]
    require(
        OP,
        not len(beyond),
        lambda: f"probes must be below the number of cells, {cells}, got {int(beyond[0])}",
    )


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
