"""What does Stable Diffusion 1.4 at full size cost, and are its q, k and v right there too? Random weights.

    python -m benchmarks.models [--prove] [--size 512] [--json FILE]

The UNet and the autoencoder have the published configuration (860 and 84 million parameters). Peak memory is that of
the pass, weights included. With --prove, softmax(q k^T / sqrt(d)) v of all 16 layers is compared with the module's
output.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from spectral_graph.features.conditioning import encode
from spectral_graph.features.diffusion import DiffusionFeatures
from spectral_graph.features.model import WeightsInfo
from spectral_graph.features.noise import Noise
from spectral_graph.memory import peak_bytes, reset_peak

TOLERANCE = 1e-4


def filled(module: Any) -> Any:
    """Give a module without memory small random weights, quicker than its own initialisation."""
    module = module.to_empty(device="cpu").requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
        else:
            parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return module.eval()


def stable_diffusion() -> DiffusionFeatures:
    """Stable Diffusion 1.4 without its text encoder."""
    import diffusers

    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8, sample_size=64)
        vae = diffusers.AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
        )
    unet, vae = filled(unet), filled(vae)
    text = torch.randn(1, 77, 768, generator=torch.Generator().manual_seed(0))
    pipeline = SimpleNamespace(encode_prompt=lambda *_: (text,))
    scheduler = diffusers.PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    return DiffusionFeatures(
        unet,
        vae,
        scheduler,
        encode(pipeline, unet, "", "sd14"),
        name="sd14",
        weights=WeightsInfo("random numbers"),
        noise=Noise(),
    )


def largest_error(model: DiffusionFeatures, pixels: torch.Tensor) -> float:
    """Return the largest difference between a layer's output and what follows from its q, k and v, over its largest."""
    outputs: dict[str, torch.Tensor] = {}
    handles = [
        model._modules[layer.name].register_forward_hook(
            lambda _m, _a, output, name=layer.name: outputs.__setitem__(name, output)
        )
        for layer in model.layers
    ]
    found = model.extract(pixels, model.layers)
    for handle in handles:
        handle.remove()
    worst = 0.0
    for layer in model.layers:
        parts = []
        values = found.layers[layer.name]
        for head in range(layer.heads):  # head by head: the weights of a 64 x 64 grid take 67 MB each
            width = layer.dim // layer.heads
            q, k, v = (values[name][0, :, head * width : (head + 1) * width] for name in ("q", "k", "v"))
            parts.append((q @ k.T / width**0.5).softmax(-1) @ v)
        module: Any = model._modules[layer.name]
        with torch.inference_mode():
            expected = module.to_out[0](torch.cat(parts, 1))
        output = outputs[layer.name][0]
        worst = max(worst, float((expected - output).abs().max() / output.abs().max()))
    return worst


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    model = stable_diffusion()
    pixels = torch.randint(0, 256, (1, options.size, options.size, 3), dtype=torch.uint8)
    figures: dict[str, float] = {"layers": len(model.layers), "heads": sum(layer.heads for layer in model.layers)}
    if options.prove:
        figures["largest_error"] = largest_error(model, pixels)
        if not figures["largest_error"] <= TOLERANCE:
            raise SystemExit(
                f"q, k and v are wrong: the output is off by {figures['largest_error']:.3g} of its largest"
            )
    else:
        for name in ("auto", "all"):
            reset_peak()
            begin = time.perf_counter()
            model.extract(pixels, model.select_layers(name))
            figures[f"{name}_seconds"] = time.perf_counter() - begin
            figures[f"{name}_peak_bytes"] = peak_bytes()
    for name, value in figures.items():
        print(f"{name:>16} {value:.6g}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return figures


if __name__ == "__main__":
    main()
