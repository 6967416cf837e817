"""Stage `extract`: photos to q, k, v of the chosen layers, in the feature store; resumes image group by image group.

While the model works on one group of images, threads decode the next ones and another writes the features of the last:
the model never waits for a disk that keeps up with it. Of several processes each has its own groups and its own log;
the groups are those of one process, so that their number does not change the features.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spectral_graph.config import RunConfig
from spectral_graph.data.preprocess import Prepared, Preprocess, network_size, parse_size
from spectral_graph.data.read_ahead import read_ahead
from spectral_graph.distributed.join import local_rank
from spectral_graph.errors import DataError, FeatureError, ImageError
from spectral_graph.features.batch_size import BUDGET, automatic_batch
from spectral_graph.features.device import describe_device, find_device, reporting_full_memory
from spectral_graph.features.load import load_model
from spectral_graph.features.model import Extraction, LayerInfo, VisionModel, layer_grids
from spectral_graph.features.noise import Noise
from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.affinity import TENSORS
from spectral_graph.io.files import remove, reporting_full_disk, require_space
from spectral_graph.io.readable import readable
from spectral_graph.runs.image_table import ImageTable, KeptImage
from spectral_graph.stages.context import Context
from spectral_graph.stages.feasible import require_feasible

Outcome = dict[str, Any]
Loaded = list[Prepared | ImageError]

LOGS = "extract"
"""Folder in the run directory, of the logs of the processes: which images they have done; removed at the end."""
_SMALLER_MODEL = "choose a smaller `model` or `dtype=float16`, with `force=extract`"
_SMALLER_IMAGES = "lower `size` or choose `dtype=float16`, with `force=extract`"
_AHEAD = 2
"""Groups that are decoded, and groups that are written, while the model works on one."""


@dataclass(frozen=True)
class _Plan:
    """What is taken from the images, and where."""

    model: VisionModel
    device: torch.device
    layers: tuple[LayerInfo, ...]
    tensors: tuple[str, ...]
    size: tuple[int, int]
    grid: tuple[int, int]


def extract(context: Context) -> None:
    """Fill `features.zarr` and write `images.json`.

    Raises:
        DataError: no image could be read.
        ConfigError: more eigenvectors or clusters are asked for than the data set has nodes.
        GraphError: more neighbours are asked for than there are nodes.
        ImageError: an image could not be read, and `bad_images` is "refuse".
    """
    config, run = context.config, context.run.path
    preprocess = Preprocess(config.preprocess, parse_size(config.size), config.resample)
    target = preprocess.target_size()
    plan = _plan(config, target)
    require_feasible(context, plan.grid)
    store, outcomes = _open(context, plan)
    log = run / LOGS / f"{context.comm.rank}.jsonl"
    groups = _groups(len(context.dataset.records), _batch(context, plan))
    own = [groups[index] for index in context.comm.mine(len(groups))]
    todo = [group for group in own if not set(group) <= outcomes.keys()]
    total = sum(map(len, own))
    done = total - sum(map(len, todo))
    pending: deque[tuple[range, Future[list[Outcome]]]] = deque()
    with context.reporter.track("extract", total, "images", done) as progress, ThreadPoolExecutor(1) as writer:

        def finish() -> None:
            group, future = pending.popleft()
            found = future.result()
            with reporting_full_disk(log), log.open("a", encoding="utf-8") as file:
                # The line feed first: what a crash cut short must not spoil the line after it.
                file.write("".join("\n" + json.dumps(outcome) for outcome in found))
            outcomes.update({outcome["slot"]: outcome for outcome in found})
            progress.advance(len(group))

        for group, loaded in _read_ahead(context, preprocess, plan.size, todo):
            features = _features(context, plan, group, loaded)
            pending.append((group, writer.submit(_write, context, plan, store, group, loaded, features)))
            if len(pending) > _AHEAD:
                finish()
        while pending:
            finish()
    context.comm.barrier()
    if context.comm.is_rank0:
        _finish(context, _read_logs(run), plan)
        remove(run / LOGS)


def _plan(config: RunConfig, target: tuple[int, int]) -> _Plan:
    device = find_device(config.device, local_rank())
    with reporting_full_memory(device, f"the model {config.model}", _SMALLER_MODEL):
        model = load_model(
            config.model,
            config.weights,
            device=device,
            dtype=getattr(torch, config.dtype),
            noise=Noise.parse(config.timesteps, config.noise_seed),
            prompt=config.prompt,
        )
    size = network_size(target, model.patch)
    layers = model.select_layers(config.layers)
    tensors = tuple(sorted({name for kind in config.kinds for name in TENSORS[kind]}))
    return _Plan(model, device, layers, tensors, size, model.grid(*size, layers))


def _batch(context: Context, plan: _Plan) -> int:
    if context.config.image_batch != "auto":
        return context.config.image_batch
    with _memory_for(plan, 1, _SMALLER_IMAGES):
        batch = automatic_batch(plan.model, plan.size, plan.layers, plan.tensors, BUDGET)
    context.reporter.note(f"extract: {batch} images in one forward pass")
    return batch


def _open(context: Context, plan: _Plan) -> tuple[FeatureStore, dict[int, Outcome]]:
    """Return the store and what interrupted attempts have already done, with however many processes."""
    path = context.run.path / "features.zarr"
    if context.comm.is_rank0 and not _read_logs(context.run.path):
        _create(context, plan, path)
        (context.run.path / LOGS).mkdir(exist_ok=True)
    context.comm.barrier()
    return FeatureStore.open(path), _read_logs(context.run.path)


def _create(context: Context, plan: _Plan, path: Path) -> None:
    run, slots = context.run.path, len(context.dataset.records)
    widths = {layer.name: layer.dim for layer in plan.layers}
    grids, width = layer_grids(plan.layers, *plan.size), plan.model.width
    needed = FeatureStore.bytes_needed(slots, plan.grid, widths, len(plan.tensors), width, grids)
    what = f"the feature store of {slots} images ({len(plan.layers)} layers, {', '.join(plan.tensors)})"
    require_space(run, needed, what)
    FeatureStore.create(path, slots, plan.grid, widths, plan.tensors, width, grids)


def _read_logs(run: Path) -> dict[int, Outcome]:
    """Return what is noted in the logs of all processes, by slot."""
    logs = sorted((run / LOGS).glob("*.jsonl"))
    return {outcome["slot"]: outcome for log in logs for outcome in _read_log(log)}


def _read_log(path: Path) -> Iterator[Outcome]:
    """Yield the complete lines of a log; one that a crash cut short is left out."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(json.JSONDecodeError):
            yield json.loads(line)


def _groups(images: int, batch: int) -> list[range]:
    return [range(start, min(start + batch, images)) for start in range(0, images, batch)]


def _read_ahead(
    context: Context, preprocess: Preprocess, size: tuple[int, int], groups: list[range]
) -> Iterator[tuple[range, Loaded]]:
    """Yield each group with its images, decoding the next groups while the model works on this one."""

    def read(slot: int) -> Prepared | ImageError:
        try:
            return preprocess(context.dataset.read_image(context.dataset.records[slot]), size)
        except ImageError as error:
            return error

    images = read_ahead(read, chain.from_iterable(groups), max(map(len, groups), default=0) * _AHEAD + 1)
    for group in groups:
        yield group, list(islice(images, len(group)))


def _features(context: Context, plan: _Plan, group: range, loaded: Loaded) -> Extraction | None:
    """Run the model on the readable images of a group."""
    good = [(slot, image) for slot, image in zip(group, loaded, strict=True) if isinstance(image, Prepared)]
    if not good:
        return None
    pixels = torch.from_numpy(np.stack([image.pixels for _, image in good]))
    ids = [context.dataset.records[slot].id for slot, _ in good]
    fewer = f"give fewer at a time with `image_batch={len(ids) // 2}` and `force=extract`"
    with _memory_for(plan, len(ids), fewer if len(ids) > 1 else _SMALLER_IMAGES):
        return plan.model.extract(pixels, plan.layers, plan.tensors, ids).cpu()


def _memory_for(plan: _Plan, images: int, cure: str) -> AbstractContextManager[None]:
    h, w = plan.size
    return reporting_full_memory(
        plan.device, f"{images} image{'s' * (images > 1)} of {h} x {w} pixels in one pass", cure
    )


def _write(
    context: Context, plan: _Plan, store: FeatureStore, group: range, loaded: Loaded, features: Extraction | None
) -> list[Outcome]:
    """Store the features of a group, and tell what became of each image."""
    outcomes: list[Outcome] = []
    row = 0
    for slot, image in zip(group, loaded, strict=True):
        record = context.dataset.records[slot]
        if isinstance(image, ImageError) or features is None:
            assert isinstance(image, ImageError)
            outcomes.append(_skip(context, slot, record.id, image))
            continue
        values = {
            layer.name: {name: features.layers[layer.name][name][row].numpy() for name in plan.tensors}
            for layer in plan.layers
        }
        final = features.final[row].numpy()
        row += 1
        try:
            store.write(slot, values, final)
        except FeatureError as error:
            outcomes.append(_skip(context, slot, record.id, error))
            continue
        outcomes.append({"slot": slot, "id": record.id, "box": image.box, "source_size": image.source_size})
    return outcomes


def _skip(context: Context, slot: int, identity: str, error: ImageError | FeatureError) -> Outcome:
    if context.config.bad_images == "refuse":
        raise type(error)(f"image {identity}: {error}; leave it out with `bad_images=skip`") from error
    reason = readable(str(error))
    context.reporter.note(f"skipped image {identity}: {reason}")
    return {"slot": slot, "id": identity, "skipped": reason}


def _finish(context: Context, outcomes: dict[int, Outcome], plan: _Plan) -> None:
    ordered = [outcomes[slot] for slot in sorted(outcomes)]
    kept = tuple(KeptImage(o["id"], o["slot"], tuple(o["box"]), tuple(o["source_size"])) for o in ordered if "box" in o)
    skipped = tuple((o["id"], o["skipped"]) for o in ordered if "skipped" in o)
    if not kept:
        raise DataError(
            f"none of the {len(ordered)} images of {context.dataset.name} could be used; "
            f"the first: {skipped[0][1] if skipped else 'there is none'}"
        )
    about = {
        "name": plan.model.name,
        "weights": asdict(plan.model.weights),
        "note": plan.model.note,
        "device": describe_device(plan.device),
    }
    names = tuple(layer.name for layer in plan.layers)
    ImageTable(plan.grid, plan.size, names, kept, skipped, about).save(context.run.path / "images.json")
