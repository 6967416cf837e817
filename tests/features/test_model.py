"""Loading by name: local checkpoints in many wrappings, unknown names, damaged files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from spectral_graph.errors import ModelError, WeightsError
from spectral_graph.features import load_model
from spectral_graph.features.checkpoint import fill, read_checkpoint
from spectral_graph.features.model import VisionModel

timm = pytest.importorskip("timm")

NAME = "vit_tiny_patch16_224"

State = dict[str, torch.Tensor]


def random_model(name: str = NAME, **options: object) -> nn.Module:
    torch.manual_seed(11)
    model = timm.create_model(name, dynamic_img_size=True, **options).eval()
    for block in model.blocks:
        nn.init.normal_(block.attn.qkv.bias)
    return model


@pytest.fixture(scope="module")
def original() -> nn.Module:
    return random_model(num_classes=10)


def assert_same(model: VisionModel, original: nn.Module) -> None:
    """The loaded model computes the final tokens of the one whose weights were saved."""
    side = 2 * model.patch
    pixels = torch.randint(0, 256, (1, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    x = (pixels.permute(0, 3, 1, 2) / 255 - torch.tensor(model.mean).view(3, 1, 1)) / torch.tensor(model.std).view(
        3, 1, 1
    )
    with torch.inference_mode():
        expected = original.forward_features(x)[:, original.num_prefix_tokens :]
    torch.testing.assert_close(model.extract(pixels, (), ()).final, expected, rtol=1e-5, atol=1e-5)


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


WRAPPINGS: dict[str, Callable[[State], object]] = {
    "plain": lambda s: s,
    "model": lambda s: {"model": s, "epoch": 3},
    "state_dict": lambda s: {"state_dict": s, "optimizer": {"lr": 0.1}},
    "nested": lambda s: {"model": {"state_dict": s}},
    "data_parallel": lambda s: {"state_dict": prefixed(s, "module.")},
    "compiled": lambda s: prefixed(s, "_orig_mod.module."),
    "dino": lambda s: {
        "student": {},
        "teacher": prefixed(s, "module.backbone.") | {"module.head.mlp.0.weight": torch.zeros(3, 3)},
    },
    "backbone": lambda s: prefixed(s, "backbone.") | {"mask_token": torch.zeros(1, 192)},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrappings(tmp_path: Path, wrapping: str) -> None:
    source, target = (timm.create_model(NAME, depth=1, num_classes=classes) for classes in (10, 0))
    torch.save(WRAPPINGS[wrapping](source.state_dict()), tmp_path / "weights.pth")
    fill(target, read_checkpoint(tmp_path / "weights.pth"), "file")
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name]), name


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_suffixes_of_torch(tmp_path: Path, suffix: str) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / f"weights{suffix}")
    assert torch.equal(read_checkpoint(tmp_path / f"weights{suffix}")["weight"], torch.ones(2))


def test_a_torch_checkpoint(tmp_path: Path, original: nn.Module) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model": original.state_dict()}, path)
    model = load_model(NAME, path)
    assert_same(model, original)
    assert model.weights.source == "file weights.pth"
    assert model.weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_safetensors(tmp_path: Path, original: nn.Module) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(original.state_dict(), path)
    assert_same(load_model(f"{NAME}.augreg_in21k", path), original)


def test_names_of_the_original_authors(tmp_path: Path) -> None:
    """DINOv2 with registers as its authors store it: other names, positions with the class token's."""
    name = "vit_small_patch14_reg4_dinov2"
    original = random_model(name, num_classes=0)
    state = original.state_dict()
    class_position = torch.randn(1, 1, 384)
    state["pos_embed"] = torch.cat([class_position, state["pos_embed"]], dim=1)
    state["cls_token"] = state["cls_token"] - class_position
    state["register_tokens"] = state.pop("reg_token")
    state["mask_token"] = torch.zeros(1, 384)
    torch.save(state, tmp_path / "dinov2.pth")
    assert_same(load_model(name, tmp_path / "dinov2.pth"), original)


def test_layer_scale_of_deit3(tmp_path: Path) -> None:
    original = random_model("deit3_small_patch16_224", num_classes=0)
    state = {re.sub(r"ls(\d)\.gamma", r"gamma_\1", name): value for name, value in original.state_dict().items()}
    assert "blocks.0.gamma_1" in state
    torch.save({"model": state}, tmp_path / "deit3.pth")
    assert_same(load_model("deit3_small_patch16_224", tmp_path / "deit3.pth"), original)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("vit_tiny_patch16_224", 96),
        ("deit_tiny_distilled_patch16_224", 96),
        ("flexivit_small", 192),
        ("eva02_tiny_patch14_224", 112),
        ("vit_tiny_patch16_dinov3_qkvb", 128),
    ],
)
def test_positions_of_another_size_as_timm_loads_them(tmp_path: Path, name: str, size: int) -> None:
    """The same tensors as timm's own loading of the same checkpoint gives."""
    try:
        state = timm.create_model(name, img_size=size).state_dict()
    except RuntimeError as error:
        pytest.skip(f"the installed timm has no {name}: {error}")
    torch.save(state, tmp_path / "weights.pth")
    overlay = {"state_dict": dict(state), "num_classes": 1000}
    expected = timm.create_model(name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay).state_dict()
    found = load_model(name, tmp_path / "weights.pth")._model.state_dict()
    assert set(found) == set(expected)
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=0)


def test_weights_of_another_model_are_refused(tmp_path: Path, original: nn.Module) -> None:
    path = tmp_path / "weights.pth"
    state = original.state_dict()
    del state["blocks.3.attn.qkv.weight"], state["norm.bias"]
    state["blocks.3.attn.to_q.weight"] = torch.zeros(2)
    torch.save(state, path)
    with pytest.raises(WeightsError) as error:
        load_model(NAME, path)
    for part in (str(path), "2 missing", "norm.bias", "blocks.3.attn.qkv.weight", "1 unexpected: blocks.3.attn.to_q"):
        assert part in str(error.value)
    torch.save(original.state_dict(), path)
    with pytest.raises(WeightsError, match=r"\(1.*1.*192\).*\(1.*1.*384\).*`model`"):
        load_model("vit_small_patch16_224", path)


def test_long_lists_are_cut() -> None:
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(9)])
    with pytest.raises(WeightsError, match=r"18.*0\.weight.*0\.bias.*1\.weight.*15"):
        fill(model, {}, "nowhere")


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (str(self.path),)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"model": Evil(tmp_path / "touched")}, path)
    with pytest.raises(WeightsError, match=r"evil\.pth"):
        read_checkpoint(path)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_damaged_files_are_refused(tmp_path: Path, suffix: str, content: bytes | None) -> None:
    path = tmp_path / f"damaged{suffix}"
    if content is None:  # a file cut short
        state = {"weight": torch.randn(100, 100)}
        save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
        content = path.read_bytes()[:-5000]
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=re.escape(str(path))):
        load_model(NAME, path)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], "text", {"model": {"step": 1}}])
def test_files_without_tensors_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "empty.pth")
    with pytest.raises(WeightsError, match=r"empty\.pth"):
        read_checkpoint(tmp_path / "empty.pth")


def test_missing_files_and_other_kinds_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pth", tmp_path):
        with pytest.raises(FileNotFoundError, match="`weights`"):
            load_model(NAME, path)
    for name in ("weights.npz", "weights"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(WeightsError, match=r"\.safetensors, \.pth"):
            load_model(NAME, tmp_path / name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_smal_patch14_dinov2", "vit_small_patch14_dinov2"),
        ("focus_vit14", "focus_vits14"),
        ("vit_small_patch14_dinov2.nothing", "'nothing'.*lvd142m"),
        ("hf-hub:timm/vit_tiny_patch16_224", "hf-hub:timm"),
        ("", "focus_vits14"),
        ("resnet18", "resnet18.*focus_vits14"),
        ("swin_tiny_patch4_window7_224", "swin_tiny.*focus_vits14"),
        ("vit_relpos_small_patch16_224", "vit_relpos.*focus_vits14"),
        ("convnext_tiny", "convnext_tiny.*focus_vits14"),
    ],
)
def test_names_that_cannot_be_used(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(name)
