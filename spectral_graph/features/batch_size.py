"""The number of images in a batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from spectral_graph.features.model import LayerInfo, VisionModel

BUDGET = 1 << 30
"""Bytes of activations of a batch on a CPU; larger batches are no faster there."""

LARGEST = 32
"""Upper limit of images in a batch: larger ones are no faster, and an interruption loses more work."""


def automatic_batch(
    model: VisionModel, size: tuple[int, int], layers: Sequence[LayerInfo], tensors: Collection[str], budget: int
) -> int:
    """Return the number of images whose activations fit into `budget` bytes, from 1 to `LARGEST`.

    It depends on the arguments alone, so an interrupted run resumes with the same number. `size` is (height, width)
    of an image in pixels; `layers` and `tensors` are those that are extracted.
    """
    largest = 0

    def measure(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal largest
        values = (*inputs, *(output if isinstance(output, tuple) else (output,)))
        largest = max(largest, sum(value.nbytes for value in values if isinstance(value, Tensor)))

    handle = register_module_forward_hook(measure)
    try:
        found = model.extract(torch.zeros((1, *size, 3), dtype=torch.uint8), layers, tensors)
    finally:
        handle.remove()
    kept = sum(tensor.nbytes for part in found.layers.values() for tensor in part.values()) + found.final.nbytes
    return max(1, min(LARGEST, budget // max(1, kept + largest)))
