"""The noise that a diffusion model sees on an image: a timestep and a Gaussian sample, both from the image's name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spectral_graph.errors import ConfigError


@dataclass(frozen=True)
class Noise:
    """Timesteps uniform in [first, last), drawn with the noise from (seed, image).

    An image's draw depends on nothing else, so it is the same in every batch, order and resumed run. The paper takes
    [20, 300) for data sets and [0, 500) for single images (section 4).

    Attributes:
        first: smallest timestep.
        last: one more than the largest.
        seed: of all draws.
    """

    first: int = 20
    last: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.first < self.last:
            raise ConfigError(f"timesteps {self.first}-{self.last} are empty; give first and last + 1, as in 20-300")

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> Noise:
        """Read ``20-300`` as [20, 300), and ``250`` as that one timestep.

        Raises:
            ConfigError: the text is neither.
        """
        match = re.fullmatch(r"\s*(\d{1,6})(?:\s*-\s*(\d{1,6}))?\s*", text)
        if not match:
            raise ConfigError(f"timesteps {text!r} are not understood; give one as 250, or FIRST-END as 20-300")
        first = int(match[1])
        return cls(first, int(match[2]) if match[2] else first + 1, seed)

    def draw(self, ids: Sequence[str], shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Draw for some images.

        Args:
            ids: names of the images.
            shape: of one image's noise.

        Returns:
            Timesteps (B,) int64 and standard normal noise (B, *shape) float32, on the CPU.
        """
        steps, noises = [], []
        for name in ids:
            digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
            steps.append(torch.randint(self.first, self.last, (), generator=generator))
            noises.append(torch.randn(shape, generator=generator))
        return torch.stack(steps), torch.stack(noises)
