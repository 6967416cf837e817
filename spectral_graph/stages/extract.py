"""Stage `extract`: photos to q, k, v of the chosen layers, in the feature store; resumes image group by image group."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spectral_graph.data.preprocess import Prepared, Preprocess, network_size, parse_size
from spectral_graph.errors import DataError, FeatureError, ImageError
from spectral_graph.features.model import LayerInfo, VisionModel, load_model
from spectral_graph.features.store import FeatureStore
from spectral_graph.files import disk_full_in_words, require_space
from spectral_graph.graph.affinity import TENSORS
from spectral_graph.stages.context import Context, ImageTable, KeptImage

Outcome = dict[str, Any]


def extract(context: Context) -> None:
    """Fill `features.zarr` and write `images.json`.

    Raises:
        DataError: no image could be read.
        ImageError: an image could not be read, and `bad_images` is "refuse".
    """
    config, run = context.config, context.run.path
    preprocess = Preprocess(config.preprocess, parse_size(config.size), config.resample)
    target = preprocess.target_size()
    model = load_model(config.model, config.weights)
    size = network_size(target, model.patch)
    layers = model.select_layers(config.layers)
    grid = model.grid(*size)
    tensors = tuple(sorted({name for kind in config.kinds for name in TENSORS[kind]}))
    store, outcomes = _open(context, layers, tensors, grid, model)
    log = run / "extract.jsonl"
    groups = _groups(len(context.dataset.records), config.image_batch)
    todo = [group for group in groups if not set(group) <= outcomes.keys()]
    total = len(context.dataset.records)
    done = total - sum(map(len, todo))
    with context.reporter.track("extract", total, "images", done) as progress:
        for group, prepared in _read_ahead(context, preprocess, size, todo):
            found = _extract_group(context, model, layers, tensors, store, group, prepared)
            with disk_full_in_words(log), log.open("a") as file:
                file.write("".join(json.dumps(outcome) + "\n" for outcome in found))
            outcomes.update({outcome["slot"]: outcome for outcome in found})
            progress.advance(len(group))
    _finish(context, outcomes, grid, size, layers, model)
    log.unlink(missing_ok=True)


def _open(
    context: Context,
    layers: tuple[LayerInfo, ...],
    tensors: tuple[str, ...],
    grid: tuple[int, int],
    model: VisionModel,
) -> tuple[FeatureStore, dict[int, Outcome]]:
    """Return the store and what an interrupted attempt has already done."""
    run, slots, nodes = context.run.path, len(context.dataset.records), grid[0] * grid[1]
    log, path = run / "extract.jsonl", run / "features.zarr"
    outcomes = {outcome["slot"]: outcome for outcome in _read_log(log)}
    if outcomes:
        return FeatureStore.open(path), outcomes
    widths = {layer.name: layer.dim for layer in layers}
    final_width = model.extract(
        torch.zeros((1, grid[0] * model.patch, grid[1] * model.patch, 3), dtype=torch.uint8), (), ()
    ).final.shape[2]
    needed = FeatureStore.bytes_needed(slots, nodes, sum(widths.values()), len(tensors), final_width)
    require_space(run, needed, f"the feature store of {slots} images ({len(layers)} layers, {', '.join(tensors)})")
    return FeatureStore.create(path, slots, nodes, widths, tensors, final_width), {}


def _read_log(path: Path) -> Iterator[Outcome]:
    """Yield the complete lines of the log; a line cut short by a crash ends it."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return


def _groups(images: int, batch: int) -> list[range]:
    return [range(start, min(start + batch, images)) for start in range(0, images, batch)]


def _read_ahead(
    context: Context, preprocess: Preprocess, size: tuple[int, int], groups: list[range]
) -> Iterator[tuple[range, list[Prepared | ImageError]]]:
    """Yield each group with its images, decoding the next group while the model works on this one."""

    def read(slot: int) -> Prepared | ImageError:
        try:
            return preprocess(context.dataset.read_image(context.dataset.records[slot]), size)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        ahead = [[pool.submit(read, slot) for slot in group] for group in groups[:1]]
        for index, group in enumerate(groups):
            if index + 1 < len(groups):
                ahead.append([pool.submit(read, slot) for slot in groups[index + 1]])
            yield group, [future.result() for future in ahead.pop(0)]


def _extract_group(
    context: Context,
    model: VisionModel,
    layers: tuple[LayerInfo, ...],
    tensors: tuple[str, ...],
    store: FeatureStore,
    group: range,
    prepared: list[Prepared | ImageError],
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    good = [(slot, image) for slot, image in zip(group, prepared, strict=True) if isinstance(image, Prepared)]
    if good:
        pixels = torch.from_numpy(np.stack([image.pixels for _, image in good]))
        features = model.extract(pixels, layers, tensors)
    for slot, image in zip(group, prepared, strict=True):
        record = context.dataset.records[slot]
        if isinstance(image, ImageError):
            outcomes.append(_skip(context, slot, record.id, image))
            continue
        row = [s for s, _ in good].index(slot)
        values = {
            layer.name: {name: features.layers[layer.name][name][row].numpy() for name in tensors} for layer in layers
        }
        try:
            store.write(slot, values, features.final[row].numpy())
        except FeatureError as error:
            outcomes.append(_skip(context, slot, record.id, error))
            continue
        outcomes.append({"slot": slot, "id": record.id, "box": image.box, "source_size": image.source_size})
    return outcomes


def _skip(context: Context, slot: int, identity: str, error: ImageError | FeatureError) -> Outcome:
    if context.config.bad_images == "refuse":
        raise type(error)(f"image {identity}: {error}; leave it out with --bad-images skip") from error
    context.reporter.note(f"skipped image {identity}: {error}")
    return {"slot": slot, "id": identity, "skipped": str(error)}


def _finish(
    context: Context,
    outcomes: dict[int, Outcome],
    grid: tuple[int, int],
    size: tuple[int, int],
    layers: tuple[LayerInfo, ...],
    model: VisionModel,
) -> None:
    ordered = [outcomes[slot] for slot in sorted(outcomes)]
    kept = tuple(KeptImage(o["id"], o["slot"], tuple(o["box"]), tuple(o["source_size"])) for o in ordered if "box" in o)
    skipped = tuple((o["id"], o["skipped"]) for o in ordered if "skipped" in o)
    if not kept:
        raise DataError(
            f"none of the {len(ordered)} images of {context.dataset.name} could be used; "
            f"the first: {skipped[0][1] if skipped else 'there is none'}"
        )
    about = {"name": model.name, "weights": asdict(model.weights), "note": model.note}
    names = tuple(layer.name for layer in layers)
    ImageTable(grid, size, names, kept, skipped, about).save(context.run.path / "images.json")
