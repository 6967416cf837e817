"""The solver's columns in the memory of a device.

Through the memory of this machine go: the random start, so that it has the bits of one made there; vectors of the
estimate of the spectrum; a warm start; checkpoints; and the result. Small (K, K) problems are solved there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from spectral_graph.graph.operator import BlockOperator
from spectral_graph.io.readonly_tensor import as_readonly_tensor
from spectral_graph.ops import gram, rotate
from spectral_graph.solve.device_operator import DeviceOperator
from spectral_graph.solve.device_room import room_for_blocks
from spectral_graph.solve.streaming import chunks, random_rows, workspace


class DeviceColumns:
    """Implements `Columns` with tensors on a device.

    Sums over rows are taken in the chunks of the streamed products, so that they are added in the same order.

    Args:
        operator: on the device.
    """

    def __init__(self, operator: DeviceOperator) -> None:
        self.operator = operator

    def random(self, out: torch.Tensor, seed: int, stream: int) -> None:
        """Fill `out` with random numbers that are drawn on this machine."""
        for rows in chunks(len(out)):
            part = np.empty((rows.stop - rows.start, out.shape[1]), np.float32)
            random_rows(part, seed, stream, self.operator.rows.start + rows.start)
            out[rows] = torch.from_numpy(part).to(out.device)

    def put(self, part: np.ndarray, x: torch.Tensor, row: int) -> None:
        """Copy some rows of x to the device."""
        x[row : row + len(part), : part.shape[1]] = as_readonly_tensor(part).to(x.device)

    def save(self, x: torch.Tensor, target: np.ndarray) -> None:
        """Copy x from the device."""
        for rows in chunks(len(x)):
            target[rows] = x[rows].cpu().numpy()

    def as_result(self, x: torch.Tensor, folder: Path, memory_bytes: int) -> np.ndarray:
        """Return a copy of x on this machine; where it is memory-mapped, the map outlives the name of its file."""
        with workspace(self.operator.comm.folder(folder), (x.shape[0], x.shape[1]), 1, memory_bytes) as (result,):
            self.save(x, result)
            return result

    def pack(self, x: torch.Tensor, locked: int, into: torch.Tensor) -> None:
        """Copy the last columns of x."""
        into.copy_(x[:, locked:])

    def unpack(self, part: torch.Tensor, x: torch.Tensor, locked: int) -> None:
        """Write the last columns of x."""
        x[:, locked:] = part

    def grams(self, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
        """Return X^T X, X^T Y and Y^T Y, on this machine."""
        total = torch.zeros((3, x.shape[1], x.shape[1]), dtype=torch.float64, device=x.device)
        for rows in chunks(len(x)):
            left, right = x[rows], y[rows]
            total += torch.stack([gram(left), gram(left, right), gram(right)])
        return total.cpu().numpy()

    def rotate(self, x: torch.Tensor, u: np.ndarray, out: torch.Tensor) -> None:
        """Write X U into `out`."""
        matrix = torch.from_numpy(np.ascontiguousarray(u, np.float64)).to(x.device)
        for rows in chunks(len(x)):
            out[rows] = rotate(x[rows], matrix)

    def squares(self, x: torch.Tensor) -> np.ndarray:
        """Return the sums of squares of the columns, on this machine."""
        total = torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)
        for rows in chunks(len(x)):
            total += x[rows].double().square().sum(dim=0)
        return total.cpu().numpy()

    def divide(self, x: torch.Tensor, by: np.ndarray) -> None:
        """Divide the columns."""
        x /= torch.from_numpy(by).to(x.device)


@contextmanager
def device_columns(
    operator: BlockOperator, width: int, device: torch.device, memory_bytes: int
) -> Iterator[tuple[DeviceColumns, list[torch.Tensor]]]:
    """Yield three arrays of columns on a device; as many blocks of the operator stay there as fit.

    Args:
        operator: N x N.
        width: columns of an array.
        device: a GPU; the CPU in tests.
        memory_bytes: what the blocks that have no room there may take of the memory of this machine.
    """
    arrays = [torch.empty((len(operator.rows), width), device=device) for _ in range(3)]
    operator.allow(memory_bytes)
    yield DeviceColumns(DeviceOperator(operator, device, room_for_blocks(device))), arrays
