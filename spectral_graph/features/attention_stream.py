"""Attention of one image for many iterations of a solver, each with new noise or from an earlier pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from spectral_graph.errors import ConfigError
from spectral_graph.features.attention import TENSORS
from spectral_graph.features.model import Extraction, LayerInfo, VisionModel


class AttentionStream:
    """Endless iterator over passes of a model on one image (section 4.1 of the paper).

    Each pass of a diffusion model draws a new timestep and new noise. As a pass costs more than a step of the solver,
    with probability `reuse` one of the last `buffer` passes is returned again, chosen at random. For a model without
    noise all passes are the same, so there is only one. Attribute `passes` counts the passes.
    """

    def __init__(
        self,
        model: VisionModel,
        pixels: Tensor,
        layers: Sequence[LayerInfo],
        tensors: Collection[str] = TENSORS,
        *,
        name: str = "image",
        reuse: float = 0.9,
        buffer: int = 7,
        seed: int = 0,
    ) -> None:
        """Prepare the stream; the model does not run yet.

        Args:
            model: of a diffusion model, one with its timesteps: ``model.with_noise(Noise(0, 500))``.
            pixels: (H, W, 3) uint8.
            layers: layers of the model.
            tensors: subset of {"q", "k", "v"}.
            name: of the image; noise is drawn from it and the number of the pass.
            reuse: probability of an earlier pass; 0.9 in the paper.
            buffer: number of passes that are kept; 7 in the authors' script.
            seed: of the choice between passes.

        Raises:
            ConfigError: `reuse` is outside [0, 1), or `buffer` is less than 1.
        """
        if not 0 <= reuse < 1 or buffer < 1:
            raise ConfigError(f"`reuse={reuse}`, `buffer={buffer}`: give 0 <= reuse < 1 and a buffer of 1 or more")
        self.passes = 0
        self._model, self._pixels, self._layers, self._tensors = model, pixels, layers, tensors
        self._name, self._reuse = name, reuse
        self._kept: deque[Extraction] = deque(maxlen=buffer)
        self._generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> AttentionStream:
        return self

    def __next__(self) -> Extraction:
        noisy = hasattr(self._model, "with_noise")
        again = float(torch.rand((), generator=self._generator)) < self._reuse or not noisy
        if self._kept and again:
            return self._kept[int(torch.randint(len(self._kept), (), generator=self._generator))]
        found = self._model.extract(self._pixels[None], self._layers, self._tensors, [f"{self._name}/{self.passes}"])
        self.passes += 1
        self._kept.append(found)
        return found
