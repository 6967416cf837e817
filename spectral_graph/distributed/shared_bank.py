"""A bank that several processes write together, each the rows of its images."""

from __future__ import annotations

from typing import Any

from spectral_graph.bank import Bank
from spectral_graph.distributed.comm import Comm


def begin_together(bank: Bank, comm: Comm, resume: bool = False) -> None:
    """Begin the next generation of a bank in all processes; rank 0 creates its files."""
    if comm.is_rank0:
        bank.begin(resume)
    comm.barrier()
    if not comm.is_rank0:
        bank.join()


def commit_together(bank: Bank, comm: Comm, **notes: Any) -> None:
    """Commit the generation once all processes have written their rows; rank 0 computes all checksums."""
    if not comm.is_rank0:
        bank.flush()
    comm.barrier()
    if comm.is_rank0:
        bank.commit(**notes)
    comm.barrier()
    if not comm.is_rank0:
        bank.catch_up()
