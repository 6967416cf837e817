"""How many images to give a model at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from spectral_graph.features.model import LayerInfo, VisionModel

BUDGET = 1 << 30
"""Bytes of activations that a batch may take on a CPU; more images at a time are no faster there."""

LARGEST = 32
"""Images in a batch at most: beyond, nothing gets faster and an interruption loses more work."""


def automatic_batch(
    model: VisionModel, size: tuple[int, int], layers: Sequence[LayerInfo], tensors: Collection[str], budget: int
) -> int:
    """Choose the number of images from the activations of one.

    Args:
        model: the model.
        size: (height, width) of an image in pixels.
        layers: whose features are taken.
        tensors: which of them.
        budget: bytes that a batch's activations may take.

    Returns:
        At least 1, at most `LARGEST`. It depends on the arguments alone, so an interrupted run goes on with the same.
    """
    pixels = torch.zeros((1, *size, 3), dtype=torch.uint8)
    with ActivationBytes(model) as measured:
        found = model.extract(pixels, layers, tensors)
    kept = sum(tensor.nbytes for part in found.layers.values() for tensor in part.values()) + found.final.nbytes
    return max(1, min(LARGEST, budget // max(1, kept + measured.largest)))


class ActivationBytes:
    """Context manager that finds the largest input and output of a model's modules, in bytes."""

    def __init__(self, model: Any) -> None:
        """Watch all modules that the attributes of `model` hold."""
        self.largest = 0
        self._parts = [part for part in vars(model).values() if isinstance(part, nn.Module)]
        self._stack = ExitStack()

    def __enter__(self) -> ActivationBytes:
        for part in self._parts:
            for module in part.modules():
                handle = module.register_forward_hook(self._measure)
                self._stack.callback(handle.remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _measure(self, _module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        values = (*args, *(output if isinstance(output, tuple) else (output,)))
        self.largest = max(self.largest, sum(value.nbytes for value in values if isinstance(value, Tensor)))
