"""Noisy latents of a diffusion model: timestep and Gaussian noise of each image, and the forward process."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spectral_graph.errors import ConfigError


@dataclass(frozen=True)
class Noise:
    """Timesteps uniform in [first, last), drawn with the noise from (seed, image).

    An image's draw depends on nothing else, so it is the same in every batch, order and resumed run. The paper uses
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
            raise ConfigError(f"timesteps {text!r} cannot be parsed; give one as 250, or FIRST-END as 20-300")
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


@dataclass(frozen=True)
class ForwardProcess:
    """How much of an image and of noise there is at a timestep.

    Attributes:
        steps: number of timesteps; t runs from 0 to steps - 1.
        weights: timesteps (B,) int64 -> weight of the image and weight of the noise, each (B,) float32.
    """

    steps: int
    weights: Callable[[Tensor], tuple[Tensor, Tensor]]

    @classmethod
    def of(cls, scheduler: Any) -> ForwardProcess:
        """Return the forward process of the training schedule that a diffusers scheduler is configured for.

        It is sqrt(a_t) x + sqrt(1 - a_t) e (J. Ho et al., "Denoising diffusion probabilistic models", 2020, Eqn. 4),
        and for flow matching (1 - s) x + s e with the timestep s * steps.
        """
        steps = int(scheduler.config.num_train_timesteps)
        if "FlowMatch" in type(scheduler).__name__:

            def straight(t: Tensor) -> tuple[Tensor, Tensor]:
                level = t.to(torch.float32) / steps
                return 1 - level, level

            return cls(steps, straight)
        import diffusers

        kept: Tensor = diffusers.DDPMScheduler.from_config(scheduler.config).alphas_cumprod

        def spherical(t: Tensor) -> tuple[Tensor, Tensor]:
            left = kept.to(t.device)[t]
            return left.sqrt(), (1 - left).sqrt()

        return cls(steps, spherical)

    def __call__(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return the noisy latents (B, C, h, w) at the timesteps (B,)."""
        image, sample = (weight.view(-1, 1, 1, 1) for weight in self.weights(timesteps))
        return image * latents + sample * noise
