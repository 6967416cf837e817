"""From photos of one shape to the solution of each: forward passes of the model, and the solver."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from spectral_graph.data.preprocess import network_size
from spectral_graph.features.device import find_device, reporting_full_memory
from spectral_graph.features.diffusion import DiffusionFeatures
from spectral_graph.features.load import load_model
from spectral_graph.features.model import Extraction, LayerInfo, VisionModel
from spectral_graph.features.noise import Noise
from spectral_graph.per_image.adam import HeadGraphs, adam
from spectral_graph.per_image.eigen import Solution, leading_eigenvectors, require_nodes, ritz
from spectral_graph.per_image.operator import MergedAttention
from spectral_graph.per_image.options import ImageConfig

_SMALLER = "lower `size`, with `force`"
_SMALLER_MODEL = "choose a smaller `model` or `dtype=float16`, with `force`"


class PhotoSolver:
    """A model with the options of a call; loading it raises the errors of `load_model` and `find_device`.

    Attributes:
        device: of the model.
        layers: the layers that are used.
        noisy: whether the model adds noise, a new draw in each pass.
        passes: forward passes for each photo; 1 without noise.
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
        """Return (height, width) of the network's input: the photo's shape in whole patches, SIZE^2 in area."""
        scale = self.config.size / math.sqrt(height * width)
        return network_size((max(1, round(height * scale)), max(1, round(width * scale))), self.model.patch)

    def extract(self, pixels: np.ndarray, names: Sequence[str], draw: int) -> Extraction:
        """Return q and k of the layers, on the device, for pixels (B, H, W, 3) uint8; names and draw seed the noise.

        Raises:
            DeviceMemoryError: the photos do not fit the device together.
        """
        count, height, width = pixels.shape[:3]
        cure = f"give fewer at a time with `batch={count // 2}` and `force`" if count > 1 else _SMALLER
        what = f"{count} photo{'s' * (count > 1)} of {height} x {width} pixels in one pass"
        with reporting_full_memory(self.device, what, cure):
            ids = [f"{name}/{draw}" for name in names]
            return self.model.extract(torch.from_numpy(pixels), self.layers, ("q", "k"), ids)


class PhotoBatch:
    """Photos of one shape that go through the model together, once; further draws of noise go one by one.

    Args:
        solver: the model with its options.
        pixels: (B, H, W, 3) uint8.
        names: of the photos; they seed the noise.

    Attributes:
        grid: (h, w) in nodes, the finest of the layers.
    """

    def __init__(self, solver: PhotoSolver, pixels: np.ndarray, names: Sequence[str]) -> None:
        self._solver, self._pixels, self._names = solver, pixels, names
        self._first = solver.extract(pixels, names, 0)
        self.grid = self._first.grid
        self._attention = f"the attention of {math.prod(self.grid)} nodes"

    def operator(self, row: int) -> MergedAttention:
        """Return the operator of one photo, the mean over all draws of noise.

        Raises:
            FeatureError: the model gave NaN or infinity.
            DeviceMemoryError: it does not fit the device.
        """
        solver = self._solver
        merged = MergedAttention(self.grid, solver.config.normalisation)
        for draw in range(solver.passes):
            extraction, place = self._draw(row, draw)
            with reporting_full_memory(solver.device, self._attention, _SMALLER):
                merged.add(extraction, place, solver.layers)
        return merged

    def graphs(self, row: int, draw: int) -> HeadGraphs:
        """Return every head of one photo as a graph, under one draw of noise."""
        extraction, place = self._draw(row, draw)
        with reporting_full_memory(self._solver.device, self._attention, _SMALLER):
            return HeadGraphs.of(extraction, place, self._solver.layers, self._solver.config.normalisation)

    def solve(self, row: int) -> tuple[Solution, int]:
        """Return the eigenvectors of one photo, and the number of graphs whose mean its operator is.

        Raises:
            FeatureError: the model gave NaN or infinity.
            ConfigError: the photo has fewer nodes than `channels`.
        """
        config = self._solver.config
        merged = self.operator(row)
        matrix = merged.matrix()
        if config.solver == "exact":
            return leading_eigenvectors(matrix, config.channels), merged.graphs
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
        return ritz(matrix, x), merged.graphs

    def _draw(self, row: int, draw: int) -> tuple[Extraction, int]:
        """Return an extraction under one draw of noise, and the photo's row in it."""
        if draw == 0:
            return self._first, row
        return self._solver.extract(self._pixels[row : row + 1], [self._names[row]], draw), 0
