"""What lies at a URL, read with fsspec alone, and a run without the work of computing it."""

import itertools
import json
from pathlib import Path

import fsspec

from spectral_graph.config import STAGES
from spectral_graph.runs.directory import FORMAT

FILES = {
    "extract": ["images.json", "features.zarr/zarr.json", "features.zarr/layers/a/c/0", "features.zarr/final/c/0"],
    "graph": ["vv/graph.zarr/zarr.json", "vv/graph.zarr/blocks/a/0", "vv/graph.zarr/blocks/a/1"],
    "solve": ["vv/bank/bank.json", "vv/bank/X.1.f32"],
    "orthogonalise": ["vv/ortho/bank.json", "vv/ortho/X.1.f32"],
    "segment": ["regions.zarr/zarr.json"],
    "evaluate": ["metrics.json"],
    "report": ["report/index.html", "report/a photo.png"],
}
_seconds = itertools.count(1)


def objects(url):
    """All objects, by their path below the URL."""
    fs, root = fsspec.core.url_to_fs(url)
    fs.invalidate_cache()
    return {path[len(root) + 1 :]: fs.cat_file(path) for path in fs.find(root)}


def put(url, path, data):
    fs, root = fsspec.core.url_to_fs(url)
    fs.makedirs(root, exist_ok=True)
    fs.pipe_file(f"{root}/{path}", data)


def take_away(url, path):
    fs, root = fsspec.core.url_to_fs(url)
    fs.rm(f"{root}/{path}")


def states(url):
    stages = json.loads(objects(url)["run.json"])["stages"]
    return [record["state"] for record in stages.values()]


def files_of(run):
    """All files of a local run, by path."""
    files = (path for path in Path(run).rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in files}


def compute(run, *stages, content="first", leave_out=()):
    """Do to a folder what computing stages does: files appear, those of later stages go, run.json knows."""
    run.mkdir(parents=True, exist_ok=True)
    file = run / "run.json"
    empty = {
        "format": FORMAT,
        "version": "0",
        "versions": {},
        "preset": "best",
        "config": {"dataset": "folder", "kinds": ["vv"]},
        "given": {},
        "fingerprint": "f",
        "created": "today",
        "stages": {name: {"state": "open"} for name in STAGES},
    }
    manifest = json.loads(file.read_text()) if file.exists() else empty
    for name in STAGES[STAGES.index(stages[0]) :]:
        manifest["stages"][name] = {"state": "open"}
        for path in FILES[name]:
            (run / path).unlink(missing_ok=True)
    for name in stages:
        manifest["stages"][name] = {"state": "complete", "seconds": next(_seconds)}
        for path in FILES[name]:
            if path not in leave_out:
                (run / path).parent.mkdir(parents=True, exist_ok=True)
                (run / path).write_text(f"{path} {content}")
    file.write_text(json.dumps(manifest))
