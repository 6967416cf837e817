"""topc_merge: the best neighbours of every node from the candidate lists of several searches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spectral_graph.ops.checks import (
    MOST_COLUMNS,
    check_count,
    check_csr,
    check_csr_content,
    check_values,
    contiguous,
    require,
    row_of_entry,
)
from spectral_graph.ops.library import call, define, fake, fallback

OP = "topc_merge"

define(
    "topc_merge(Tensor[] indptr, Tensor[] indices, Tensor[] values, int c) "
    "-> (Tensor indptr, Tensor indices, Tensor values)"
)


def topc_merge(
    indptr: Sequence[Tensor], indices: Sequence[Tensor], values: Sequence[Tensor], c: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the c best candidates of every row from several candidate lists.

    A list is a matrix in compressed rows, such as `topc_affinity` returns for a block, a shard or a cell. All lists
    have the same rows and count their columns alike. The order is that of `topc_affinity`: higher value first, of equal
    values the lower column. A column that comes more than once, in one list or in several, is kept once, with its
    highest value. NaN is never kept; -0 counts as 0. The result depends neither on the order of the lists nor on that
    of their entries, so lists can be merged a few at a time. Not differentiable.

    Args:
        indptr: for each list (n + 1,) int64.
        indices: for each list (nnz,) int32, in any order.
        values: for each list (nnz,) float32.
        c: the most candidates that a row keeps.

    Returns:
        indptr (n + 1,) int64, indices int32 ascending in each row, values float32.

    Raises:
        GraphError: an argument does not fit.
    """
    _check_counts(indptr, indices, values)  # here too: without a tensor torch cannot select a kernel
    operator = torch.ops.spectral_graph.topc_merge.default
    lists = (
        [contiguous(OP, **{f"{name}[{k}]": part})[0] for k, part in enumerate(parts)]
        for name, parts in (("indptr", indptr), ("indices", indices), ("values", values))
    )
    result: tuple[Tensor, Tensor, Tensor] = call(operator, *lists, c)
    return result


def _check_counts(indptr: Sequence[Tensor], indices: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    require(OP, len(indptr) > 0, "indptr must hold at least one tensor, got none")
    counts = len(indptr), len(indices), len(values)
    text = f"indptr, indices and values must hold equally many tensors, got {counts[0]}, {counts[1]} and {counts[2]}"
    require(OP, counts[0] == counts[1] == counts[2], text)


def _check(indptr: list[Tensor], indices: list[Tensor], values: list[Tensor], c: int) -> None:
    _check_counts(indptr, indices, values)
    check_count(OP, "c", c)
    rows = indptr[0].numel() - 1
    for k, (starts, columns, weights) in enumerate(zip(indptr, indices, values, strict=True)):
        check_csr(OP, starts, columns, MOST_COLUMNS)
        check_values(OP, weights, columns, torch.float32)
        given = starts.numel() - 1
        text = f"all lists must have as many rows as the first, {rows}, got {given} in list {k}"
        require(OP, given == rows, text)


@fake(OP)
def _fake(indptr: list[Tensor], indices: list[Tensor], values: list[Tensor], c: int) -> tuple[Tensor, Tensor, Tensor]:
    _check(indptr, indices, values, c)
    entries = torch.library.get_ctx().new_dynamic_size()
    return (
        indptr[0].new_empty(indptr[0].shape[0]),
        indices[0].new_empty(entries),
        values[0].new_empty(entries),
    )


@fallback(OP)
def _torch(indptr: list[Tensor], indices: list[Tensor], values: list[Tensor], c: int) -> tuple[Tensor, Tensor, Tensor]:
    _check(indptr, indices, values, c)
    for starts, columns in zip(indptr, indices, strict=True):
        check_csr_content(OP, starts, columns, MOST_COLUMNS)
    row = torch.cat([row_of_entry(starts) for starts in indptr])
    column, weight = torch.cat(indices), torch.cat(values) + 0.0

    def sorted_by(*keys: Tensor) -> Tensor:
        """Return the order by the first key, then the second, ..."""
        order = torch.arange(len(keys[0]))
        for key in reversed(keys):
            order = order[key[order].sort(stable=True).indices]
        return order

    order = sorted_by(row, column, -weight)
    order = order[~weight[order].isnan()]
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = (row[order].diff() != 0) | (column[order].diff() != 0)
    order = order[first]
    row, column, weight = row[order], column[order], weight[order]
    order = sorted_by(row, -weight, column)
    n = indptr[0].numel() - 1
    counts = torch.bincount(row, minlength=n)
    rank = torch.arange(len(row)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    keep = order[rank < c].sort().values
    starts = indptr[0].new_zeros(n + 1)
    torch.cumsum(counts.clamp(max=c), 0, out=starts[1:])
    return starts, column[keep], weight[keep]
