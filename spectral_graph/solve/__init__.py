"""Solvers for the spectral embedding: `chebyshev` (exact) and `adam` (Eqn. 4 of the paper)."""
