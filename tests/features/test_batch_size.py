"""Batch size by memory, features of several grids in one store, and repeated passes on one image."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from spectral_graph.errors import ConfigError
from spectral_graph.features.attention_stream import AttentionStream
from spectral_graph.features.batch_size import LARGEST, automatic_batch
from spectral_graph.features.model import LayerInfo, WeightsInfo
from spectral_graph.features.store import FeatureStore
from spectral_graph.features.timm_model import create, wrap

LAYER = LayerInfo("layer", 0, 1, 2, 8)


def test_batch_fits_the_budget() -> None:
    model = wrap(create("vit_tiny_patch16_224"), "vit_tiny_patch16_224", WeightsInfo("random numbers"))
    layers = model.layers[:2]
    # Kept: two layers of v and the final features of 4 x 4 patches. Largest module: the activation inside an MLP, with
    # 768 columns in and out for 17 tokens.
    needed = 3 * 16 * 192 * 4 + 17 * 2 * 768 * 4
    for images in (1, 2, 5, LARGEST):
        assert automatic_batch(model, (64, 64), layers, ("v",), needed * images) == images
        assert automatic_batch(model, (64, 64), layers, ("v",), needed * images - 1) == max(1, images - 1)
    assert automatic_batch(model, (64, 64), layers, ("v",), 1 << 50) == LARGEST
    assert all(not module._forward_hooks for module in model._model.modules())


def test_a_store_of_layers_with_different_grids(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    widths, grids = {"fine": 3, "coarse": 5}, {"fine": (4, 6), "coarse": (2, 3)}
    store = FeatureStore.create(tmp_path / "f.zarr", 3, (4, 6), widths, ("q", "v"), 7, grids)
    values = {
        name: {t: generator.normal(size=(grids[name][0] * grids[name][1], widths[name])) for t in ("q", "v")}
        for name in widths
    }
    store.write(1, values, generator.normal(size=(24, 7)))
    store = FeatureStore.open(tmp_path / "f.zarr")
    assert (store.grid_of("fine"), store.grid_of("coarse"), store.nodes) == ((4, 6), (2, 3), 24)
    np.testing.assert_allclose(store.read("coarse", "q", [1], own_grid=True)[0], values["coarse"]["q"], atol=2e-3)
    np.testing.assert_allclose(store.read("fine", "v", [1])[0], values["fine"]["v"], atol=2e-3)
    image = torch.tensor(store.read("coarse", "q", [1], own_grid=True)[0]).T.reshape(1, 5, 2, 3)
    expected = functional.interpolate(image, (4, 6), mode="bilinear", align_corners=False).flatten(2)[0].T
    np.testing.assert_allclose(store.read("coarse", "q", [1, 1])[1], expected.numpy(), atol=1e-6)
    assert store.read("coarse", "q", []).shape[0] == 0
    np.testing.assert_allclose(store.mean("coarse", "q", [1]), values["coarse"]["q"].mean(0), atol=1e-5)
    stored = sum(path.stat().st_size for path in (tmp_path / "f.zarr").rglob("c/1/*") if path.is_file())
    stored += sum(path.stat().st_size for path in (tmp_path / "f.zarr").rglob("c/1/*/*") if path.is_file())
    needed = FeatureStore.bytes_needed(1, (4, 6), widths, 2, 7, grids)
    assert 0 <= stored - needed <= 4 * 9  # a CRC-32C for each of nine chunks


class Counting:
    """Stands for a diffusion model: every pass is a new one."""

    layers = (LAYER,)

    def with_noise(self, noise: Any) -> Counting:
        return self

    def extract(self, pixels: Any, layers: Any, tensors: Any, ids: Any = ()) -> Any:
        return SimpleNamespace(name=ids[0])


def test_nine_of_ten_passes_are_used_again() -> None:
    stream = AttentionStream(Counting(), torch.zeros(8, 8, 3), (LAYER,), name="cat", seed=1)  # type: ignore[arg-type]
    names = [found.name for found in islice(stream, 2000)]  # type: ignore[attr-defined]
    assert 150 < stream.passes < 250
    assert names[0] == "cat/0" and len(set(names)) == stream.passes
    position = {name: int(name.partition("/")[2]) for name in names}
    newest = np.maximum.accumulate([position[name] for name in names])
    assert max(newest - [position[name] for name in names]) == 6  # the last seven are kept
    again = AttentionStream(Counting(), torch.zeros(8, 8, 3), (LAYER,), name="cat", seed=1)  # type: ignore[arg-type]
    assert [found.name for found in islice(again, 50)] == names[:50]  # type: ignore[attr-defined]


def test_a_model_without_noise_runs_once() -> None:
    class Quiet(nn.Module):
        def extract(self, *_: Any) -> Any:
            return SimpleNamespace(name="one")

    stream = AttentionStream(Quiet(), torch.zeros(8, 8, 3), (LAYER,))  # type: ignore[arg-type]
    assert len(list(islice(stream, 100))) == 100 and stream.passes == 1


@pytest.mark.parametrize("options", [{"reuse": 1.0}, {"reuse": -0.1}, {"buffer": 0}])
def test_bad_reuse_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="reuse"):
        AttentionStream(Counting(), torch.zeros(8, 8, 3), (LAYER,), **options)  # type: ignore[arg-type]
