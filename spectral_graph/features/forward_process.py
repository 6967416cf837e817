"""How much of an image is left at a timestep: the forward process of a diffusion model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class ForwardProcess:
    """Noisy latents from clean ones.

    Attributes:
        steps: number of timesteps; t runs from 0 to steps - 1.
        weights: timesteps (B,) int64 -> weight of the image and weight of the noise, each (B,) float32.
    """

    steps: int
    weights: Callable[[Tensor], tuple[Tensor, Tensor]]

    @classmethod
    def of(cls, scheduler: Any) -> ForwardProcess:
        """Take the schedule that a diffusers scheduler was made for.

        Diffusion schedulers share the schedule of training, sqrt(a_t) x + sqrt(1 - a_t) e (J. Ho et al., "Denoising
        diffusion probabilistic models", 2020, Eqn. 4), in whatever form the sampler keeps it (sigmas, for instance).
        Flow-matching ones go straight from image to noise, (1 - s) x + s e at the timestep s * steps that the model is
        told.

        Args:
            scheduler: of a pipeline.
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
