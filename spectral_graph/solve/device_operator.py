"""`operator @ X` on a device, with the blocks of a stored operator.

Blocks stay on the device as far as there is room. The others pass through it in every product: while it computes with
one block, the next is copied there from page-locked memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from spectral_graph.errors import GraphError
from spectral_graph.graph.operand import ReadyBlock, dense_operand
from spectral_graph.graph.operator import BlockOperator
from spectral_graph.io.readonly_tensor import as_readonly_tensor
from spectral_graph.ops import csr_spmm

Place = torch.Tensor | slice


@dataclass(frozen=True)
class DeviceBlock:
    """A `ReadyBlock` on a device; rows and columns that are not contiguous are int64 tensors."""

    rows: Place
    columns: Place
    matrix: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    nbytes: int


@dataclass(frozen=True)
class _Sent:
    """A block on its way.

    Attributes:
        block: on the device, complete after `arrived`.
        host: what it is copied from; it must stay until then.
        arrived: event in the stream of copies.
    """

    block: DeviceBlock
    host: list[torch.Tensor]
    arrived: Any


class DeviceOperator:
    """A stored operator whose products are computed on a device.

    Args:
        operator: N x N.
        device: a GPU; on the CPU, in tests, copies and waiting are no work.
        room: how many bytes the blocks may take that stay on the device.

    Attributes:
        shape: (N, N).
        rows: which rows of X and of the result this process holds.
        rounds: how many blocks cover each node.
        comm: the processes that hold the others.
    """

    def __init__(self, operator: BlockOperator, device: torch.device, room: int) -> None:
        self._operator, self._device, self._room = operator, device, room
        self.shape, self.rows, self.rounds, self.comm = operator.shape, operator.rows, operator.rounds, operator.comm
        self._resident: dict[int, DeviceBlock] = {}
        self._settled = False
        self._module: Any = torch.get_device_module(device)
        self._copies: Any = torch.cuda.Stream(device) if device.type == "cuda" else self._module.Stream()
        self._in_use: deque[tuple[_Sent, Any]] = deque()

    @property
    def resident_bytes(self) -> int:
        """Return what the blocks take that stay on the device."""
        return sum(block.nbytes for block in self._resident.values())

    def blocks(self) -> Iterator[DeviceBlock]:
        """Yield the blocks in their order; each may be used until the next is asked for."""
        passing = [index for index in range(self._operator.count) if index not in self._resident]
        arriving = self._arriving(passing)
        for index in range(self._operator.count):
            block = self._resident.get(index)
            if block is None:
                block = next(arriving)
                if not self._settled and self.resident_bytes + block.nbytes <= self._room:
                    self._resident[index] = block
            yield block
        arriving.close()
        self._settled = True

    def gathered(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rows of X that the blocks' columns count, those of other processes by way of this machine.

        Raises:
            GraphError: x does not hold the `rows` of this process.
        """
        rows = len(self.rows)
        if x.ndim != 2 or x.shape[0] != rows or x.dtype != torch.float32:
            raise GraphError(
                f"operator @ X: X has shape {tuple(x.shape)} of {x.dtype}, expected ({rows}, C) of float32"
            )
        if self.comm.size == 1:
            return x
        return torch.from_numpy(self._operator.gathered(x.cpu().numpy())).to(self._device)

    def __matmul__(self, x: Any) -> np.ndarray:
        """Return the product with x (N,) or (N, C), of this machine as the result is, of the `rows` of this process.

        Raises:
            GraphError: x is something else, see `dense_operand`.
        """
        given = dense_operand(x, len(self.rows))
        columns = as_readonly_tensor(given[:, None] if given.ndim == 1 else given).to(self._device)
        if not columns.numel():
            return np.empty(given.shape, np.float32)
        wide, out = self.gathered(columns), torch.zeros_like(columns)
        for block in self.blocks():
            out[block.rows] += csr_spmm(*block.matrix, wide[block.columns], check=False) / self.rounds
        return out.cpu().numpy().reshape(given.shape)

    def _arriving(self, passing: Sequence[int]) -> Generator[DeviceBlock]:
        """Yield blocks that are not on the device, each while the next is copied."""
        following: _Sent | None = None
        # What stays on the device need not stay in the memory of this machine, too.
        for ready in self._operator.blocks(passing, keep=self._settled):
            current, following = following, self._send(ready)
            if current is not None:
                yield from self._lend(current)
        if following is not None:
            yield from self._lend(following)

    def _send(self, ready: ReadyBlock) -> _Sent:
        """Begin to copy a block; of those before it one may still be read."""
        while len(self._in_use) > 1:
            self._in_use[0][1].synchronize()
            self._in_use.popleft()
        host: list[torch.Tensor] = []

        def move(part: torch.Tensor) -> torch.Tensor:
            host.append(part.pin_memory() if self._device.type == "cuda" else part)
            return host[-1].to(self._device, non_blocking=True)

        def place(ids: np.ndarray | slice) -> Place:
            return ids if isinstance(ids, slice) else move(as_readonly_tensor(ids.astype(np.int64, copy=False)))

        with self._module.stream(self._copies):
            indptr, indices, values = map(move, ready.matrix)
            rows, columns = place(ready.rows), place(ready.columns)
            block = DeviceBlock(rows, columns, (indptr, indices, values), ready.nbytes)
            arrived = self._module.Event()
            arrived.record(self._copies)
        return _Sent(block, host, arrived)

    def _lend(self, sent: _Sent) -> Iterator[DeviceBlock]:
        """Yield a block that has arrived when the products that are asked for then are made."""
        computing = self._module.current_stream(self._device)
        computing.wait_event(sent.arrived)
        try:
            yield sent.block
        finally:
            # Once it is dropped its memory is the copies' again: those products must be over.
            done = self._module.Event()
            done.record(computing)
            self._in_use.append((sent, done))
