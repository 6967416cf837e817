"""The eigenvector bank: node-by-channel arrays in raw files, larger than memory, in generations."""

from spectral_graph.bank.bank import Bank

__all__ = ["Bank"]
