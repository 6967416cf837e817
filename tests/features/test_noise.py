"""Timesteps and noise: drawn from the image's name, added as the scheduler adds them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spectral_graph.errors import ConfigError
from spectral_graph.features import Noise, load_model
from spectral_graph.features.diffusion import DiffusionFeatures

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import small_diffusion as small  # noqa: E402  needs the packages above


def test_noise_is_that_of_the_forward_process(sd14: DiffusionFeatures, pixels: torch.Tensor) -> None:
    """The UNet's input against the scheduler's own add_noise, with timestep and noise drawn for the image."""
    seen, handles = small.outputs_of({"unet": sd14._denoiser, "in": sd14._denoiser.conv_in})
    sd14.extract(pixels, (), ("q",), ["cat", "dog"])
    for handle in handles:
        handle.remove()
    # The pass ends early, so the UNet itself returns nothing; its first module has seen the noisy latents.
    noisy = seen["in"][0][0]
    timesteps, noise = Noise().draw(["cat", "dog"], (4, 16, 16))
    assert ((timesteps >= 20) & (timesteps < 300)).all()
    with torch.no_grad():
        latents = sd14._vae.encode((pixels.permute(0, 3, 1, 2) / 127.5) - 1).latent_dist.mean * 0.18215
    scheduler = diffusers.PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    torch.testing.assert_close(noisy, scheduler.add_noise(latents, noise, timesteps), rtol=1e-4, atol=1e-4)


def test_flow_matching_goes_straight_to_the_noise() -> None:
    from spectral_graph.features.noise import ForwardProcess

    process = ForwardProcess.of(diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0))
    x, e, t = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4), torch.tensor([0, 250, 999])
    level = (t / 1000).view(3, 1, 1, 1)
    torch.testing.assert_close(process(x, e, t), (1 - level) * x + level * e)


def test_samplers_of_one_training_schedule_agree() -> None:
    from spectral_graph.features.noise import ForwardProcess

    options = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    t = torch.tensor([0, 20, 299, 999])
    reference = diffusers.DDPMScheduler(**options).alphas_cumprod[t]
    for sampler in (diffusers.PNDMScheduler, diffusers.EulerDiscreteScheduler, diffusers.DDIMScheduler):
        image, noise = ForwardProcess.of(sampler(**options)).weights(t)
        torch.testing.assert_close(image**2, reference)
        torch.testing.assert_close(noise**2, 1 - reference)


def test_draws_depend_on_seed_and_image_alone() -> None:
    first, noise = Noise(seed=5).draw(["a", "b", "c"], (2, 3))
    again, other = Noise(seed=5).draw(["c", "a"], (2, 3))
    assert torch.equal(first[[2, 0]], again) and torch.equal(noise[[2, 0]], other)
    assert not torch.equal(Noise(seed=6).draw(["a"], (2, 3))[1], noise[:1])
    steps, _ = Noise(20, 300).draw([str(i) for i in range(4000)], (1,))
    assert (int(steps.min()), int(steps.max())) == (20, 299)
    assert abs(steps.float().mean() - 159.5) < 4 and abs(steps.float().std() - 80.8) < 3


@pytest.mark.parametrize(("text", "expected"), [("20-300", (20, 300)), (" 0 - 500 ", (0, 500)), ("250", (250, 251))])
def test_timesteps_are_read(text: str, expected: tuple[int, int]) -> None:
    noise = Noise.parse(text, 3)
    assert (noise.first, noise.last, noise.seed) == (*expected, 3)


@pytest.mark.parametrize("text", ["", "300-20", "20-20", "-5", "a", "20-", "1.5"])
def test_bad_timesteps_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="timesteps"):
        Noise.parse(text)


def test_timesteps_beyond_the_model_are_refused(sd_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"timesteps 20-1001.*0-1000"):
        load_model("sd14", sd_folder, noise=Noise(20, 1001))


def test_other_noise_shares_the_weights(sd14: DiffusionFeatures, pixels: torch.Tensor) -> None:
    other = sd14.with_noise(Noise(400, 500))
    assert other._denoiser is sd14._denoiser and sd14.noise == Noise()
    layers = sd14.layers[6:7]
    a, b = (model.extract(pixels, layers, ("q",)).layers[layers[0].name]["q"] for model in (sd14, other))
    assert (a - b).abs().max() > 1e-3
