"""Extraction from whole models, against the model run by hand."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spectral_graph.errors import ModelError, WeightsError
from spectral_graph.features.model import LayerInfo, VisionModel, WeightsInfo
from spectral_graph.features.timm_model import create, wrap
from spectral_graph.features.vit import VisionTransformerFeatures

timm = pytest.importorskip("timm")

RANDOM = WeightsInfo("random numbers")


def small(name: str = "vit_tiny_patch16_224", **options: object) -> nn.Module:
    torch.manual_seed(3)
    return timm.create_model(name, num_classes=0, depth=3, dynamic_img_size=True, **options)


@cache
def shallow() -> VisionTransformerFeatures:
    return wrap(small(), "vit_tiny_patch16_224", RANDOM)


def photo(batch: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * width + batch)
    return torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8, generator=generator)


def hooks(model: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules())


@pytest.fixture(scope="module")
def tiny() -> VisionTransformerFeatures:
    return wrap(small(), "vit_tiny_patch16_224", RANDOM)


def test_describes_itself(tiny: VisionTransformerFeatures) -> None:
    model: VisionModel = tiny
    assert model.patch == 16
    assert model.layers == tuple(LayerInfo(f"blocks.{index}", index, 3, 192, 16) for index in range(3))
    assert model.mean == model.std == (0.5, 0.5, 0.5)
    assert (model.weights, model.note, tiny.width) == (RANDOM, "", 192)
    assert model.select_layers("last:1") == (tiny.layers[2],)
    assert tiny.device == torch.device("cpu")


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2", "deit_tiny_distilled_patch16_224"]
)
def test_extraction_equals_the_blocks_run_by_hand(name: str) -> None:
    module = small(name)
    model = wrap(module, name, RANDOM)
    patch = model.patch
    pixels = photo(2, 3 * patch, 5 * patch)
    found = model.extract(pixels, model.layers, {"q", "k", "v"})
    assert found.grid == (3, 5) == model.grid(3 * patch, 5 * patch)

    x = (pixels.double().numpy() / 255 - np.array(model.mean)) / np.array(model.std)
    with torch.no_grad():
        tokens = module._pos_embed(module.patch_embed(torch.tensor(x.transpose(0, 3, 1, 2), dtype=torch.float32)))
        prefix = tokens.shape[1] - 15
        for index, block in enumerate(module.blocks):
            inputs = block.norm1(tokens)
            qkv = inputs @ block.attn.qkv.weight.T + block.attn.qkv.bias
            for name, expected in zip("qkv", qkv.split(qkv.shape[2] // 3, dim=2), strict=True):
                tensor = found.layers[f"blocks.{index}"][name]
                assert tensor.dtype == torch.float32
                assert tensor.is_contiguous()
                torch.testing.assert_close(tensor, expected[:, prefix:], rtol=1e-4, atol=1e-5)
            tokens = block(tokens)
        torch.testing.assert_close(found.final, module.norm(tokens)[:, prefix:], rtol=1e-4, atol=1e-5)


def test_final_of_a_model_with_its_norm_behind_the_pooling() -> None:
    module = small("eva02_tiny_patch14_224")
    assert isinstance(module.norm, nn.Identity)
    module.fc_norm.weight.data.uniform_(0.5, 2)
    model = wrap(module, "eva02_tiny_patch14_224", RANDOM)
    found = model.extract(photo(1, 28, 42), (), ())
    final = (found.final - module.fc_norm.bias) / module.fc_norm.weight
    torch.testing.assert_close(final.mean(2), torch.zeros(1, 6), atol=1e-4, rtol=0)
    torch.testing.assert_close(final.std(2, correction=0), torch.ones(1, 6), atol=1e-2, rtol=0)
    assert found.layers == {}


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_rows_are_patches_in_row_major_order(data: st.DataObject) -> None:
    """In the first block a value depends on its own patch only: changing one patch changes one row."""
    model = shallow()
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    pixels = photo(1, 16 * rows, 16 * columns)
    changed = pixels.clone()
    changed[0, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] ^= 128
    first = model.layers[:1]
    before, after = (model.extract(p, first, {"v"}).layers["blocks.0"]["v"][0] for p in (pixels, changed))
    moved = ((before - after).abs().amax(1) > 1e-4).nonzero().flatten().tolist()
    assert moved == [row * columns + column]


def test_a_batch_equals_its_images(tiny: VisionTransformerFeatures) -> None:
    pixels = photo(5, 64, 96)
    together = tiny.extract(pixels, tiny.layers, {"q", "k", "v"})
    for image in range(5):
        alone = tiny.extract(pixels[image : image + 1], tiny.layers, {"q", "k", "v"})
        torch.testing.assert_close(together.final[image], alone.final[0], rtol=1e-5, atol=1e-5)
        for layer, tensors in alone.layers.items():
            for name, tensor in tensors.items():
                torch.testing.assert_close(together.layers[layer][name][image], tensor[0], rtol=1e-5, atol=1e-5)


def test_the_same_input_gives_the_same_bits(tiny: VisionTransformerFeatures) -> None:
    state = torch.random.get_rng_state()
    first, second = (tiny.extract(photo(2, 48, 64), tiny.layers, {"q", "v"}) for _ in range(2))
    assert torch.equal(first.final, second.final)
    for layer in first.layers:
        assert set(first.layers[layer]) == {"q", "v"}
        assert all(torch.equal(first.layers[layer][name], second.layers[layer][name]) for name in ("q", "v"))
    assert torch.equal(state, torch.random.get_rng_state())


def test_results_may_be_changed_in_place_and_share_nothing(tiny: VisionTransformerFeatures) -> None:
    found = tiny.extract(photo(1, 32, 32), tiny.layers[:1], {"q", "k", "v"})
    tensors = [*found.layers["blocks.0"].values(), found.final]
    for tensor in tensors:
        assert not tensor.is_inference()
        assert not tensor.requires_grad
        assert tensor.untyped_storage().nbytes() == tensor.numel() * 4
        tensor -= tensor.mean(1, keepdim=True)
    assert len({tensor.data_ptr() for tensor in tensors}) == 4


def test_training_mode_has_no_effect() -> None:
    module = small(drop_path_rate=0.5, proj_drop_rate=0.5)
    model = wrap(module, "vit_tiny_patch16_224", RANDOM)
    first = model.extract(photo(1, 32, 32), (), ()).final
    module.train()
    assert torch.equal(model.extract(photo(1, 32, 32), (), ()).final, first)


def test_hooks_are_removed_even_after_an_error() -> None:
    module = small()
    model = wrap(module, "vit_tiny_patch16_224", RANDOM)
    assert hooks(module) == 0
    model.extract(photo(1, 32, 32), model.layers, {"v"})
    assert hooks(module) == 0
    module.blocks[2].mlp = nn.Linear(1, 1)
    with pytest.raises(RuntimeError):
        model.extract(photo(1, 32, 32), model.layers, {"v"})
    assert hooks(module) == 0


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (torch.zeros(1, 32, 40, 3, dtype=torch.uint8), r"32 x 40.*16 pixels.*32 x 32"),
        (torch.zeros(1, 0, 32, 3, dtype=torch.uint8), r"0 x 32.*16 x 32"),
        (torch.zeros(1, 32, 32, 3), "float32.*uint8"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), r"\(1, 3, 32, 32\).*\(B, H, W, 3\)"),
        (torch.zeros(32, 32, 3, dtype=torch.uint8), r"\(B, H, W, 3\)"),
        (torch.zeros(0, 32, 32, 3, dtype=torch.uint8), r"\(B, H, W, 3\)"),
    ],
)
def test_bad_pixels_are_refused(tiny: VisionTransformerFeatures, pixels: torch.Tensor, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        tiny.extract(pixels, tiny.layers, {"v"})


def test_foreign_layers_and_tensors_are_refused(tiny: VisionTransformerFeatures) -> None:
    with pytest.raises(ModelError, match=r"blocks\.9"):
        tiny.extract(photo(1, 32, 32), [LayerInfo("blocks.9", 9, 3, 192, 16)], {"v"})
    with pytest.raises(ModelError, match=r"w.*q, k, v"):
        tiny.extract(photo(1, 32, 32), tiny.layers, {"w", "v"})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_dwee_patch16_reg1_gap_256", r"blocks\.0.*DiffAttention"),
        ("vit_dpwee_patch16_reg1_gap_256", r"blocks\.0.*DiffParallelScalingBlock"),
    ],
)
def test_attention_that_is_not_plain_is_refused(name: str, message: str) -> None:
    try:
        module = small(name)
    except RuntimeError as error:
        pytest.skip(f"the installed timm has no {name}: {error}")
    with pytest.raises(ModelError, match=message):
        wrap(module, name, RANDOM)
    assert hooks(module) == 0


def test_hidden_additions_to_attention_are_found() -> None:
    """A module that passes for plain attention but adds something is refused by the proof."""
    module = small()
    plain = module.blocks[1].attn
    plain.forward = lambda x, *_, inner=plain.forward, **options: inner(x, **options) + 0.1 * x
    with pytest.raises(ModelError, match=r"blocks\.1.*Attention"):
        wrap(module, "vit_tiny_patch16_224", RANDOM)


def test_a_model_without_fused_attention_is_read() -> None:
    """Such as timm makes where TIMM_FUSED_ATTN=0 is set."""
    module = small()
    for block in module.blocks:
        block.attn.fused_attn = False
    found = wrap(module, "vit_tiny_patch16_224", RANDOM).extract(photo(1, 32, 32), shallow().layers, ("q",))
    assert set(found.layers) == {"blocks.0", "blocks.1", "blocks.2"}


def test_a_block_whose_attention_runs_twice_is_refused() -> None:
    module = small()
    module.blocks[2].attn = module.blocks[1].attn
    with pytest.raises(ModelError, match=r"blocks\.[12].* 2 times"):
        wrap(module, "vit_tiny_patch16_224", RANDOM)
    assert hooks(module) == 0


def test_models_that_are_not_plain_vits_are_refused() -> None:
    with pytest.raises(ModelError, match="resnet18"):
        create("resnet18")
    with pytest.raises(ModelError, match=r"resnet18.*ResNet"):
        wrap(timm.create_model("resnet18"), "resnet18", RANDOM)
    with pytest.raises(ModelError, match="VisionTransformer"):
        wrap(timm.create_model("vit_tiny_patch16_224", depth=1), "vit_tiny_patch16_224", RANDOM)


def test_weights_with_nan_are_refused() -> None:
    module = small()
    module.blocks[1].mlp.fc1.weight.data[0, 0] = torch.nan
    with pytest.raises(WeightsError, match=r"random numbers.*NaN"):
        wrap(module, "vit_tiny_patch16_224", RANDOM)


def test_importing_the_package_does_not_import_timm() -> None:
    heavy = {"timm", "onnx", "huggingface_hub", "transformers", "diffusers"}
    code = f"import sys, spectral_graph.features; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
