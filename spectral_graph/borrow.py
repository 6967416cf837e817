"""Tensors over the memory of NumPy arrays."""

from __future__ import annotations

import warnings

import numpy as np
import torch


def borrow(part: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Return a contiguous tensor with the content of `part`, over its memory where that is contiguous; only to read."""
    if isinstance(part, torch.Tensor):
        return part.contiguous()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(part))
