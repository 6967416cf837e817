"""Vision transformers of the transformers library, built from their own configurations with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from spectral_graph.errors import ModelError, WeightsError
from spectral_graph.features import load_model
from spectral_graph.features.transformers_model import TransformersFeatures

transformers = pytest.importorskip("transformers")

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 48,
    "patch_size": 8,
}
# Class, options, class and register tokens, and the projection behind the softmax.
CASES: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "dino": ("ViTModel", {}, 1, "o_proj"),
    "deit": ("DeiTModel", {}, 2, "o_proj"),
    "dinov2": ("Dinov2Model", {}, 1, "o_proj"),
    "dinov2_registers": ("Dinov2WithRegistersModel", {"num_register_tokens": 4}, 5, "o_proj"),
    "dinov3": ("DINOv3ViTModel", {"num_register_tokens": 4}, 5, "o_proj"),
    "mae": ("ViTMAEModel", {}, 1, "o_proj"),
    "clip": ("CLIPVisionModel", {}, 1, "out_proj"),
    "siglip": ("SiglipVisionModel", {}, 0, "out_proj"),
    "ijepa": ("IJepaModel", {}, 0, "o_proj"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each model as its library saves it."""
    root = tmp_path_factory.mktemp("transformers")
    for case, (name, options, *_) in CASES.items():
        torch.manual_seed(5)
        builder = getattr(transformers, name)
        model = builder(builder.config_class(**SIZES, **options))
        for key, parameter in model.named_parameters():
            # Far from uniform attention, and biases, positions and class tokens that matter.
            nn.init.normal_(parameter, std=1.3 * SIZES["hidden_size"] ** -0.5 if parameter.ndim == 2 else 0.5)
            if "norm" in key and "weight" in key:
                parameter.data.abs_().add_(0.5)
        model.save_pretrained(root / case)
    return {case: root / case for case in CASES}


def load(folder: Path) -> TransformersFeatures:
    model = load_model(str(folder))
    assert isinstance(model, TransformersFeatures)
    return model


def photo(height: int = 48, width: int = 48, batch: int = 2) -> torch.Tensor:
    return torch.randint(
        0, 256, (batch, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)
    )


def projection(module: Any) -> Any:
    names = [n for n, m in module.named_modules() if isinstance(m, nn.Linear)]
    behind = [n for n in names if n.rpartition(".")[2] in ("o_proj", "out_proj", "dense")]
    return module.get_submodule(behind[0]) if behind else None


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [(48, 48), (32, 72)])
def test_output_follows_from_q_k_and_v(folders: dict[str, Path], case: str, size: tuple[int, int]) -> None:
    """softmax(q k^T / sqrt(d)) v of all tokens, by plain products, is what enters the module's last projection."""
    model = load(folders[case])
    prefix = CASES[case][2]
    assert (model.prefix, model.patch, len(model.layers)) == (prefix, 8, 3)
    assert {(layer.heads, layer.dim, layer.stride) for layer in model.layers} == {(4, 32, 8)}
    seen: dict[str, torch.Tensor] = {}
    for layer in model.layers:
        module: Any = model._modules[layer.name]
        last = projection(module) or projection(model._modules[layer.name.rpartition(".")[0]])
        last.register_forward_hook(lambda _m, args, _o, name=layer.name: seen.__setitem__(name, args[0]))
    model.prefix = 0  # all tokens, as the softmax runs over all of them
    found = model.extract(photo(*size), model.layers)
    for layer in model.layers:
        values = found.layers[layer.name]
        q, k, v = (values[name].unflatten(-1, (4, 8)).transpose(1, 2) for name in ("q", "k", "v"))
        merged = ((q @ k.transpose(-1, -2) / 8**0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
        torch.testing.assert_close(merged, seen[layer.name], rtol=1e-4, atol=1e-4)
    model.prefix = prefix
    assert found.grid == (size[0] // 8, size[1] // 8)
    patches = model.extract(photo(*size), model.layers)
    for layer in model.layers:
        for name in ("q", "k", "v"):
            assert torch.equal(patches.layers[layer.name][name], found.layers[layer.name][name][:, prefix:])


@pytest.mark.parametrize("case", CASES)
def test_final_features_are_the_last_hidden_state(folders: dict[str, Path], case: str) -> None:
    name, _, prefix, _ = CASES[case]
    model = load(folders[case])
    reference = getattr(transformers, name).from_pretrained(folders[case]).eval()
    images = photo().permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (model.mean, model.std))
    images = (images - mean) / std
    with torch.inference_mode():
        if case == "mae":
            reference.config.mask_ratio = 0.0
            embedded = reference.embeddings.patch_embeddings(images) + reference.embeddings.position_embeddings[:, 1:]
            first = reference.embeddings.cls_token + reference.embeddings.position_embeddings[:, :1]
            tokens = torch.cat([first.expand(2, -1, -1), embedded], dim=1)
            for layer in reference.encoder.layer if hasattr(reference, "encoder") else reference.layers:
                tokens = layer(tokens)
                tokens = tokens[0] if isinstance(tokens, tuple) else tokens
            expected = reference.layernorm(tokens)
        else:
            expected = reference(images).last_hidden_state
            expected = reference.post_layernorm(expected) if case == "clip" else expected
    found = model.extract(photo(), (), ()).final
    torch.testing.assert_close(found, expected[:, prefix:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_rows_are_patches_in_row_major_order(folders: dict[str, Path], case: str) -> None:
    """In the first layer a value depends on its own patch only."""
    model = load(folders[case])
    first = model.layers[:1]
    pixels = photo(32, 40, 1)
    changed = pixels.clone()
    changed[0, 8:16, 24:32] ^= 128
    before, after = (model.extract(p, first, ("v",)).layers[first[0].name]["v"][0] for p in (pixels, changed))
    assert ((before - after).abs().amax(1) > 1e-4).nonzero().flatten().tolist() == [1 * 5 + 3]


def test_statistics_of_the_folder_have_precedence(folders: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(folders["clip"], tmp_path / "clip"))
    assert load(copy).mean == (0.48145466, 0.4578275, 0.40821073)
    (copy / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1]}))
    assert load(copy).mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(folders: dict[str, Path], dtype: torch.dtype) -> None:
    exact, half = load(folders["dinov3"]), load_model(str(folders["dinov3"]), dtype=dtype)
    name = exact.layers[0].name
    expected, found = (m.extract(photo(), m.layers[:1], ("q",)).layers[name]["q"] for m in (exact, half))
    assert found.dtype == torch.float32
    assert 0 < (found - expected).norm() < 0.05 * expected.norm()


def test_weights_are_recorded_and_alias_takes_a_folder(folders: dict[str, Path]) -> None:
    model = load_model("hf_dinov2_vits14", folders["dinov2"])
    assert model.name == "hf_dinov2_vits14"
    assert model.weights.source == "folder dinov2" and len(model.weights.sha256 or "") == 64
    again = load_model("transformers:facebook/dinov2-small", folders["dinov2"])
    assert again.weights.sha256 == model.weights.sha256


def test_unusable_folders_and_sizes_raise(folders: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(folders["dinov2"], tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 5}))
    with pytest.raises(WeightsError, match=r"copy.*Dinov2Model.*`model`"):
        load(copy)
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(ModelError, match=r"model_type 'bert'.*dinov3_vit"):
        load(copy)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty.*model_index\.json.*config\.json"):
        load_model(str(tmp_path / "empty"))
    model = load(folders["siglip"])
    with pytest.raises(ModelError, match=r"32 x 44.*8 pixels"):
        model.extract(photo(32, 44), (), ())
