"""The eigenvector bank: node-by-channel arrays in raw files, larger than memory, in generations."""

from spectral_graph.bank.bank import Bank
from spectral_graph.bank.rows import allocate

__all__ = ["Bank", "allocate"]
