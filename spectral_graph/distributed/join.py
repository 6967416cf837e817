"""How a process finds out whether it is one of several."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from spectral_graph.distributed.comm import ONE_PROCESS, Comm
from spectral_graph.errors import ConfigError, SpectralGraphError

BACKEND = "SPECTRAL_GRAPH_BACKEND"
"""Environment variable that chooses how processes talk: gloo (the default) or nccl."""


def process_number(environment: Mapping[str, str] = os.environ) -> int:
    """Return the rank that `torchrun` gave this process, 0 without `torchrun`."""
    rank = environment.get("RANK", "")
    return int(rank) if _size(environment) > 1 and rank.isdigit() else 0


def process_of_machine(environment: Mapping[str, str] = os.environ) -> int:
    """Return the number that `torchrun` gave this process among those of its machine, 0 without `torchrun`."""
    number = environment.get("LOCAL_RANK", "")
    return int(number) if _size(environment) > 1 and number.isdigit() else 0


@contextmanager
def join_comm(environment: Mapping[str, str] = os.environ) -> Iterator[Comm]:
    """Join the processes that `torchrun` started, or be alone; an error inside is named by the process that met it.

    Raises:
        ConfigError: the environment holds something else than what `torchrun` sets.
    """
    if _size(environment) == 1:
        yield ONE_PROCESS
        return
    backend = environment.get(BACKEND, "gloo")
    if backend not in ("gloo", "nccl"):
        raise ConfigError(f"{BACKEND} is {backend!r}; choose gloo or nccl, or unset it")
    from spectral_graph.distributed.group import joined_group

    with joined_group(environment, backend) as group:
        try:
            yield group
        except SpectralGraphError as error:
            raise type(error)(f"process {group.rank} of {group.size}: {error}") from error


def _size(environment: Mapping[str, str]) -> int:
    value = environment.get("WORLD_SIZE", "1")
    if not value.isdigit() or int(value) < 1:
        raise ConfigError(f"WORLD_SIZE is {value!r}, which is no number of processes; torchrun sets it")
    return int(value)
