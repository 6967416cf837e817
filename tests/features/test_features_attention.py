"""q, k and v of tapped layers against those that the attention kernel really received."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from spectral_graph.errors import ModelError
from spectral_graph.features.attention import TENSORS, AttentionTap, check_attention, reproduce

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


def run(model: nn.Module, size: int, taps: list[AttentionTap]) -> list[torch.Tensor]:
    outputs: list[torch.Tensor] = []
    handles = [
        block.attn.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
        for block in model.blocks
    ]
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for tap in taps:
            tap.__enter__()
        model.forward_features(pixels)
        for tap in taps:
            tap.__exit__(None, None, None)
    for handle in handles:
        handle.remove()
    return outputs


def build(case: str) -> tuple[nn.Module, int]:
    name, options = ARCHITECTURES[case]
    try:
        model = timm.create_model(name, **SMALL, **options)
    except RuntimeError as error:
        pytest.skip(f"the installed timm has no {name}: {error}")
    return sharpen(model), options["img_size"]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("case", ARCHITECTURES)
def test_output_follows_from_tapped_tensors(case: str, fused: bool) -> None:
    model, size = build(case)
    for block in model.blocks:
        block.attn.fused_attn = fused
    taps = [AttentionTap(block.attn, f"blocks.{i}") for i, block in enumerate(model.blocks)]
    outputs = run(model, size, taps)
    for block, tap, output in zip(model.blocks, taps, outputs, strict=True):
        with torch.inference_mode():
            found = reproduce(block.attn, **tap.values, gate=tap.gate)
        torch.testing.assert_close(found, output, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", ARCHITECTURES)
def test_tensors_are_those_the_kernel_receives(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, size = build(case)
    received: list[tuple[torch.Tensor, ...]] = []
    kernel = functional.scaled_dot_product_attention

    def spy(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: object) -> torch.Tensor:
        received.append(tuple(t.clone() for t in (q, k, v)))
        return kernel(q, k, v, **options)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", spy)
    for block in model.blocks:
        block.attn.fused_attn = True
    taps = [AttentionTap(block.attn, f"blocks.{i}") for i, block in enumerate(model.blocks)]
    run(model, size, taps)
    assert len(received) == len(taps)
    for tap, tensors in zip(taps, received, strict=True):
        for name, tensor in zip(TENSORS, tensors, strict=True):
            batch, _heads, tokens, _width = tensor.shape
            merged = tensor.permute(0, 2, 1, 3).reshape(batch, tokens, -1)
            torch.testing.assert_close(tap.values[name], merged, rtol=1e-5, atol=1e-5)


def test_plain_projection_against_numpy() -> None:
    from timm.layers import Attention

    torch.manual_seed(0)
    module = Attention(24, num_heads=4, qkv_bias=True).eval()
    inputs = torch.randn(2, 7, 24)
    with torch.no_grad(), AttentionTap(module, "blocks.0", skip=2) as tap:
        output = module(inputs).numpy()
    weight, bias = module.qkv.weight.detach().numpy(), module.qkv.bias.detach().numpy()
    q, k, v = np.split(inputs.numpy() @ weight.T + bias, 3, axis=-1)
    for name, expected in zip(TENSORS, (q, k, v), strict=True):
        np.testing.assert_allclose(tap.values[name].numpy(), expected[:, 2:], atol=1e-5)
    merged = np.zeros((2, 7, 24), np.float32)
    for image in range(2):
        for head in range(4):
            columns = slice(6 * head, 6 * head + 6)
            scores = q[image][:, columns] @ k[image][:, columns].T / np.sqrt(6)
            weights = np.exp(scores - scores.max(1, keepdims=True))
            merged[image][:, columns] = weights / weights.sum(1, keepdims=True) @ v[image][:, columns]
    expected = merged @ module.proj.weight.detach().numpy().T + module.proj.bias.detach().numpy()
    np.testing.assert_allclose(output, expected, atol=1e-5)


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
    with torch.no_grad(), AttentionTap(module, "blocks.0") as tap:
        output = module(inputs, rope=rope)
        assert all(tap.values[name].shape == (2, 13, 32) for name in TENSORS)
        torch.testing.assert_close(reproduce(module, **tap.values, gate=tap.gate), output, rtol=1e-4, atol=1e-4)
        # The proof has teeth: unrotated queries do not give the output.
        with AttentionTap(module, "blocks.0") as plain:
            module(inputs)
        wrong = reproduce(module, plain.values["q"], tap.values["k"], tap.values["v"], gate=tap.gate)
        assert (wrong - output).abs().max() > 1e-2


def test_eva_with_a_separate_bias() -> None:
    from timm.models.eva import EvaAttention

    torch.manual_seed(0)
    module = EvaAttention(32, num_heads=4, qkv_bias_separate=True, norm_layer=nn.LayerNorm).eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    with torch.no_grad(), AttentionTap(module, "blocks.0") as tap:
        output = module(torch.randn(1, 9, 32))
        torch.testing.assert_close(reproduce(module, **tap.values), output, rtol=1e-4, atol=1e-4)


def test_only_the_tensors_asked_for_and_no_hook_left() -> None:
    from timm.layers import Attention

    module = Attention(24, num_heads=4).eval()
    with pytest.raises(RuntimeError, match="shape"), AttentionTap(module, "blocks.0") as tap:
        module(torch.zeros(1, 5, 23))
    assert tap.values == {}
    with AttentionTap(module, "blocks.0", ("v",)) as tap:
        module(torch.zeros(1, 5, 24))
    assert set(tap.values) == {"v"}
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in module.modules())


def test_half_precision_gives_float32() -> None:
    from timm.layers import Attention

    module = Attention(24, num_heads=4).to(torch.bfloat16).eval()
    with torch.no_grad(), AttentionTap(module, "blocks.0") as tap:
        module(torch.ones(1, 5, 24, dtype=torch.bfloat16))
    assert {tensor.dtype for tensor in tap.values.values()} == {torch.float32}


class Convolution(nn.Module):
    """Not an attention."""


class Nameless(nn.Module):
    """Attention whose projection cannot be recognised."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.scale = 2, 1.0
        self.q_norm = self.k_norm = nn.Identity()
        self.proj = nn.Linear(4, 4)
        self.to_everything = nn.Linear(4, 12)


@pytest.mark.parametrize(("module", "lack"), [(Convolution(), "q_norm"), (Nameless(), "qkv")])
def test_unknown_attention_is_refused_by_name(module: nn.Module, lack: str) -> None:
    with pytest.raises(ModelError, match=rf"blocks\.3.*{type(module).__name__}.*{lack}"):
        check_attention(module, "blocks.3")
    with pytest.raises(ModelError):
        AttentionTap(module, "blocks.3")
