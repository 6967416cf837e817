"""How much of the stage `extract` is the model's forward pass? The rest is waiting for images and for the disk.

    python -m benchmarks.extraction --root COCO --split train2017 [--images 100] [--model focus_vits14] [--json FILE]

The stage is timed from its start to its end, loading the model left out (reported beside it).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from spectral_graph.config import make_config
from spectral_graph.pipeline import run_pipeline
from spectral_graph.progress import Reporter
from spectral_graph.stages import extract as stage


class Timed:
    """A model whose forward passes are timed."""

    def __init__(self, model: Any) -> None:
        self._model, self.seconds, self.loading = model, 0.0, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def extract(self, *arguments: Any) -> Any:
        """Do what the model does, and note how long it took."""
        begin = time.perf_counter()
        found = self._model.extract(*arguments)
        self.seconds += time.perf_counter() - begin
        return found


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of COCO")
    parser.add_argument("--split", default="train2017")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--model", default="focus_vits14")
    parser.add_argument("--image-batch", nargs="+", default=["auto"], help="each in turn")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    rows: list[dict[str, float]] = []
    for batch in options.image_batch:
        load, timed = stage.load_model, []

        def loaded(*names: Any, load: Any = load, timed: list[Timed] = timed, **more: Any) -> Any:
            begin = time.perf_counter()
            timed.append(Timed(load(*names, **more)))
            timed[0].loading = time.perf_counter() - begin
            return timed[0]

        given = {"dataset": "coco", "root": options.root, "split": options.split, "limit": options.images}
        with tempfile.TemporaryDirectory() as folder:
            stage.load_model = loaded
            try:
                config = make_config({**given, "model": options.model, "image_batch": batch})
                out = run_pipeline(config, Path(folder) / "run", until="extract", reporter=Reporter(quiet=True))
            finally:
                stage.load_model = load
            whole = json.loads((out / "run.json").read_text())["stages"]["extract"]["seconds"]
        loading = timed[0].loading
        rows.append(
            {
                "images": options.images,
                "load_s": loading,
                "extract_s": whole - loading,
                "forward_s": timed[0].seconds,
                "share": timed[0].seconds / (whole - loading),
            }
        )
        print(f"image batch {batch}: " + ", ".join(f"{name} {value:.4g}" for name, value in rows[-1].items()))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return rows[-1]


if __name__ == "__main__":
    main()
