"""y = gain S x + shift x + keep y with a streamed operator, and filters made of such steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from spectral_graph.distributed.comm import Comm
from spectral_graph.errors import GraphError
from spectral_graph.graph.operator import BlockOperator
from spectral_graph.io.paging import Pager, exceed_memory
from spectral_graph.io.readonly_tensor import as_readonly_tensor
from spectral_graph.ops import chebyshev_step_
from spectral_graph.solve.streaming import chunks

Factors = tuple[float, float, float]
"""gain, shift and keep of a step."""
Array = TypeVar("Array", np.ndarray, torch.Tensor)


class Operator(Protocol):
    """What a step asks of an operator N x N; `BlockOperator` says more. Its X are arrays, or tensors on a device."""

    rounds: int
    shape: tuple[int, int]
    rows: range
    comm: Comm

    def blocks(self) -> Iterator[Any]:
        """Yield the blocks: each has rows, columns and matrix as a `ReadyBlock` has them."""

    def gathered(self, x: Any) -> Any:
        """Return the rows of X that the blocks' columns count."""

    def __matmul__(self, x: np.ndarray) -> np.ndarray:
        """Return the product with x (N,), an array in any case."""


def step(operator: Operator, x: Array, y: Array, gain: float, shift: float, keep: float) -> None:
    """Set y to gain S x + shift x + keep y, block by block.

    Args:
        operator: S, N x N.
        x: (N, C) float32, C-contiguous, where the operator takes it; of N rows those that this process holds, as in y.
        y: (N, C) float32, C-contiguous, not x; with keep 0 its content does not matter.
        gain: of S x.
        shift: of x.
        keep: of y.
    """
    steps(operator, x, y, [(gain, shift, keep)])


def steps(operator: Operator, x: Array, y: Array, factors: Sequence[Factors]) -> None:
    """Make several steps in a row, with x and y in turns: the first sets y, the second x, and so on.

    Of more than one step only the last result is kept; the other array is lost.

    Args:
        operator: S, N x N.
        x: as in `step`.
        y: as in `step`.
        factors: gain, shift and keep of each step.

    Raises:
        GraphError: x or y does not hold the rows of this process, or they differ in shape.
    """
    for name, array in (("x", x), ("y", y)):
        if array.ndim != 2 or array.shape != x.shape or array.shape[0] != len(operator.rows):
            raise GraphError(
                f"a step with the operator: {name} has shape {tuple(array.shape)}, expected ({len(operator.rows)}, C) "
                "for both x and y"
            )
    arrays = x, y
    if not isinstance(operator, BlockOperator) or operator.rounds > 1 or operator.comm.size > 1:
        for index, one in enumerate(factors):
            _whole_step(operator, arrays[index % 2], arrays[1 - index % 2], *one)
        return
    assert isinstance(x, np.ndarray) and isinstance(y, np.ndarray)
    count, row_bytes = len(factors), 2 * x.strides[0]
    with Pager(x, y, when=exceed_memory(x, y) and operator.local(count, row_bytes)) as pager:
        places = pager.arrays
        for products, visits in operator.sweep(count, row_bytes):
            # The first of the products reads array `begin` and the last one sets array `end`.
            begin, end = products.start % 2, products.stop % 2
            loads, stores = [True, True], [len(products) > 1 and products.stop < count] * 2
            loads[1 - begin], stores[end] = factors[products.start][2] != 0, True
            pager.begin(loads, stores)
            for visit in visits:
                pager.reach(visit.needs)
                source, target = places[visit.product % 2], places[1 - visit.product % 2]
                _add_block(visit.block, source, source, target, *factors[visit.product])
                pager.finished(visit.free)


def _whole_step(operator: Operator, x: Array, y: Array, gain: float, shift: float, keep: float) -> None:
    rounds = operator.rounds
    if rounds > 1:
        # A node is in several blocks: its own terms are counted once, then every block adds its share.
        for rows in chunks(len(x)):
            own = _tensor(y[rows])
            (own.zero_() if keep == 0 else own.mul_(keep)).add_(as_readonly_tensor(x[rows]), alpha=shift)
        gain, shift, keep = gain / rounds, 0.0, 1.0
    wide = operator.gathered(x)
    for part in operator.blocks():
        # Memory not written yet may hold NaN, which not even the factor 0 removes.
        _add_block(part, wide, y if rounds > 1 else x, y, gain, shift, keep)


def _add_block(part: Any, wide: Array, own: Array, y: Array, gain: float, shift: float, keep: float) -> None:
    """Set the rows y of a block to gain A x + shift own + keep y; `wide` holds the rows x that its columns count."""
    target = y[part.rows]
    beside = _tensor(target) if own is y else as_readonly_tensor(own[part.rows])
    source = as_readonly_tensor(wide[part.columns])
    indptr, indices, values = part.matrix
    chebyshev_step_(indptr, indices, values, source, beside, _tensor(target), gain, shift, keep, check=False)
    if not isinstance(part.rows, slice):
        y[part.rows] = target


def _tensor(part: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Return the tensor over the memory of `part`, to write to."""
    return part if isinstance(part, torch.Tensor) else torch.from_numpy(part)


def apply_filter(operator: Operator, current: Array, other: Array, factors: Sequence[Factors]) -> tuple[Array, Array]:
    """Apply a polynomial of the operator.

    Args:
        operator: S, N x N.
        current: (N, C) float32, the columns, where the operator takes them; lost.
        other: (N, C) float32, working space.
        factors: of the steps that make the polynomial.

    Returns:
        The array with the filtered columns, and the other one; they are `current` and `other` in some order.
    """
    steps(operator, current, other, factors)
    return (current, other) if len(factors) % 2 == 0 else (other, current)
