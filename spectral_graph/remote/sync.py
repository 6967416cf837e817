"""A run whose stages work in a local folder and that is kept behind a URL.

Object stores have no rename, so the order of writes is what makes a reader safe:

1. If files of the URL's run.json change or go (after ``--force``), a run.json is written first that has their stages
   open. The objects may then be overwritten and removed.
2. The files of the stages that are complete here are written, each whole, and the store is asked for their sizes.
3. files.json, which lists them with sizes and checksums, is written, and run.json last.

So a reader sees a stage as complete only when all its files are there. A writer that dies at any instant leaves the
state before or, after ``--force``, the part of it that still holds. The next call resumes the transfer (sync_state.py).

There is no lock on an object store. Before a writer publishes, it checks that the URL still holds the state that it
knows; two that write within the same moments can still disturb each other.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectral_graph.config import STAGES
from spectral_graph.errors import FormatError, RemoteError, StaleRunError
from spectral_graph.io.file_lock import lock_file
from spectral_graph.io.files import remove, write_json
from spectral_graph.io.inside import inside
from spectral_graph.progress import Reporter
from spectral_graph.remote.published import (
    INDEX,
    REPUBLISH,
    Entry,
    Published,
    fetch,
    identity,
    publish,
    published_parts,
    with_stages,
)
from spectral_graph.remote.stage_files import (
    INPUTS,
    MANIFEST,
    complete_stages,
    local_files,
    paths_of,
    stage_of_file,
    stages_to_run,
    within,
)
from spectral_graph.remote.store import ASIDE, PROBE, Moved, ObjectStore, transfer
from spectral_graph.remote.sync_state import SyncState
from spectral_graph.runs.directory import OUTPUTS, RunDirectory, read_manifest

if TYPE_CHECKING:
    from spectral_graph.runs.facts import RunFacts


class RunSync:
    """Brings a local folder and a URL to the same state.

    Args:
        url: of the published run.
        work: the local folder.
        reporter: shows the progress.
    """

    def __init__(self, url: str, work: Path, reporter: Reporter) -> None:
        self.url, self.work, self.reporter = url.rstrip("/"), work, reporter
        self.store = ObjectStore(url)

    def pull(self, until: str, force: str | None = None) -> None:
        """Fetch the files that a command needs, before it begins: run.json, and the inputs of its stages.

        Args:
            until: the last stage that it computes.
            force: the stage that it computes again, with those after it.

        Raises:
            StaleRunError: both have changed since they were the same, or the URL holds something else than a run.
            FormatError: an object is missing, truncated or damaged; the message names it.
            UnsafePathError: the URL lists a file outside of the run, or the folder holds a symbolic link.
            RemoteError: the URL cannot be read or written.
        """
        with self._alone():
            self.store.require_writable()
            there, here, state = Published.read(self.store), self._manifest(), SyncState(self.work, self.url)
            if there.manifest is None:
                self._refuse_strangers()
            elif self._is_behind(here, there, state):
                with RunDirectory(self.work):
                    list(local_files(self.work, STAGES))  # refuses links before anything is removed or replaced
                    self._clear(here, there, state)
                    self._fetch(there.manifest, there, state, until, force)
                    write_json(self.work / MANIFEST, there.manifest)
                    state.agree(identity(there.manifest))
            elif here is not None:
                list(local_files(self.work, STAGES))
                self._fetch(here, there, state, until, force)

    def push(self) -> None:
        """Publish the stages that are complete here; files that the URL has already are not sent again.

        Raises:
            StaleRunError: the URL holds another state than this folder was computed from.
            UnsafePathError: the folder holds a symbolic link, which is not published.
            RemoteError: the URL cannot be written; the next call sends the files that are missing.
        """
        with self._alone():
            here = self._manifest()
            if here is not None:
                self._push(here)

    def _push(self, here: dict[str, Any]) -> None:
        there, state = Published.read(self.store), SyncState(self.work, self.url)
        if self._is_behind(here, there, state):
            raise StaleRunError(
                f"{self.url} was changed by another process; run the same command again to continue from it"
            )
        complete, same = complete_stages(here), _same_stages(here, there)
        found = {path: state.entry(path) for path in local_files(self.work, complete)}
        for path in found:
            published_parts(path, self.work)
        # Files of stages that did not change may be there only: files that no stage needed were not fetched.
        wanted = {path: entry for path, entry in there.files.items() if stage_of_file(path) in same} | found
        there = self._withdraw(here, there, wanted)
        sizes = self.store.sizes()
        todo = {
            path: entry
            for path, entry in found.items()
            if sizes.get(path) != entry.size or not (there.files.get(path) == entry or state.was_moved(path, entry))
        }
        for path in found.keys() - todo.keys():
            if not state.was_moved(path, found[path]):
                state.moved(path, found[path])
        stale = {path for path in sizes.keys() - wanted.keys() if stage_of_file(path) is not None}
        if todo or stale or there.files != wanted or identity(here) != identity(there.manifest):
            self.store.delete(sorted(stale))
            self._send(todo, state)
            publish(self.store, there, with_stages(here, set(complete)), wanted)
        state.agree(identity(here))

    def _send(self, files: dict[str, Entry], state: SyncState) -> None:
        """Upload files, then compare their sizes: a reader must not learn of files that the store has lost."""

        def send(path: str, moved: Moved) -> None:
            self.store.upload(self.work / path, path, moved)
            state.moved(path, files[path])

        transfer(self.reporter, "upload", {path: entry.size for path, entry in files.items()}, send)
        sizes = self.store.sizes() if files else {}
        for path, entry in files.items():
            if sizes.get(path) != entry.size:
                raise RemoteError(
                    f"{self.store.at(path)} has {sizes.get(path, 'no')} of the {entry.size} bytes that were just "
                    "written; the same command sends it again"
                )

    def _withdraw(self, here: dict[str, Any], there: Published, wanted: dict[str, Entry]) -> Published:
        """Open the stages at the URL whose files are about to change, and those after them; return the rest."""
        if there.manifest is None:
            return publish(self.store, there, with_stages(here, set()), {})
        changed = {stage_of_file(path) for path, entry in there.files.items() if wanted.get(path) != entry}
        changed |= complete_stages(there.manifest).keys() - _same_stages(here, there)
        if not changed:
            return there
        first = min(STAGES.index(stage) for stage in changed if stage is not None)
        kept = set(STAGES[:first]) & complete_stages(there.manifest).keys()
        left = {path: entry for path, entry in there.files.items() if stage_of_file(path) in kept}
        # The list names the files of the former run.json until the new one is there.
        done = publish(self.store, there, with_stages(here, kept), there.files)
        return Published(done.manifest, done.checksum, left)

    def _is_behind(self, here: dict[str, Any] | None, there: Published, state: SyncState) -> bool:
        """Return whether the URL's state replaces this folder's."""
        if there.manifest is None or here is None:
            return there.manifest is not None
        mine, theirs = identity(here), identity(there.manifest)
        if theirs in (mine, state.state):
            return False
        if mine == state.state:
            return True
        ours, others = complete_stages(here), complete_stages(there.manifest)
        if here["fingerprint"] == there.manifest["fingerprint"]:
            if others.items() <= ours.items():
                return False
            if ours.items() <= others.items():
                return True
        raise StaleRunError(
            f"the run at {self.url} and its working folder {self.work} were both changed since they were the same; "
            f"remove {self.work} to continue from the one at the URL, or name another URL with `out` to keep both"
        )

    def _clear(self, here: dict[str, Any] | None, there: Published, state: SyncState) -> None:
        """Remove files of stages that differ at the URL."""
        if here is not None:
            same = _same_stages(here, there)
            first = next((i for i, name in enumerate(STAGES) if name not in same), len(STAGES))
            for part in paths_of(pattern for stage in STAGES[first:] for pattern in OUTPUTS[stage]):
                remove(self.work / part)
            state.forget()
            return
        # An interrupted fetch leaves files, but no run.json.
        for path in list(local_files(self.work, STAGES)):
            entry = there.files.get(path)
            if entry is None or not state.was_moved(path, entry):
                remove(self.work / path)

    def _fetch(
        self, manifest: dict[str, Any], there: Published, state: SyncState, until: str, force: str | None
    ) -> None:
        """Fetch the files that the stages to be computed read of complete stages, unless they are here."""
        todo = stages_to_run(manifest, until, force)
        parts = paths_of(pattern for stage in todo for pattern in INPUTS[stage])
        kept = _same_stages(manifest, there) - set(todo)
        missing = {
            path: entry.size
            for path, entry in there.files.items()
            if stage_of_file(path) in kept
            and any(within(path, part) for part in parts)
            and not ((self.work / path).is_file() and state.entry(path) == entry)
        }

        def get(path: str, moved: Moved) -> None:
            fetch(self.store, path, there.files[path], self.work, moved)
            state.moved(path, there.files[path])

        transfer(self.reporter, "download", missing, get)

    def _refuse_strangers(self) -> None:
        unfinished = {INDEX, PROBE, *(f"{name}{ASIDE}" for name in (INDEX, MANIFEST, PROBE))}
        if strangers := sorted(self.store.sizes().keys() - unfinished):
            raise StaleRunError(
                f"{self.url} is not empty and holds no run (found {strangers[0]}); name another URL with `out`"
            )

    def _manifest(self) -> dict[str, Any] | None:
        return read_manifest(self.work) if (self.work / MANIFEST).exists() else None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process uses the folder."""
        self.work.mkdir(parents=True, exist_ok=True)
        with self.work.with_name(f".{self.work.name}.lock").open("w") as lock:
            lock_file(lock.fileno(), wait=True)
            yield


def _same_stages(manifest: dict[str, Any] | None, there: Published) -> set[str]:
    """Return the stages that are complete in both, and were computed at the same time."""
    ours, others = complete_stages(manifest), complete_stages(there.manifest)
    return {name for name, record in ours.items() if others.get(name) == record}


_READ = ("images.json", "metrics.json", "/graph.zarr/zarr.json", "/bank.json", ".npy")
"""Ends of the paths of the files that `info` reads; of all others it needs the size at most."""


def published_facts(url: str, reporter: Reporter) -> RunFacts:
    """Return the facts of the run at a URL, for `spectral-graph info URL`; its arrays are not fetched.

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
                _stand_in(run, path, entry.size, store.at(INDEX))
        transfer(reporter, "download", sizes, lambda path, moved: fetch(store, path, there.files[path], run, moved))
        write_json(run / MANIFEST, there.manifest)
        return run_facts(run, store.url)


def _stand_in(run: Path, path: str, size: int, source: str) -> None:
    """Make a sparse file of this size."""
    file = inside(run, path, source, follow_links=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    try:
        os.truncate(file, size)
    except (OSError, OverflowError) as error:
        raise FormatError(
            f"{source} gives {path} a size of {size} bytes, and no such file can be made here ({error}); {REPUBLISH}"
        ) from None
