"""`--device`: where models run; errors for unknown devices and too little memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from spectral_graph.cli.commands import main
from spectral_graph.cli.info import describe
from spectral_graph.config import make_config
from spectral_graph.distributed.join import local_rank
from spectral_graph.errors import ConfigError, DeviceMemoryError
from spectral_graph.features import load_model
from spectral_graph.features.device import describe_device, find_device, reporting_full_memory
from spectral_graph.features.model import Extraction
from spectral_graph.features.store import FeatureStore
from spectral_graph.features.vit import VisionTransformerFeatures
from spectral_graph.per_image.options import make_image_config
from spectral_graph.pipeline import run_pipeline
from spectral_graph.progress import Reporter
from spectral_graph.runs.facts import run_facts

MODEL = "vit_tiny_patch16_224"
QUIET = Reporter(quiet=True)
no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let torch find as many GPUs as the test says."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU of kind {device.index}")

    return pretend


def flags(options: dict[str, Any]) -> list[str]:
    return [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def test_a_name_becomes_a_device(gpus: Any) -> None:
    gpus(2)
    assert find_device("cpu", 5) == torch.device("cpu")
    assert find_device("cuda:1") == torch.device("cuda", 1)
    assert [find_device("cuda", process).index for process in range(5)] == [0, 1, 0, 1, 0]
    assert describe_device(find_device("cuda:1")) == "cuda:1 (GPU of kind 1)"
    with pytest.raises(ConfigError, match=r"`device=cuda:2`.*0.*1"):
        find_device("cuda:2")


def test_processes_of_a_machine_are_counted() -> None:
    assert local_rank({}) == 0
    assert local_rank({"WORLD_SIZE": "8", "LOCAL_RANK": "3", "RANK": "7"}) == 3
    assert local_rank({"WORLD_SIZE": "1", "LOCAL_RANK": "3"}) == 0


@pytest.mark.parametrize("name", ["gpu0", "mps", "cuda:x", "cuda:-1", "", "cuda:99999"])
def test_unknown_device_raises_config_error(name: str) -> None:
    for make in (make_config, make_image_config):
        with pytest.raises(ConfigError, match=f"`device={name}`.*cuda:N"):
            make({"device": name})
    with pytest.raises(ConfigError, match=f"`device={name}`"):
        find_device(name)


@pytest.mark.parametrize("command", ["build", "image"])
def test_missing_gpu_raises_before_anything_is_written(
    command: str, gpus: Any, options: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpus(0)
    out = tmp_path / "out"
    given = flags(options) if command == "build" else [str(options["root"] / "images")]
    assert main([command, *given, "--device", "cuda:1", "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert "--device cuda:1" in message and "leave --device out" in message
    assert not out.exists()


def test_out_of_memory_raises_device_memory_error() -> None:
    device = torch.device("cuda", 0)
    raised = pytest.raises(DeviceMemoryError, match=r"cuda:0.*a thing.*2\.00 GiB.*shrink it.*`device=cpu`")
    with raised, reporting_full_memory(device, "a thing", "shrink it"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity ...")
    raised = pytest.raises(DeviceMemoryError, match="a thing; shrink it")
    with raised, reporting_full_memory(device, "a thing", "shrink it"):
        raise torch.OutOfMemoryError("no more")
    with pytest.raises(RuntimeError, match="another"), reporting_full_memory(device, "a thing", "shrink it"):
        raise RuntimeError("another error")


def state_of(out: Path, stage: str) -> str:
    """Return the state of a stage of a run."""
    (found,) = (record["state"] for record in run_facts(out)["stages"] if record["stage"] == stage)
    return found


@pytest.fixture
def one_image_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models run out of memory with two images at a time."""
    extract = VisionTransformerFeatures.extract

    def limited(self: VisionTransformerFeatures, pixels: torch.Tensor, *more: Any, **options: Any) -> Extraction:
        if len(pixels) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return extract(self, pixels, *more, **options)

    monkeypatch.setattr(VisionTransformerFeatures, "extract", limited)


@pytest.mark.usefixtures("one_image_fits")
def test_too_large_a_batch_names_the_option(options: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(DeviceMemoryError, match=r"2.*80.*80.*`image_batch=1`.*`force=extract`"):
        run_pipeline(make_config(options), out, until="extract", reporter=QUIET)
    smaller = make_config({**options, "image_batch": 1})
    run_pipeline(smaller, out, until="extract", force="extract", reporter=QUIET)
    assert state_of(out, "extract") == "complete"


@pytest.mark.usefixtures("one_image_fits")
def test_too_many_photos_at_a_time_name_the_option(
    model_weights: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["image", str(folder / "images"), "--out", str(tmp_path / "out"), "--model", MODEL, "--size", "64"]
    call += ["--weights", str(model_weights), "--kmeans-init", "1", "--channels", "6"]
    assert main([*call, "--batch", "3"]) == 2
    message = capsys.readouterr().err
    assert "3 photos of 64 x 64" in message and "--batch 1 and --force" in message
    assert main([*call, "--batch", "1", "--force"]) == 0


def test_run_records_its_device_and_resumes_on_another(options: dict[str, Any], gpus: Any, tmp_path: Path) -> None:
    gpus(0)
    out = tmp_path / "run"
    run_pipeline(make_config({**options, "device": "cpu"}), out, until="extract", reporter=QUIET)
    found = run_facts(out)["input"]
    assert found is not None and found["device"] == "cpu" and found["layers"] == ["blocks.2", "blocks.5"]
    assert f"{MODEL} on cpu" in describe(out)
    assert json.loads((out / "images.json").read_text())["model"]["device"] == "cpu"
    # A run whose features are extracted needs no device.
    run_pipeline(make_config({**options, "device": "cuda"}), out, until="graph", reporter=QUIET)
    assert state_of(out, "graph") == "complete"
    with pytest.raises(ConfigError, match="`device=cuda`"):
        run_pipeline(make_config({**options, "device": "cuda"}), out, force="extract", reporter=QUIET)
    assert state_of(out, "graph") == "complete"


def test_photos_that_are_done_are_kept_with_another_device(
    model_weights: Path, folder: Path, gpus: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    call = ["image", str(folder / "images"), "--out", str(out), "--model", MODEL, "--size", "64", "--quiet"]
    call += ["--weights", str(model_weights), "--kmeans-init", "1", "--channels", "6"]
    assert main(call) == 0
    record = json.loads((out / "00" / "result.json").read_text())
    assert record["model"]["device"] == "cpu" and "device" not in record["options"]
    gpus(1)
    assert main([*call, "--device", "cuda"]) == 0


@no_gpu
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_features_of_a_gpu_are_those_of_the_cpu(model_weights: Path, dtype: str) -> None:
    pixels = torch.randint(0, 256, (3, 96, 128, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = []
    for device in ("cpu", "cuda"):
        model = load_model(
            MODEL, model_weights, device=device, dtype=getattr(torch, dtype if device == "cuda" else "float32")
        )
        found.append(model.extract(pixels, model.layers, ("q", "k", "v")).cpu())
    tolerance = {"rtol": 1e-3, "atol": 2e-4} if dtype == "float32" else {"rtol": 2e-2, "atol": 5e-2}
    for layer, expected in found[0].layers.items():
        torch.testing.assert_close(found[1].layers[layer], expected, **tolerance)
    torch.testing.assert_close(found[1].final, found[0].final, **tolerance)


@no_gpu
def test_a_run_on_a_gpu_stores_the_features_of_the_cpu(options: dict[str, Any], tmp_path: Path) -> None:
    stored = []
    for device in ("cpu", "cuda"):
        out = run_pipeline(
            make_config({**options, "device": device}), tmp_path / device, until="extract", reporter=QUIET
        )
        store = FeatureStore.open(out / "features.zarr")
        stored.append([np.asarray(store.read("blocks.5", name, [0, 6]), np.float32) for name in ("q", "k", "v")])
        assert (run_facts(out)["input"] or {})["device"] == device
    np.testing.assert_allclose(*stored, rtol=1e-2, atol=1e-2)


@no_gpu
@pytest.mark.parametrize("solver", ["exact", "adam"])
def test_photos_on_a_gpu_have_the_eigenvectors_of_the_cpu(
    solver: str, model_weights: Path, folder: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (80, 80), (9, 9, 9)).save(folder / "images" / "flat.png")
    found = []
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        call = ["image", str(folder / "images"), "--out", str(out), "--model", MODEL, "--size", "64"]
        call += ["--device", device]
        call += ["--weights", str(model_weights), "--kmeans-init", "1", "--channels", "6", "--quiet"]
        assert main([*call, "--solver", solver, "--steps", "50"]) == 0
        found.append(np.load(out / "00" / "result.npz")["eigenvalues"])
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-3)
