"""A diffusion model with four grids and noise, and the benchmark on photos."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[2]


def test_diffusion_model_is_the_mean_over_grids_heads_and_noise(tmp_path, monkeypatch):
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    import torch

    from spectral_graph.features import Noise, load_model
    from spectral_graph.per_image.forward import PhotoBatch, PhotoSolver
    from spectral_graph.per_image.options import make_image_config

    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "features")
    folder = importlib.import_module("small_diffusion").save_stable_diffusion(tmp_path / "sd")
    given = {"model": str(folder), "size": 64, "passes": 3, "normalisation": "random_walk", "channels": 4, "steps": 5}
    solver = PhotoSolver(make_image_config(given))
    assert solver.noisy and len(solver.layers) == 16
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    batch = PhotoBatch(solver, pixels, ["x", "y"])
    merged = batch.operator(1)
    assert merged.graphs == 3 * sum(layer.heads for layer in solver.layers)
    model = load_model(str(folder), noise=Noise(0, 500, 0))
    expected, grids = np.zeros((64, 64)), set()
    for draw in range(3):
        found = model.extract(torch.from_numpy(pixels[1:]), model.layers, ("q", "k"), [f"y/{draw}"])
        for layer in model.layers:
            h, w = found.grids[layer.name]
            grids.add((h, w))
            unit = torch.eye(64).view(64, 1, 8, 8)
            g = functional.interpolate(unit, size=(h, w), mode="bilinear", align_corners=False).view(64, -1).T
            g = g * (64 / (h * w)) ** 0.5
            q, k = (t[0].unflatten(-1, (layer.heads, -1)).transpose(0, 1) for t in found.layers[layer.name].values())
            walk = torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, dim=-1).sum(dim=0)
            expected += (g.T @ ((walk + walk.T) / 2) @ g).numpy()
    assert grids == {(8, 8), (4, 4), (2, 2), (1, 1)}
    np.testing.assert_allclose(merged.matrix(), expected / merged.graphs, atol=1e-5)
    again = PhotoSolver(make_image_config({**given, "solver": "adam", "reuse": 0.5}))
    first, second = (PhotoBatch(again, pixels, ["x", "y"]).solve(1)[0] for _ in range(2))
    assert first.vectors.shape == (64, 4)
    np.testing.assert_array_equal(first.vectors, second.vectors)


def test_benchmark_prints_both_tables(monkeypatch, tmp_path, capsys):
    data = ROOT.parent / "shared" / "data"
    if not (data / "voc2012").is_dir():
        pytest.skip("../shared/data is not there: the benchmark has no photos")
    pytest.importorskip("onnx")
    from spectral_graph.errors import WeightsError
    from spectral_graph.features.focus import packaged_file

    try:
        packaged_file()
    except WeightsError as error:
        pytest.skip(str(error))
    monkeypatch.syspath_prepend(ROOT)
    benchmark = importlib.import_module("benchmarks.per_image")
    monkeypatch.setitem(benchmark.SETS, "voc", ("voc2012", None, 2))
    tiny = ["--only", "voc", "--size", "112", "--adam", "1", "--adam-size", "70", "--steps", "3"]
    benchmark.main(["--data", str(data), *tiny, "--json", str(tmp_path / "out.json")])
    records = json.loads((tmp_path / "out.json").read_text())
    scored = [record for record in records if "method" in record]
    assert len(scored) == 5 and all(0 <= record["miou_whole"] <= 1 and record["photos"] == 2 for record in scored)
    compared = [record for record in records if "ratio" in record]
    assert [record["normalisation"] for record in compared] == ["random_walk", "symmetric"]
    for record in compared:
        assert record["ratio"] == pytest.approx(record["adam_s"] / record["exact_s"])
        assert record["adam_value"] <= record["exact_value"] + 1e-9
    assert "Ncut on final attention" in capsys.readouterr().out


def test_a_photo_keeps_its_shape_in_whole_patches(model_weights):
    from spectral_graph.per_image.forward import PhotoSolver
    from spectral_graph.per_image.options import make_image_config

    given = {"model": "vit_tiny_patch16_224", "weights": model_weights, "size": 224}
    solver = PhotoSolver(make_image_config(given))
    for width, height in ((640, 480), (30, 30), (5000, 2)):
        h, w = solver.size(height, width)
        assert h % 16 == w % 16 == 0 and min(h, w) >= 16
        if height > 2:
            assert h * w == pytest.approx(224 * 224, rel=0.1)
            assert h / w == pytest.approx(height / width, rel=0.1)
