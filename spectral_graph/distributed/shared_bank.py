"""A bank that several processes write together, each the rows of its images."""

from __future__ import annotations

from typing import Any

from spectral_graph.bank import Bank
from spectral_graph.distributed.world import World


def begin_together(bank: Bank, world: World, resume: bool = False) -> None:
    """Begin the next generation of a bank in all processes; rank 0 makes its files."""
    if world.leads:
        bank.begin(resume)
    world.barrier()
    if not world.leads:
        bank.join()


def commit_together(bank: Bank, world: World, **notes: Any) -> None:
    """Make the generation current, once all processes have written their rows; rank 0 takes the checksums of all."""
    if not world.leads:
        bank.flush()
    world.barrier()
    if world.leads:
        bank.commit(**notes)
    world.barrier()
    if not world.leads:
        bank.catch_up()
