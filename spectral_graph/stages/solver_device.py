"""Which device the solver `chebyshev` works on within a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from spectral_graph.config import RunConfig
from spectral_graph.distributed.join import local_rank
from spectral_graph.errors import ConfigError, DeviceMemoryError
from spectral_graph.features.device import find_device, reporting_full_memory
from spectral_graph.graph.operator import BlockOperator
from spectral_graph.options.schema import as_typed
from spectral_graph.solve.device_room import check_kernels, check_room
from spectral_graph.stages.context import Context


@contextmanager
def solver_device(context: Context, operator: BlockOperator, what: str) -> Iterator[torch.device | None]:
    """Yield the device that `--device` names; None, for the CPU, where the solver cannot use it, and a note says why.

    Features may come from a GPU on another machine, or from one that is too small for the solver: what is missing here
    does not end the run.

    Args:
        context: of the run.
        operator: whose eigenvectors are computed.
        what: the work, for the note.

    Raises:
        DeviceMemoryError: the memory of the device gave out during the work.
    """
    device = _usable(context, operator, what) if context.config.device != "cpu" else None
    with reporting_full_memory(device or torch.device("cpu"), "the solver beside its columns", "lower `channels`"):
        yield device


def _usable(context: Context, operator: BlockOperator, what: str) -> torch.device | None:
    try:
        device = find_device(context.config.device, local_rank())
        check_kernels(device)
        check_room(device, operator, context.config.channels)
    except (ConfigError, DeviceMemoryError) as error:
        reason = as_typed(str(error), RunConfig.model_fields)
        context.reporter.note(f"{what} is computed on the CPU: {reason}")
        return None
    return device
