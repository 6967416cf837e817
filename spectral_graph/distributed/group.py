"""The communicator of processes that `torchrun` started, over torch.distributed."""

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

JOIN_TIMEOUT = timedelta(minutes=5)
COLLECTIVE_TIMEOUT = timedelta(days=7)
"""Other processes may be busy for hours; a process that died is noticed without a timeout."""


class Group(Comm):
    """Processes on one machine or on several that see the same run directory.

    Every method except `mine`, `owned` and `folder` is collective: all processes call it, in the same order. Arrays lie
    in the memory of the CPU; nccl sends them from the memory of the GPU.
    `device` is that of the tensors that the backend sends. Collective methods raise LostProcessError if a process ends.
    """

    def __init__(self, rank: int, size: int, group: Any, device: torch.device) -> None:
        self.rank, self.size, self.sent = rank, size, 0
        self._group, self._device = group, device

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        """Return the arrays of all processes, by rank."""
        own = self._tensor(array)
        parts = [torch.empty_like(own) for _ in range(self.size)]
        with _as_lost_process():
            dist.all_gather(parts, own, group=self._group)
        self.sent += array.nbytes * (self.size - 1)
        return [_array(part, array) for part in parts]

    def sum(self, array: np.ndarray) -> np.ndarray:
        """Return the sum of the float64 arrays of all processes, added in the order of the ranks."""
        first, *others = self.gather(np.asarray(array, np.float64))
        for part in others:
            first += part
        return first

    def broadcast(self, array: np.ndarray) -> np.ndarray:
        """Return the array of rank 0."""
        tensor = self._tensor(array).clone()
        with _as_lost_process():
            dist.broadcast(tensor, src=0, group=self._group)
        if self.is_rank0:
            self.sent += array.nbytes * (self.size - 1)
        return _array(tensor, array)

    def agree(self, flag: bool) -> bool:
        """Return the flag of rank 0."""
        return bool(self.broadcast(np.array([flag], np.int64))[0])

    def barrier(self) -> None:
        """Wait for all processes."""
        self.gather(np.zeros(1, np.int64))

    def exchange(self, out: Sequence[np.ndarray], into: Sequence[np.ndarray]) -> None:
        """Send out[rank] to every other process, and receive its array in into[rank]."""
        others = [peer for peer in range(self.size) if peer != self.rank]
        receiving = {peer: self._tensor(into[peer]) for peer in others if into[peer].size}
        sending = {peer: self._tensor(out[peer]) for peer in others if out[peer].size}
        calls = [dist.P2POp(dist.irecv, tensor, peer, group=self._group) for peer, tensor in receiving.items()]
        calls += [dist.P2POp(dist.isend, tensor, peer, group=self._group) for peer, tensor in sending.items()]
        if not calls:
            return
        with _as_lost_process():
            for work in dist.batch_isend_irecv(calls):
                work.wait()
        for peer, tensor in receiving.items():
            if tensor.device.type != "cpu":
                into[peer][...] = _array(tensor, into[peer])
        self.sent += sum(out[peer].nbytes for peer in sending)

    def folder(self, path: Path) -> Path:
        """Return the working folder of this process below `path`."""
        return path / f"rank-{self.rank}-of-{self.size}"

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        """Return a flat tensor on the device of the backend; on the CPU it shares the memory of a contiguous array."""
        return torch.from_numpy(np.ascontiguousarray(array).reshape(-1)).to(self._device)


def _array(tensor: torch.Tensor, like: np.ndarray) -> np.ndarray:
    return tensor.cpu().numpy().reshape(like.shape)


@contextmanager
def joined_group(environment: Mapping[str, str], backend: str) -> Iterator[Group]:
    """Join the processes that `torchrun` started, and leave them at the end.

    `environment` has the variables of `torchrun`; `backend` is gloo, or nccl with a GPU for each process of a machine.
    nccl has not been run on several GPUs.

    Raises:
        ConfigError: a variable is missing, or there is no GPU for nccl.
        LostProcessError: the others cannot be reached.
    """
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        if not environment.get(name):
            raise ConfigError(
                f"WORLD_SIZE is {environment.get('WORLD_SIZE')}, but {name} is not set; start several processes with "
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
    with _as_lost_process():
        store, _, _ = next(dist.rendezvous("env://", rank, size, timeout=JOIN_TIMEOUT))
        # torchrun may keep its store over restarts; the addresses of ended processes must not be read.
        attempt = dist.PrefixStore(f"attempt {environment.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        dist.init_process_group(backend, store=attempt, rank=rank, world_size=size, timeout=JOIN_TIMEOUT)
        group = dist.new_group(timeout=COLLECTIVE_TIMEOUT)
    try:
        yield Group(rank, size, group, device)
    finally:
        dist.destroy_process_group()


@contextmanager
def _as_lost_process() -> Iterator[None]:
    """Turn the RuntimeError of torch.distributed into a LostProcessError."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(
            "another process of this run has ended or cannot be reached; unless it was killed, its message says why; "
            "run the same command to resume"
        ) from error
