"""q, k and v of timm's attention modules against their norms, rotations and outputs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spectral_graph.errors import ModelError
from spectral_graph.features.attention import TENSORS, AttentionTap
from spectral_graph.features.timm_model import attention_modules, reproduce

timm = pytest.importorskip("timm")

SMALL = {"num_classes": 0, "depth": 2}
ARCHITECTURES = {
    "vit_tiny": ("vit_tiny_patch16_224", {"img_size": 64}),
    "deit_distilled": ("deit_tiny_distilled_patch16_224", {"img_size": 64}),
    "deit3": ("deit3_small_patch16_224", {"img_size": 48}),
    "dinov2_registers": ("vit_small_patch14_reg4_dinov2", {"img_size": 56}),
    "clip": ("vit_base_patch16_clip_224", {"img_size": 48}),
    "siglip": ("vit_base_patch16_siglip_224", {"img_size": 48}),
    "mae": ("vit_base_patch16_224.mae", {"img_size": 48}),
    "eva02_tiny": ("eva02_tiny_patch14_224", {"img_size": 56}),
    "eva02_base_separate": ("eva02_base_patch14_224", {"img_size": 56}),
    "dinov3": ("vit_small_patch16_dinov3", {"img_size": 64}),
    "dinov3_biases": ("vit_small_patch16_dinov3_qkvb", {"img_size": 64}),
    "rope_mixed": ("vit_small_patch16_rope_mixed_224", {"img_size": 64}),
    "perception_encoder": ("vit_pe_core_tiny_patch16_384", {"img_size": 64}),
    "qk_norm": ("vit_tiny_patch16_224", {"img_size": 64, "qk_norm": True}),
    "scale_norm": ("vit_tiny_patch16_224", {"img_size": 64, "scale_attn_norm": True}),
}


def sharpen(model: nn.Module) -> nn.Module:
    """Give attention weights a size at which softmax is far from uniform and every bias and norm matters."""
    torch.manual_seed(7)
    for block in model.blocks:
        for name, parameter in block.attn.named_parameters():
            fan_in = parameter.shape[-1] if parameter.ndim > 1 else 1
            nn.init.normal_(parameter, std=1.5 * fan_in**-0.5 if parameter.ndim > 1 else 0.5)
            if "norm.weight" in name:
                parameter.data.abs_().add_(0.5)
    return model.eval()


def build(case: str) -> tuple[nn.Module, int]:
    name, options = ARCHITECTURES[case]
    try:
        model = timm.create_model(name, **SMALL, **options)
    except RuntimeError as error:
        pytest.skip(f"the installed timm has no {name}: {error}")
    return sharpen(model), options["img_size"]


def passed(model: nn.Module, size: int) -> tuple[AttentionTap, list[Any]]:
    """The tap after a forward pass, and what each block's attention took, normalised and gave."""
    modules = {f"blocks.{i}": block.attn for i, block in enumerate(model.blocks)}
    seen = [SimpleNamespace() for _ in modules]
    for record, module in zip(seen, modules.values(), strict=True):

        def keep(_module: Any, args: Any, kwargs: Any, output: Any, record: Any = record) -> None:
            record.inputs, record.rope, record.output = args[0], kwargs.get("rope"), output

        module.register_forward_hook(keep, with_kwargs=True)
        for name in ("q", "k"):
            norm = getattr(module, f"{name}_norm")
            norm.register_forward_hook(lambda _m, _a, output, r=record, n=name: setattr(r, n, output))
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode(), AttentionTap(modules) as tap:
        model.forward_features(pixels)
    return tap, seen


@pytest.mark.parametrize("case", ARCHITECTURES)
def test_output_follows_from_tapped_tensors(case: str) -> None:
    model, size = build(case)
    tap, seen = passed(model, size)
    for index, record in enumerate(seen):
        values = tap.only_call(f"blocks.{index}", case).values
        with torch.inference_mode():
            found = reproduce(model.blocks[index].attn, record.inputs, **values)
        torch.testing.assert_close(found, record.output, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", ARCHITECTURES)
def test_queries_and_keys_are_the_normalised_and_rotated_ones(case: str) -> None:
    """The outputs of `q_norm` and `k_norm`, rotated by the model's angles, bit for bit."""
    from timm.layers import apply_rot_embed_cat

    model, size = build(case)
    tap, seen = passed(model, size)
    for index, record in enumerate(seen):
        values, module = tap.only_call(f"blocks.{index}", case).values, model.blocks[index].attn
        for name in ("q", "k"):
            heads = getattr(record, name)
            if record.rope is not None:
                prefix = module.num_prefix_tokens
                turned = apply_rot_embed_cat(heads[:, :, prefix:], record.rope, half=module.rotate_half)
                heads = torch.cat([heads[:, :, :prefix], turned], dim=2)
            assert torch.equal(values[name], heads.transpose(1, 2).flatten(2))


def test_plain_projection_against_numpy() -> None:
    from timm.layers import Attention

    torch.manual_seed(0)
    module = Attention(24, num_heads=4, qkv_bias=True).eval()
    inputs = torch.randn(2, 7, 24)
    with torch.no_grad(), AttentionTap({"attn": module}, tokens=slice(2, None)) as tap:
        output = module(inputs).numpy()
    values = tap.only_call("attn", "numpy").values
    weight, bias = module.qkv.weight.detach().numpy(), module.qkv.bias.detach().numpy()
    q, k, v = np.split(inputs.numpy() @ weight.T + bias, 3, axis=-1)
    for name, expected in zip(TENSORS, (q, k, v), strict=True):
        np.testing.assert_allclose(values[name].numpy(), expected[:, 2:], atol=1e-5)
    merged = np.zeros((2, 7, 24), np.float32)
    for image in range(2):
        for head in range(4):
            columns = slice(6 * head, 6 * head + 6)
            scores = q[image][:, columns] @ k[image][:, columns].T / np.sqrt(6)
            weights = np.exp(scores - scores.max(1, keepdims=True))
            merged[image][:, columns] = weights / weights.sum(1, keepdims=True) @ v[image][:, columns]
    expected = merged @ module.proj.weight.detach().numpy().T + module.proj.bias.detach().numpy()
    np.testing.assert_allclose(output, expected, atol=1e-5)


def tapped(module: nn.Module, inputs: torch.Tensor, **options: Any) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    with AttentionTap({"attn": module}) as tap:
        output = module(inputs, **options)
    return tap.only_call("attn", "small").values, output


@pytest.mark.parametrize("options", [{"gated": True}, {"num_kv_heads": 2, "qkv_fused": False}, {"rotate_half": True}])
def test_attention_with_gate_grouped_queries_and_half_rotation(options: dict[str, object]) -> None:
    from timm.layers import AttentionRope, RotaryEmbeddingCat

    torch.manual_seed(0)
    try:
        module = AttentionRope(32, num_heads=4, qk_norm=True, norm_layer=nn.LayerNorm, **options).eval()
    except TypeError as error:
        pytest.skip(f"the installed timm has no such option: {error}")
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    rope = RotaryEmbeddingCat(8, feat_shape=(3, 4), in_pixels=False).get_embed()
    inputs = torch.randn(2, 1 + 12, 32)
    with torch.no_grad():
        values, output = tapped(module, inputs, rope=rope)
        assert all(values[name].shape == (2, 13, 32) for name in TENSORS)
        torch.testing.assert_close(reproduce(module, inputs, **values), output, rtol=1e-4, atol=1e-4)
        # Unrotated queries do not give the output.
        plain, _ = tapped(module, inputs)
        wrong = reproduce(module, inputs, plain["q"], values["k"], values["v"])
        assert (wrong - output).abs().max() > 1e-2


def test_eva_with_a_separate_bias() -> None:
    from timm.models.eva import EvaAttention

    torch.manual_seed(0)
    module = EvaAttention(32, num_heads=4, qkv_bias_separate=True, norm_layer=nn.LayerNorm).eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    inputs = torch.randn(1, 9, 32)
    with torch.no_grad():
        values, output = tapped(module, inputs)
        torch.testing.assert_close(reproduce(module, inputs, **values), output, rtol=1e-4, atol=1e-4)


def test_only_the_chosen_tensors_and_no_hook_left() -> None:
    from timm.layers import Attention

    module = Attention(24, num_heads=4).eval()
    with pytest.raises(RuntimeError, match="shape"), AttentionTap({"attn": module}) as tap:
        module(torch.zeros(1, 5, 23))
    assert tap.calls == {}
    with AttentionTap({"attn": module}, ("v",)) as tap:
        module(torch.zeros(1, 5, 24))
    assert set(tap.only_call("attn", "small").values) == {"v"}
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in module.modules())


def test_half_precision_gives_float32() -> None:
    from timm.layers import Attention

    module = Attention(24, num_heads=4).to(torch.bfloat16).eval()
    with torch.no_grad():
        values, _ = tapped(module, torch.ones(1, 5, 24, dtype=torch.bfloat16))
    assert {tensor.dtype for tensor in values.values()} == {torch.float32}


def test_layers_that_do_not_call_the_kernel_once_without_a_mask_are_refused() -> None:
    from timm.layers import Attention

    module = Attention(24, num_heads=4).eval()
    inputs = torch.zeros(1, 5, 24)
    with AttentionTap({"attn": module}) as tap:
        module(inputs, attn_mask=torch.eye(5, dtype=torch.bool))
    with pytest.raises(ModelError, match=r"small.*attn.*with a mask"):
        tap.only_call("attn", "small")
    module.fused_attn = False
    with AttentionTap({"attn": module}) as tap:
        module(inputs)
    with pytest.raises(ModelError, match=r"small.*attn.* 0 times"):
        tap.only_call("attn", "small")


class Convolution(nn.Module):
    """Not an attention."""


def test_blocks_without_attention_like_that_of_timm_are_refused() -> None:
    model = timm.create_model("vit_tiny_patch16_224", dynamic_img_size=True, **SMALL)
    model.blocks[1].attn = Convolution()
    with pytest.raises(ModelError, match=r"tiny.*blocks\.1.*Convolution.*num_heads"):
        attention_modules(model, "tiny")
