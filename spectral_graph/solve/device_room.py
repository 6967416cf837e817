"""Whether the solver can work on a device: kernels, room for the columns, and for blocks beside them."""

from __future__ import annotations

import torch

from spectral_graph.errors import ConfigError, DeviceMemoryError
from spectral_graph.graph.operator import BlockOperator
from spectral_graph.memory import left_bytes
from spectral_graph.ops.cuda import load_cuda
from spectral_graph.solve.schedule import block_width

COLUMNS_SHARE = 0.8
"""Of a device's free memory: the columns may take it. The rest is for blocks and for what the products need."""
BLOCKS_SHARE = 0.6
"""Of what the columns leave: blocks may stay in it between products. Of the rest come those that pass through, the rows
that they read, and scratch memory of the operators."""


def check_kernels(device: torch.device) -> None:
    """Make sure that the solver's operators are there for a device.

    Raises:
        ConfigError: they are not; the message says why, and how to get them.
    """
    if device.type == "cuda" and (reason := load_cuda()):
        raise ConfigError(f"`device={device}`: the solver has no kernels for it: {reason}")


def check_room(device: torch.device, operator: BlockOperator, channels: int) -> None:
    """Make sure that the solver's columns fit a device.

    Args:
        device: where they are stored.
        operator: N x N.
        channels: how many eigenvectors are asked for.

    Raises:
        DeviceMemoryError: they do not fit its free memory; the message gives both.
    """
    rows, width = len(operator.rows), block_width(operator.shape[0], channels)
    needed = 4 * width * (3 * rows + (rows + operator.halo if operator.comm.size > 1 else 0))
    free = free_bytes(device)
    if needed > COLUMNS_SHARE * free:
        raise DeviceMemoryError(
            f"{device} has {free / 1e9:.3f} GB of free memory, of which the solver's columns may take "
            f"{COLUMNS_SHARE * free / 1e9:.3f} GB; {width} columns for {rows} nodes need {needed / 1e9:.3f} GB; lower "
            "`channels`, or use `device=cpu`"
        )


def room_for_blocks(device: torch.device) -> int:
    """Return how many bytes the blocks may take that stay on the device, once the columns are there."""
    return int(BLOCKS_SHARE * free_bytes(device))


def free_bytes(device: torch.device) -> int:
    """Return how many bytes this process may still take of a device's memory."""
    if device.type != "cuda":
        return left_bytes()
    # What torch keeps for later tensors is theirs to take.
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0] + kept)
