"""Tensors over the memory of NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


class _Memory:
    """The memory of an array, without its read-only flag."""

    def __init__(self, array: np.ndarray) -> None:
        about: dict[str, Any] = dict(array.__array_interface__)
        about["data"] = (about["data"][0], False)
        self.__array_interface__, self._array = about, array


def as_readonly_tensor(part: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Return a contiguous tensor, which must not be written to; it shares the memory of a contiguous `part`."""
    if isinstance(part, torch.Tensor):
        return part.contiguous()
    array = np.ascontiguousarray(part)
    # torch warns of read-only arrays, and warnings cannot be silenced safely in threads.
    return torch.from_numpy(array if array.flags.writeable else np.asarray(_Memory(array)))
