"""Diffusion models: their layers, and q, k and v against plain matrix products."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from spectral_graph.errors import ModelError
from spectral_graph.features import Noise
from spectral_graph.features.conditioning import encode
from spectral_graph.features.diffusion import DiffusionFeatures
from spectral_graph.features.model import WeightsInfo

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import small_diffusion as small  # noqa: E402  needs the packages above

RANDOM = WeightsInfo("random numbers")
SELF = "transformer_blocks.0.attn1"


def attended(values: dict[str, torch.Tensor], heads: int) -> torch.Tensor:
    """softmax(q k^T / sqrt(d)) v with plain matrix products."""
    q, k, v = (values[name].unflatten(-1, (heads, -1)).transpose(1, 2) for name in ("q", "k", "v"))
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def assert_reproduced(model: DiffusionFeatures, pixels: torch.Tensor) -> None:
    """The output of every layer's module follows from its q, k and v by plain matrix products."""
    modules = {layer.name: model._modules[layer.name] for layer in model.layers}
    seen, handles = small.outputs_of(modules)
    found = model.extract(pixels, model.layers)
    for handle in handles:
        handle.remove()
    for layer in model.layers:
        output = seen[layer.name][2]
        module: Any = modules[layer.name]
        expected = module.to_out[0](attended(found.layers[layer.name], layer.heads))
        torch.testing.assert_close(expected, output, rtol=1e-4, atol=1e-4)
        rows, columns = found.grids[layer.name]
        assert found.layers[layer.name]["q"].shape == (len(pixels), rows * columns, layer.dim)


def sharpened(denoiser: nn.Module) -> nn.Module:
    """Give projections a size at which the softmax is far from uniform."""
    torch.manual_seed(3)
    for name, parameter in denoiser.named_parameters():
        if ".to_q." in name or ".to_k." in name or "add_q" in name or "add_k" in name:
            nn.init.normal_(parameter, std=1.5 * parameter.shape[-1] ** -0.5)
    return denoiser


def wrap(denoiser: Any, pipeline: Any = None, prompt: str = "", vae: Any = None, scheduler: Any = None) -> Any:
    """Wrap a denoiser with an encoder of prompts that returns random text."""
    return DiffusionFeatures(
        sharpened(denoiser).requires_grad_(False),
        vae or small.vae(),
        scheduler or diffusers.DDPMScheduler(),
        encode(pipeline, denoiser, prompt, "small"),
        name="small",
        weights=RANDOM,
        noise=Noise(),
    )


def pipeline_of(*results: Any) -> Any:
    return SimpleNamespace(encode_prompt=lambda *_, **__: results)


def test_stable_diffusion_has_sixteen_layers_of_eight_heads(sd14: DiffusionFeatures) -> None:
    assert [layer.part for layer in sd14.layers] == ["down"] * 6 + ["mid"] + ["up"] * 9
    assert [layer.stride for layer in sd14.layers] == [8, 8, 16, 16, 32, 32, 64, 32, 32, 32, 16, 16, 16, 8, 8, 8]
    assert {layer.heads for layer in sd14.layers} == {8}
    assert all(layer.name.endswith(SELF) for layer in sd14.layers)
    assert [layer.index for layer in sd14.select_layers("auto")] == list(range(6, 13))
    assert sd14.select_layers("auto") == sd14.select_layers("mid,up[:6]")
    assert sd14.select_layers("decoder") == sd14.layers[7:]
    assert sd14.select_layers("encoder") == sd14.layers[:6]
    assert sd14.select_layers("up[6:]") == sd14.layers[13:]
    assert sd14.select_layers("5-11") == sd14.layers[5:12]
    assert sd14.select_layers(f"mid_block.attentions.0.{SELF}") == sd14.layers[6:7]
    with pytest.raises(ModelError, match=r"'up\[:10\]'.*down\[0:6\], mid\[0:1\], up\[0:9\]"):
        sd14.select_layers("up[:10]")


def test_at_512_pixels_the_grids_are_those_of_the_paper(sd14: DiffusionFeatures) -> None:
    grids = [sd14.grid(512, 512, [layer]) for layer in sd14.layers]
    sides = [64, 64, 32, 32, 16, 16, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    assert grids == [(side, side) for side in sides]
    assert sd14.grid(512, 512, sd14.select_layers("auto")) == (32, 32)


def test_real_sizes_of_the_published_configurations() -> None:
    """Layers and heads of the full-size UNets, without memory for their weights."""
    from spectral_graph.features.catalogue import CATALOGUE

    configurations = {
        "sd14": {"cross_attention_dim": 768, "attention_head_dim": 8},
        "sd21": {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
        "sdxl": {**XL, "block_out_channels": (320, 640, 1280), "attention_head_dim": (5, 10, 20)},
    }
    for alias, options in configurations.items():
        with torch.device("meta"):
            unet = diffusers.UNet2DConditionModel(**options)
        attentions = [m for n, m in unet.named_modules() if n.endswith(".attn1")]
        entry, heads = CATALOGUE[alias], [module.heads for module in attentions]
        assert (len(heads), min(heads), max(heads)) == (entry.layers, *entry.heads)


def test_output_follows_from_q_k_and_v(sd14: DiffusionFeatures, pixels: torch.Tensor) -> None:
    sharpened(sd14._denoiser)
    assert_reproduced(sd14, pixels)


def test_fused_projections_and_the_unfused_processor(pixels: torch.Tensor) -> None:
    torch.manual_seed(0)
    unet = small.unet()
    conditioning = pipeline_of(torch.randn(1, 77, small.WIDTH))
    model = wrap(unet, conditioning)
    plain = model.extract(pixels, model.layers).layers
    unet.fuse_qkv_projections()
    fused = wrap(unet, conditioning)
    assert fused.layers == model.layers
    found = fused.extract(pixels, fused.layers).layers
    for layer in model.layers:
        for name in ("q", "k", "v"):
            torch.testing.assert_close(found[layer.name][name], plain[layer.name][name], rtol=1e-4, atol=1e-4)
    from diffusers.models.attention_processor import AttnProcessor

    unet.unfuse_qkv_projections()
    unet.set_attn_processor(AttnProcessor())
    with pytest.raises(ModelError, match=r"small.*0 modules"):
        wrap(unet, conditioning)


XL = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


def test_stable_diffusion_2(pixels: torch.Tensor) -> None:
    unet = small.unet(attention_head_dim=(2, 2, 4, 4), use_linear_projection=True)
    model = wrap(unet, pipeline_of(torch.randn(1, 77, small.WIDTH)))
    assert sorted({layer.heads for layer in model.layers}) == [2, 4]
    assert_reproduced(model, pixels)


def test_stable_diffusion_xl(pixels: torch.Tensor) -> None:
    options = {
        **XL,
        "block_out_channels": (16, 32, 64),
        "attention_head_dim": (1, 2, 4),
        "transformer_layers_per_block": (1, 1, 2),
        "cross_attention_dim": small.WIDTH,
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + small.WIDTH,
    }
    texts = (torch.randn(1, 77, small.WIDTH), None, torch.randn(1, small.WIDTH), None)
    model = wrap(small.unet(**options), pipeline_of(*texts))
    # Down 2 + 2 * 2, middle 2, up 3 * 2 + 3.
    assert [layer.part for layer in model.layers] == ["down"] * 6 + ["mid"] * 2 + ["up"] * 9
    assert {layer.stride for layer in model.layers} == {16, 32}
    assert_reproduced(model, pixels)


def pixart() -> tuple[Any, Any]:
    transformer = diffusers.PixArtTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=12,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=48,
        sample_size=64,
        caption_channels=small.WIDTH,
        use_additional_conditions=True,
    )
    mask = torch.ones(1, 120)
    mask[:, 5:] = 0
    return transformer.eval(), pipeline_of(torch.randn(1, 120, small.WIDTH), mask, None, None)


@pytest.mark.parametrize("height", [128, 192])
def test_pixart(pixels: torch.Tensor, height: int) -> None:
    model = wrap(*pixart())
    assert [(layer.stride, layer.heads, layer.part) for layer in model.layers] == [(16, 4, "")] * 2
    assert_reproduced(model, functional.pad(pixels, (0, 0, 0, 0, 0, height - 128)))


@pytest.mark.parametrize("options", [{}, {"qk_norm": "rms_norm", "dual_attention_layers": (0,)}])
def test_image_stream_of_stable_diffusion_3(pixels: torch.Tensor, options: dict[str, Any]) -> None:
    """The joint softmax runs over the prompt too: q, k and v of the image are compared with a replay of the module."""
    torch.manual_seed(0)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=32,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=small.WIDTH,
        caption_projection_dim=32,
        pooled_projection_dim=small.WIDTH,
        pos_embed_max_size=64,
        **options,
    ).eval()
    texts = (torch.randn(1, 154, small.WIDTH), None, torch.randn(1, small.WIDTH), None)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    model = wrap(transformer, pipeline_of(*texts), vae=small.vae(16, shift_factor=0.06), scheduler=scheduler)
    assert [layer.name.rpartition(".")[2] for layer in model.layers] == (
        ["attn", "attn2", "attn"] if options else ["attn", "attn"]
    )
    modules = {layer.name: model._modules[layer.name] for layer in model.layers}
    seen, handles = small.outputs_of(modules)
    found = model.extract(pixels, model.layers)
    for handle in handles:
        handle.remove()
    assert found.final.shape == (2, 64, 32)
    for name, module in modules.items():
        inputs = seen[name][1]

        def split(x: torch.Tensor, norm: Any) -> torch.Tensor:
            heads = x.unflatten(-1, (4, 8)).transpose(1, 2)
            return heads if norm is None else norm(heads)

        image = inputs["hidden_states"]
        q, k, v = split(module.to_q(image), module.norm_q), split(module.to_k(image), module.norm_k), module.to_v(image)
        for own, expected in (("q", q.transpose(1, 2).flatten(2)), ("k", k.transpose(1, 2).flatten(2)), ("v", v)):
            torch.testing.assert_close(found.layers[name][own], expected, rtol=1e-4, atol=1e-4)
        text = inputs.get("encoder_hidden_states")
        v = split(v, None)
        if text is not None:
            more = (module.add_q_proj(text), module.add_k_proj(text), module.add_v_proj(text))
            norms = (module.norm_added_q, module.norm_added_k, None)
            q, k, v = (torch.cat([a, split(b, n)], 2) for a, b, n in zip((q, k, v), more, norms, strict=True))
        merged = ((q @ k.transpose(-1, -2) / 8**0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)[:, :64]
        output = seen[name][2]
        output = output[0] if isinstance(output, tuple) else output
        torch.testing.assert_close(module.to_out[0](merged), output, rtol=1e-4, atol=1e-4)


def test_class_conditional_dit(pixels: torch.Tensor) -> None:
    transformer = diffusers.DiTTransformer2DModel(
        num_attention_heads=4, attention_head_dim=8, num_layers=2, sample_size=16, norm_num_groups=4
    ).eval()
    model = wrap(transformer)
    assert [layer.stride for layer in model.layers] == [16, 16]
    assert_reproduced(model, pixels)
    with pytest.raises(ModelError, match="`prompt='a dog'`"):
        wrap(transformer, prompt="a dog")


def test_a_batch_equals_its_images_in_any_order(sd14: DiffusionFeatures, pixels: torch.Tensor) -> None:
    layers = sd14.select_layers("mid,up[3:5]")
    together = sd14.extract(pixels, layers, ("q", "v"), ["one", "two"])
    alone = sd14.extract(pixels[1:], layers, ("q", "v"), ["two"])
    torch.testing.assert_close(together.final[1], alone.final[0], rtol=1e-3, atol=1e-4)
    for layer in layers:
        for name in ("q", "v"):
            own = together.layers[layer.name][name][1]
            torch.testing.assert_close(own, alone.layers[layer.name][name][0], rtol=1e-3, atol=1e-4)


def test_denoiser_stops_after_the_last_layer(sd14: DiffusionFeatures, pixels: torch.Tensor) -> None:
    seen, handles = small.outputs_of({f"up{i}": block for i, block in enumerate(sd14._denoiser.up_blocks)})
    layers = sd14.select_layers("mid")
    early = sd14.extract(pixels, layers, ("v",))
    assert set(seen) == {"up0", "up1"}
    whole = sd14.extract(pixels, [*layers, sd14.layers[-1]], ("v",))
    assert set(seen) == {"up0", "up1", "up2"}
    for handle in handles:
        handle.remove()
    name = layers[0].name
    assert torch.equal(early.layers[name]["v"], whole.layers[name]["v"])
    assert early.grid == (2, 2) and whole.grid == (16, 16)
    assert early.final.shape == (2, 4, 64) and whole.final.shape == (2, 256, 64)
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in sd14._denoiser.modules()) == 0


def test_models_with_more_inputs_than_an_image_are_refused() -> None:
    inpainting = small.unet(in_channels=9)
    text = pipeline_of(torch.randn(1, 77, small.WIDTH))
    with pytest.raises(ModelError, match=r"small.*9 channels.*4"):
        wrap(inpainting, text)
    with pytest.raises(ModelError, match="class_embed_type 'timestep'"):
        wrap(small.unet(class_embed_type="timestep"), text)
    with pytest.raises(ModelError, match=r"denoiser is a Linear.*hook_attention"):
        encode(text, nn.Linear(1, 1), "", "odd")
