"""Joins the processes that `torchrun` started; without `torchrun` there is one process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from spectral_graph.distributed.comm import ONE_PROCESS, Comm
from spectral_graph.errors import ConfigError, SpectralGraphError

BACKEND = "SPECTRAL_GRAPH_BACKEND"
"""Environment variable for the backend of torch.distributed: gloo (the default) or nccl."""


def global_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Return the rank of this process among all processes, 0 without `torchrun`."""
    return _rank("RANK", environment)


def local_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Return the rank of this process among those of its machine, 0 without `torchrun`."""
    return _rank("LOCAL_RANK", environment)


@contextmanager
def join_comm(environment: Mapping[str, str] = os.environ) -> Iterator[Comm]:
    """Yield the communicator of the processes that `torchrun` started; an error inside gets the rank in its message.

    Raises:
        ConfigError: the environment does not have the values that `torchrun` sets.
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


def _rank(name: str, environment: Mapping[str, str]) -> int:
    rank = environment.get(name, "")
    return int(rank) if _size(environment) > 1 and rank.isdigit() else 0


def _size(environment: Mapping[str, str]) -> int:
    value = environment.get("WORLD_SIZE", "1")
    if not value.isdigit() or int(value) < 1:
        raise ConfigError(f"WORLD_SIZE is {value!r}, which is no number of processes; torchrun sets it")
    return int(value)
