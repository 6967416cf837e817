"""Processes that `torchrun` started, joined by torch.distributed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from spectral_graph.distributed.comm import Comm
from spectral_graph.errors import ConfigError, LostProcessError

JOINING = timedelta(minutes=5)
"""How long a process waits at the start for the others to come."""
PATIENCE = timedelta(days=7)
"""How long it waits for them later: they may be busy for hours, and one that died is noticed without a clock."""


class Group(Comm):
    """Some processes on one machine or on several; all see the same run directory.

    Every method but `mine`, `owned` and `folder` must be called by all processes, in the same order. Arrays lie in the
    memory of the CPU; with nccl they cross the wire by way of the GPU.

    Args:
        rank: number of this process.
        size: number of processes.
        group: of torch.distributed.
        device: of the tensors that the backend sends.

    Raises:
        LostProcessError: from every method that waits: a process has ended.
    """

    def __init__(self, rank: int, size: int, group: Any, device: torch.device) -> None:
        self.rank, self.size, self.sent = rank, size, 0
        self._group, self._device = group, device

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        """Return the arrays of all processes, by rank; all have one shape and dtype."""
        own = self._tensor(array)
        parts = [torch.empty_like(own) for _ in range(self.size)]
        with _reporting_loss():
            dist.all_gather(parts, own, group=self._group)
        self.sent += array.nbytes * (self.size - 1)
        return [part.cpu().numpy().reshape(array.shape) for part in parts]

    def sum(self, array: np.ndarray) -> np.ndarray:
        """Return the sum of the float64 arrays of all processes, added in the order of the ranks."""
        parts = self.gather(np.asarray(array, np.float64))
        total = parts[0].copy()
        for part in parts[1:]:
            total += part
        return total

    def broadcast(self, array: np.ndarray) -> np.ndarray:
        """Return the array of rank 0; that of the others gives shape and dtype."""
        tensor = self._tensor(array).clone()
        with _reporting_loss():
            dist.broadcast(tensor, src=0, group=self._group)
        if self.is_rank0:
            self.sent += array.nbytes * (self.size - 1)
        return tensor.cpu().numpy().reshape(array.shape)

    def agree(self, flag: bool) -> bool:
        """Return the flag of rank 0."""
        return bool(self.broadcast(np.array([flag], np.int64))[0])

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self.gather(np.zeros(1, np.int64))

    def exchange(self, out: Sequence[np.ndarray], into: Sequence[np.ndarray]) -> None:
        """Send out[rank] to every other process, and receive what it sends here into into[rank]."""
        others = [peer for peer in range(self.size) if peer != self.rank]
        arriving = {peer: self._tensor(into[peer]) for peer in others if into[peer].size}
        leaving = {peer: self._tensor(out[peer]) for peer in others if out[peer].size}
        calls = [dist.P2POp(dist.irecv, tensor, peer, group=self._group) for peer, tensor in arriving.items()]
        calls += [dist.P2POp(dist.isend, tensor, peer, group=self._group) for peer, tensor in leaving.items()]
        if not calls:
            return
        with _reporting_loss():
            for work in dist.batch_isend_irecv(calls):
                work.wait()
        for peer, tensor in arriving.items():
            if tensor.device.type != "cpu":
                into[peer][...] = tensor.cpu().numpy().reshape(into[peer].shape)
        self.sent += sum(out[peer].nbytes for peer in leaving)

    def folder(self, path: Path) -> Path:
        """Return the folder of this process's own below `path`, for working space."""
        return path / f"rank-{self.rank}-of-{self.size}"

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        """Return a flat tensor for the wire, over the memory of a contiguous array where that lies on the CPU."""
        return torch.from_numpy(np.ascontiguousarray(array).reshape(-1)).to(self._device)


@contextmanager
def joined_group(environment: Mapping[str, str], backend: str) -> Iterator[Group]:
    """Join the processes that `torchrun` started, and leave them at the end.

    Args:
        environment: with what `torchrun` sets: RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, and how often it
            has restarted the processes.
        backend: gloo, or nccl with a GPU for each process of a machine. nccl has not been run on several GPUs.

    Raises:
        ConfigError: a variable is missing, or there is no GPU for nccl.
        LostProcessError: the others cannot be reached.
    """
    missing = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if not environment.get(name)]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE is {environment.get('WORLD_SIZE')}, but {missing[0]} is not set; start several processes with "
            "torchrun --nproc-per-node=K -m spectral_graph.build, or unset WORLD_SIZE for one"
        )
    rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    device = torch.device("cpu")
    if backend == "nccl":
        local = int(environment.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise ConfigError(
                f"nccl needs a GPU for every process, but process {local} of this machine finds "
                f"{torch.cuda.device_count()}; start fewer with --nproc-per-node, or use gloo"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    with _reporting_loss():
        store, _, _ = next(dist.rendezvous("env://", rank, size, timeout=JOINING))
        # torchrun may keep its store over restarts; the addresses of processes that are gone must not be read.
        attempt = dist.PrefixStore(f"attempt {environment.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        dist.init_process_group(backend, store=attempt, rank=rank, world_size=size, timeout=JOINING)
        group = dist.new_group(timeout=PATIENCE)
    try:
        yield Group(rank, size, group, device)
    finally:
        dist.destroy_process_group()


@contextmanager
def _reporting_loss() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(
            "another process of this run has ended or is out of reach; its own message says why, if it was not killed; "
            "the same command goes on from here"
        ) from error
