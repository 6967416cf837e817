"""`spectral-graph info URL`: what a published run holds, without fetching it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from spectral_graph.errors import FormatError
from spectral_graph.io.files import write_json
from spectral_graph.io.inside import inside
from spectral_graph.progress import Reporter
from spectral_graph.remote.index import NAME, REPUBLISH
from spectral_graph.remote.parts import MANIFEST
from spectral_graph.remote.published import Published, fetch
from spectral_graph.remote.store import ObjectStore
from spectral_graph.remote.transfer import transfer

if TYPE_CHECKING:
    from spectral_graph.runs.facts import RunFacts

_READ = ("images.json", "metrics.json", "/graph.zarr/zarr.json", "/bank.json", ".npy")
"""Ends of the paths of the files that `info` reads; of all others it looks at the size at most."""


def published_facts(url: str, reporter: Reporter) -> RunFacts:
    """Return the facts of the run at a URL.

    Raises:
        FormatError: there is no run, or a part of it is damaged.
        UnsafePathError: it lists a file outside of the run.
        RemoteError: the URL cannot be read.
    """
    from spectral_graph.runs.facts import run_facts

    store = ObjectStore(url)
    there = Published.read(store)
    if there.manifest is None:
        raise FormatError(f"{url} holds no run (no {MANIFEST}); make one with: spectral-graph build --out {url}")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        sizes = {}
        for path, entry in there.files.items():
            if path.endswith(_READ) and not path.startswith(("features.zarr/", "regions.zarr/")):
                sizes[path] = entry.size
            elif "/bank/" in path or "/ortho/" in path or path == "report/index.html":
                _stand_in(run, path, entry.size, store.at(NAME))
        transfer(reporter, "download", sizes, lambda path, moved: fetch(store, path, there.files[path], run, moved))
        write_json(run / MANIFEST, there.manifest)
        return run_facts(run, store.url)


def _stand_in(run: Path, path: str, size: int, source: str) -> None:
    """Make a file of this size that takes no room on the disk.

    Raises:
        FormatError: no file of this size can be made.
    """
    file = inside(run, path, source, follow_links=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    try:
        os.truncate(file, size)
    except (OSError, OverflowError) as error:
        raise FormatError(
            f"{source} gives {path} a size of {size} bytes, and no such file can be made here ({error}); {REPUBLISH}"
        ) from None
