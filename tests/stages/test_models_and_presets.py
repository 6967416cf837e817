"""Every preset with every family of models in both scopes, from photos to the report, all other options by default.

The models are those of the libraries with few channels and random weights, in folders as the libraries save them, and
the photos are the first of the built-in sample. Steps of Adam are the one thing that is fewer than by default: the
10,500 of `released` would take minutes.
"""

import gc
import json
from pathlib import Path

import numpy as np
import pytest
import small_diffusion as small
import torch
from torch.nn import functional

from spectral_graph.bank import Bank
from spectral_graph.cli.entry import main
from spectral_graph.config import PRESETS
from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.runs.image_table import ImageTable

FAMILIES = ("vit", "rotary_vit", "unet", "dit", "mmdit")
# The layers of each family that lie on another grid than the run's, at 320 pixels.
COARSE = {"unet": {"mid_block": (5, 5), "up_blocks.1": (10, 10)}}
PHOTOS = 2


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    pytest.importorskip("diffusers")
    transformers = pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("models")
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    torch.manual_seed(0)
    for name, family in (("ViTModel", "vit"), ("DINOv3ViTModel", "rotary_vit")):
        builder = getattr(transformers, name)
        builder(builder.config_class(**sizes, image_size=224, patch_size=16)).save_pretrained(root / family)
    small.save_stable_diffusion(root / "unet")
    small.save_dit(root / "dit")
    small.save_stable_diffusion_3(root / "mmdit")
    gc.collect()
    gc.freeze()  # the modules of these libraries, which every stage would look through
    return {family: root / family for family in FAMILIES}


def build(folder, out, preset, scope):
    options = ["--model", str(folder), "--limit", str(PHOTOS), "--preset", preset, "--scope", scope]
    if PRESETS[preset].get("solver") == "adam":
        options += ["--steps", "10"] if scope == "batch" else ["--solver", "chebyshev"]
    if preset == "best":
        return main(["build", "--dataset", "coco", *options, "--out", str(out), "--quiet"])
    # The report does not depend on the preset, and takes longer than all other stages.
    return main(["evaluate", str(out), "--dataset", "coco", *options, "--quiet"])


@pytest.mark.parametrize("scope", ["batch", "dataset"])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_run(folders, tmp_path, one_thread, settled_modules, family, preset, scope):
    out = tmp_path / "run"
    assert build(folders[family], out, preset, scope) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["dataset"]["images"] == PHOTOS
    assert (out / "report" / "index.html").is_file() == (preset == "best")
    table = ImageTable.load(out / "images.json")
    for kind in ("vv", "qk"):
        store = GraphStore.open(out / kind / "graph.zarr")
        ortho = Bank.open(out / kind / "ortho")
        x = np.array(ortho.view(), np.float64)
        assert x.shape[0] == table.nodes
        assert np.isfinite(x).all()
        gram = x.T @ x
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-4 * gram.max())
        for layer in table.layers:
            assert_edges(out, store, table, kind, layer, PRESETS[preset].get("coarse_layers", "features"))
        grids = {
            layer: grid for prefix, grid in COARSE.get(family, {}).items() for layer in table.layers if prefix in layer
        }
        assert FeatureStore.open(out / "features.zarr").attributes["coarse"] == {k: list(v) for k, v in grids.items()}
        expected = {} if not grids or preset == "best" else {layer: list(grid) for layer, grid in grids.items()}
        assert store.attributes.get("coarse", {}).get("grids", {}) == expected


def assert_edges(out, store, table, kind, layer, mode):
    """Compare a layer's graph with the dense one, in float64 from the stored features."""
    features, about = FeatureStore.open(out / "features.zarr"), store.attributes
    h, w = features.grid_of(layer)
    rows = {}
    for tensor in {"vv": "v", "qk": "qk"}[kind]:
        values = torch.from_numpy(features.read(layer, tensor, table.slots, own_grid=True)).double()
        mean = values.mean(dim=(0, 1)) if about["centred"] else 0
        if mode == "features" and (h, w) != table.grid:
            image = values.transpose(1, 2).reshape(len(values), -1, h, w)
            image = functional.interpolate(image, size=table.grid, mode="bilinear", align_corners=False)
            values = image.flatten(2).transpose(1, 2)
        rows[tensor] = functional.normalize((values - mean).flatten(0, 1), dim=1)
    query, *key = rows.values()
    cosines = (query @ (key or [query])[0].T).numpy()
    nodes = len(cosines)
    per_image = nodes // PHOTOS
    own = np.arange(nodes)[:, None] // per_image == np.arange(nodes) // per_image
    chosen = np.zeros_like(cosines)
    for pool, count in ((own & ~np.eye(nodes, dtype=bool), about["c_intra"]), (~own, about["c_inter"])):
        part = np.where(pool, cosines, -np.inf)
        best = np.argsort(-part, axis=1, kind="stable")[:, :count]
        kept = np.zeros_like(cosines)
        np.put_along_axis(kept, best, np.take_along_axis(part, best, 1), 1)
        chosen = np.maximum(chosen, kept)
    chosen = np.where(chosen >= about["threshold"], chosen, 0) ** about["sharpen"]
    expected = (chosen + chosen.T) / 2
    if about["hubs"] == "sinkhorn":
        alive = expected.any(axis=1)
        d = np.where(alive, expected.sum(axis=1, where=alive[:, None], initial=0), 1) ** -0.5 * alive
        for _ in range(20):
            d[alive] = np.sqrt(d[alive] / (expected @ d)[alive])
        expected *= d[:, None] * d
    found = np.zeros((nodes, nodes))
    for name in store.names(f"blocks/{layer}"):
        block = store.read(name)
        found[np.repeat(block.rows, np.diff(block.indptr)), block.column_ids[block.indices]] = block.values
    np.testing.assert_array_equal(found, found.T)
    # Near ties may be decided otherwise in float32; an approximate search may miss a twentieth of the neighbours.
    allowed = 0.05 if about["scope"] == "batch" else 0.35
    assert np.linalg.norm(found - expected) <= allowed * np.linalg.norm(expected)


def test_adam_over_the_whole_data_set_is_refused_with_the_options_that_help(folders, tmp_path, capsys):
    for preset in ("paper", "released"):
        code = main(
            [
                *("build", "--dataset", "coco", "--model", str(folders["vit"])),
                *("--preset", preset, "--scope", "dataset", "--out", str(tmp_path / "run")),
            ]
        )
        told = capsys.readouterr().err
        assert code == 2
        assert all(option in told for option in ("--solver", "--scope", "chebyshev"))
        assert not (tmp_path / "run").exists()
