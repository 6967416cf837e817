"""From photos of one shape to the solution of each: forward passes of the model, and the solver."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch

from spectral_graph.data.preprocess import network_size
from spectral_graph.features.device import find_device, reporting_full_memory
from spectral_graph.features.diffusion import DiffusionFeatures
from spectral_graph.features.load import load_model
from spectral_graph.features.model import Extraction, LayerInfo, VisionModel
from spectral_graph.features.noise import Noise
from spectral_graph.grid_map import Grid
from spectral_graph.per_image.adam import HeadGraphs, adam
from spectral_graph.per_image.eigen import Solution, leading_eigenvectors, require_nodes, ritz
from spectral_graph.per_image.operator import MergedAttention
from spectral_graph.per_image.options import ImageConfig

_TENSORS = ("q", "k")
_SMALLER = "lower `size`, with `force`"
_SMALLER_MODEL = "choose a smaller `model` or `dtype=float16`, with `force`"


@dataclass(frozen=True, eq=False)
class Solved:
    """The solution of one photo.

    Attributes:
        solution: eigenvectors on the photo's grid.
        grid: (h, w), the finest of the layers.
        graphs: how many graphs the operator is the mean of.
    """

    solution: Solution
    grid: Grid
    graphs: int


class PhotoSolver:
    """A loaded model with the options of a call.

    Args:
        config: the options.

    Attributes:
        device: where the model runs.
        model: the model.
        layers: the layers that are used.
        noisy: whether the model sees noise, another one in each pass.
        passes: forward passes for each photo; 1 without noise.

    Raises:
        ModelError: the model or a layer does not exist.
        WeightsError: the weights are missing.
        ConfigError: a timestep that the model does not have, or a device that is not there.
        DeviceMemoryError: the model does not fit the device.
    """

    def __init__(self, config: ImageConfig) -> None:
        self.config = config
        self.device = find_device(config.device)
        with reporting_full_memory(self.device, f"the model {config.model}", _SMALLER_MODEL):
            self.model: VisionModel = load_model(
                config.model,
                config.weights,
                device=self.device,
                dtype=getattr(torch, config.dtype),
                noise=Noise.parse(config.timesteps, config.seed),
                prompt=config.prompt,
            )
        self.layers: tuple[LayerInfo, ...] = self.model.select_layers(config.layers)
        self.noisy = isinstance(self.model, DiffusionFeatures)
        self.passes = config.passes if self.noisy else 1

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of what the network sees of a photo: its shape in whole patches, SIZE^2 in area."""
        scale = self.config.size / math.sqrt(height * width)
        return network_size((max(1, round(height * scale)), max(1, round(width * scale))), self.model.patch)

    def extract(self, pixels: np.ndarray, names: Sequence[str], draw: int) -> Extraction:
        """Return q and k of the layers, on the device.

        Args:
            pixels: (B, H, W, 3) uint8.
            names: of the photos; noise is drawn from them.
            draw: number of the draw.

        Raises:
            DeviceMemoryError: the photos do not fit the device together.
        """
        ids = [f"{name}/{draw}" for name in names]
        count, height, width = pixels.shape[:3]
        cure = f"give fewer at a time with `batch={count // 2}` and `force`" if count > 1 else _SMALLER
        with self.memory_for(f"{count} photo{'s' * (count > 1)} of {height} x {width} pixels in one pass", cure):
            return self.model.extract(torch.from_numpy(pixels), self.layers, _TENSORS, ids)

    def memory_for(self, what: str, cure: str) -> AbstractContextManager[None]:
        """Return a context that says in words that the device has too little memory for `what`."""
        return reporting_full_memory(self.device, what, cure)

    def begin(self, pixels: np.ndarray, names: Sequence[str]) -> PhotoBatch:
        """Run the model once on photos of one shape.

        Args:
            pixels: (B, H, W, 3) uint8.
            names: of the photos; noise is drawn from them.
        """
        return PhotoBatch(self, pixels, names)


class PhotoBatch:
    """Photos of one shape that went through the model together.

    Args:
        solver: the model with its options.
        pixels: (B, H, W, 3) uint8.
        names: of the photos; noise is drawn from them.
    """

    def __init__(self, solver: PhotoSolver, pixels: np.ndarray, names: Sequence[str]) -> None:
        self._solver, self._pixels, self._names = solver, pixels, names
        self._first = solver.extract(pixels, names, 0)
        self._nodes = math.prod(self._first.grid)

    def operator(self, row: int) -> MergedAttention:
        """Return the operator of one photo, the mean over all draws of noise.

        Raises:
            FeatureError: the model gave NaN or infinity.
            DeviceMemoryError: it does not fit the device.
        """
        solver = self._solver
        merged = MergedAttention(self._first.grid, solver.config.normalisation)
        for draw in range(solver.passes):
            extraction, place = (self._first, row) if draw == 0 else (self._again(row, draw), 0)
            with solver.memory_for(f"the attention of {self._nodes} nodes", _SMALLER):
                merged.add(extraction, place, solver.layers)
        return merged

    def graphs(self, row: int, draw: int) -> HeadGraphs:
        """Return every head of one photo as a graph of its own, under one draw of noise."""
        extraction, place = (self._first, row) if draw == 0 else (self._again(row, draw), 0)
        with self._solver.memory_for(f"the attention of {self._nodes} nodes", _SMALLER):
            return HeadGraphs.of(extraction, place, self._solver.layers, self._solver.config.normalisation)

    def solve(self, row: int) -> Solved:
        """Solve one photo.

        Raises:
            FeatureError: the model gave NaN or infinity.
            ConfigError: the photo has fewer nodes than --channels.
        """
        config = self._solver.config
        merged = self.operator(row)
        matrix = merged.matrix()
        if config.solver == "exact":
            return Solved(leading_eigenvectors(matrix, config.channels), merged.grid, merged.graphs)
        require_nodes(len(matrix), config.channels)
        x = adam(
            lambda draw: self.graphs(row, draw),
            len(matrix),
            config.channels,
            steps=config.steps,
            learning_rate=config.learning_rate,
            seed=config.seed,
            reuse=config.reuse if self._solver.noisy else 1.0,
        )
        return Solved(ritz(matrix, x), merged.grid, merged.graphs)

    def _again(self, row: int, draw: int) -> Extraction:
        return self._solver.extract(self._pixels[row : row + 1], [self._names[row]], draw)
