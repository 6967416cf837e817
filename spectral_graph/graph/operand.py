"""Operands of `operator @ X`: the blocks as the kernels take them, and the dense X."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse

from spectral_graph.errors import GraphError
from spectral_graph.graph.blocks import Block
from spectral_graph.graph.csr_rows import CsrRows
from spectral_graph.graph.wavefront import Extent

DENSE = 0.5
"""Share of a range of rows of X from which on a block's columns are read there in place, not gathered first."""


@dataclass(frozen=True)
class ReadyBlock:
    """A block as `csr_spmm` takes it.

    Attributes:
        rows: the rows of the result that it adds to; a slice where they are contiguous.
        columns: the rows of X that it reads; a slice where they are nearly contiguous.
        matrix: indptr, indices into those rows of X, values.
    """

    rows: np.ndarray | slice
    columns: np.ndarray | slice
    matrix: tuple[torch.Tensor, torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, block: Block) -> ReadyBlock:
        """Make a stored block ready."""
        rows, columns, indices = _span(block.rows), _span(block.column_ids), block.indices
        if not isinstance(columns, slice) and len(columns) and len(columns) >= DENSE * (columns[-1] + 1 - columns[0]):
            first = int(columns[0])
            indices = (columns - first).astype(np.int32)[indices]
            columns = slice(first, int(columns[-1]) + 1)
        return cls(rows, columns, CsrRows(block.indptr, indices, block.values).tensors())

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        ids = (part.nbytes for part in (self.rows, self.columns) if isinstance(part, np.ndarray))
        return sum(part.numel() * part.element_size() for part in self.matrix) + sum(ids)

    @property
    def extent(self) -> Extent | None:
        """Where it lies; None where its rows are not contiguous."""
        if not isinstance(self.rows, slice):
            return None
        ids = self.columns
        if isinstance(ids, slice):
            reads = ids.start, ids.stop
        else:
            reads = (int(ids[0]), int(ids[-1]) + 1) if len(ids) else (0, 0)
        return Extent((self.rows.start, self.rows.stop), reads, self.nbytes)


def _span(ids: np.ndarray) -> np.ndarray | slice:
    """Return ascending ids as a slice where they are contiguous."""
    if len(ids) and ids[-1] - ids[0] == len(ids) - 1:
        return slice(int(ids[0]), int(ids[-1]) + 1)
    return ids


def dense_operand(x: Any, rows: int) -> np.ndarray:
    """Return the operand of `operator @ x` as a (rows,) or (rows, C) float32 array, C-contiguous.

    Args:
        x: real numbers, (rows,) or (rows, C): an array of any dtype and layout, a torch tensor, or nested lists.
        rows: how many rows the operator takes.

    Raises:
        GraphError: x has another shape, is sparse, masked or no numbers, or does not fit float32; the message gives the
            shapes.
    """
    if sparse.issparse(x):
        raise GraphError(f"operator @ X: X is sparse, of shape {x.shape}; pass X.toarray()")
    if isinstance(x, torch.Tensor):
        x = _from_torch(x)
    elif np.ma.isMaskedArray(x) and np.ma.is_masked(x):
        raise GraphError("operator @ X: X is a masked array with masked entries; fill them first")
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise GraphError(f"operator @ X: X is no array ({error}); expected ({rows},) or ({rows}, C)") from None
    if array.ndim not in (1, 2) or array.shape[0] != rows:
        raise GraphError(f"operator @ X: X has shape {array.shape}, expected ({rows},) or ({rows}, C)")
    if array.dtype.kind not in "buif":
        raise GraphError(f"operator @ X: X holds {array.dtype}, expected real numbers, as float32")
    with np.errstate(over="ignore"):
        columns = np.ascontiguousarray(array, np.float32)
    if array.dtype.itemsize > 4 and not np.array_equal(np.isfinite(columns), np.isfinite(array)):
        raise GraphError(f"operator @ X: X holds numbers beyond {np.finfo(np.float32).max:.1e}; divide it by a number")
    return columns


def _from_torch(x: torch.Tensor) -> np.ndarray:
    if x.layout is not torch.strided:
        raise GraphError(f"operator @ X: X is sparse, of shape {tuple(x.shape)}; pass X.to_dense()")
    x = x.detach().cpu().resolve_conj().resolve_neg()
    return np.asarray((x.float() if x.dtype == torch.bfloat16 else x).numpy())


def require_columns(name: str, x: Any, rows: int) -> None:
    """Check an array (rows, C) float32 that a product reads or writes in place.

    Raises:
        GraphError: it is something else; the message gives the shapes.
    """
    if not isinstance(x, np.ndarray):
        raise GraphError(f"{name} is a {type(x).__name__}, expected a NumPy array ({rows}, C) of float32")
    if x.ndim != 2 or x.shape[0] != rows or x.dtype != np.float32:
        raise GraphError(f"{name} has shape {x.shape} of {x.dtype}, expected ({rows}, C) of float32")
