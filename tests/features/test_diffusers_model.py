"""Diffusion models from folders of diffusers: loading, a whole run, refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from spectral_graph.errors import ModelError, WeightsError
from spectral_graph.features import load_model
from spectral_graph.features.diffusion import DiffusionFeatures

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import small_diffusion as small  # noqa: E402  needs the packages above


def test_the_prompt_reaches_the_denoiser(sd_folder: Path, sd14: DiffusionFeatures) -> None:
    told = load_model("sd14", sd_folder, prompt="a dog")
    assert isinstance(told, DiffusionFeatures)
    (a, b) = (m._conditioning.arguments(2, 64, 64)["encoder_hidden_states"] for m in (sd14, told))
    assert a.shape == b.shape == (2, 77, small.WIDTH)
    assert (a - b).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(sd_folder: Path, sd14: DiffusionFeatures, pixels: torch.Tensor, dtype: torch.dtype) -> None:
    half = load_model("sd14", sd_folder, dtype=dtype)
    assert isinstance(half, DiffusionFeatures)
    assert half._denoiser.dtype == dtype and half._vae.dtype == torch.float32
    exact = load_model("sd14", sd_folder)
    name = half.layers[6].name
    found, expected = (m.extract(pixels, m.layers[6:7], ("v",)).layers[name]["v"] for m in (half, exact))
    assert found.dtype == torch.float32
    assert (found - expected).norm() < 0.05 * expected.norm()


def test_run_from_a_saved_folder(
    sd_folder: Path, options: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from spectral_graph.cli.commands import main
    from spectral_graph.features.store import FeatureStore

    given = {
        **options,
        "model": "sd14",
        "weights": sd_folder,
        "layers": "mid,up[:6]",
        "size": "128",
        "image_batch": "3",
    }
    flags = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    out = tmp_path / "run"
    capfd.readouterr()
    assert main(["build", "--out", str(out), "--quiet", *flags]) == 0
    assert capfd.readouterr() == ("", "")
    table = json.loads((out / "images.json").read_text())
    assert table["grid"] == [8, 8] and len(table["layers"]) == 7
    assert table["model"]["name"] == "sd14" and len(table["model"]["weights"]["sha256"]) == 64
    assert (out / "report" / "index.html").is_file()
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["methods"]["vv"]["images_scored"] == 7
    store = FeatureStore.open(out / "features.zarr")
    middle = table["layers"][0]
    own, seen = store.read(middle, "v", [3], own_grid=True), store.read(middle, "v", [3])
    assert own.shape == (1, 4, 64) and seen.shape == (1, 64, 64)
    image = torch.from_numpy(own[0]).T.reshape(1, 64, 2, 2)
    expected = functional.interpolate(image, (8, 8), mode="bilinear").flatten(2)[0].T
    np.testing.assert_allclose(seen[0], expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(store.mean(middle, "v", [3]), seen[0].mean(axis=0), atol=2e-3)


def test_folders_of_other_things_are_refused(sd_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"sdxl.*StableDiffusionPipeline.*StableDiffusionXLPipeline.*`weights`"):
        load_model("sdxl", sd_folder)
    with pytest.raises(WeightsError, match=r"unet.*model_index\.json"):
        load_model("sd14", sd_folder / "unet")
    with pytest.raises(WeightsError, match=r"nowhere.*`weights`"):
        load_model("sd14", tmp_path / "nowhere")
    with pytest.raises(WeightsError, match=r"model_index\.json is a file.*`weights`"):
        load_model("sd14", sd_folder / "model_index.json")
    assert load_model(str(sd_folder)).name == str(sd_folder)


def test_damaged_folders_are_refused(sd_folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(sd_folder, copy)
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="copy"):
        load_model("sd14", copy)
    for path in copy.rglob("*.safetensors"):
        path.unlink()
    with pytest.raises(WeightsError, match=r"copy.*\.safetensors"):
        load_model("sd14", copy)


def test_missing_package_raises_model_error(sd_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ModelError, match=r"sd14.*pip install diffusers transformers"):
        load_model("sd14", sd_folder)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["sd14", "sd15@0123abc", "diffusers:nobody/nothing", "hf_dinov3_vits16"])
def test_offline_without_cache_raises_weights_error(name: str) -> None:
    with pytest.raises(WeightsError, match=r"HF_HUB_OFFLINE.*`weights=FOLDER`.*focus_vits14"):
        load_model(name)
