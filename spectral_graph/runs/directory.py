"""The run directory: which options made it, which stages are finished, what each cost.

    RUN/run.json   options, preset, versions, fingerprints of the input, state of every stage
    RUN/.lock      held by the process that works on the run

A stage is entered with `RunDirectory.stage`; it becomes "complete" only when its work returned without an error.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from spectral_graph.config import KINDS, STAGES, RunConfig
from spectral_graph.distributed.comm import ONE_PROCESS, Comm
from spectral_graph.errors import ConfigError, DiskFullError, RunBusyError, StaleRunError
from spectral_graph.io.file_lock import lock_file
from spectral_graph.io.files import remove, reporting_full_disk, write_json
from spectral_graph.memory import peak_bytes, reset_peak
from spectral_graph.runs.changes import refuse_changes, weights_option
from spectral_graph.runs.manifest import FORGETTING, FORMAT, read_manifest
from spectral_graph.version import __version__

RECORDED_PACKAGES = ("torch", "timm", "diffusers", "transformers", "numpy", "scipy", "scikit-learn", "zarr", "pillow")

OUTPUTS: dict[str, tuple[str, ...]] = {
    "extract": ("images.json", "features.zarr", "extract"),
    "graph": ("{kind}/graph.zarr",),
    "solve": ("{kind}/solve", "{kind}/bank"),
    "orthogonalise": ("{kind}/work", "{kind}/ortho"),
    "segment": ("regions.zarr",),
    "evaluate": ("metrics.json",),
    "report": ("report",),
}
"""What each stage writes inside the run directory; `{kind}` stands for vv, qk and kk."""


class RunDirectory:
    """One run on disk. Use as a context manager: it holds the lock of the folder.

    Args:
        path: the folder; made if it does not exist.
        comm: the processes that work on it together; the first of them holds the lock and writes run.json.
    """

    def __init__(self, path: str | Path, comm: Comm = ONE_PROCESS) -> None:
        self.path, self._comm = Path(path), comm
        self.manifest: dict[str, Any] = {}
        self._lock: int | None = None

    def __enter__(self) -> RunDirectory:
        if not self._comm.is_rank0:
            return self
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"`out={self.path}`: this is a file; name a folder")
        if self.path.is_symlink() and not self.path.exists():
            raise ConfigError(f"`out={self.path}`: this link leads nowhere; remove it, or name another folder")
        with self._writable():
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT)
        if not lock_file(self._lock, wait=False):
            os.close(self._lock)
            self._lock = None
            raise RunBusyError(f"another process works on {self.path}; wait for it, or name another folder with `out`")
        return self

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            with reporting_full_disk(self.path):
                yield
        except DiskFullError:
            raise
        except OSError as error:
            raise ConfigError(
                f"`out={self.path}`: this folder cannot be written ({error.strerror}); name one that can"
            ) from None

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def open(
        self,
        config: RunConfig,
        preset: str,
        fingerprint: str,
        force: str | None = None,
        *,
        labels: str = "",
        weights: str = "",
    ) -> None:
        """Resume the run in this folder, or start a new one; all processes that work on it must call.

        Args:
            config: the options of this call.
            preset: the name of the preset that they started from.
            fingerprint: of the photos.
            force: recompute from this stage on; options of these stages may have changed.
            labels: fingerprint of the labels.
            weights: fingerprint of local weights; empty where there are none, or none any more.

        Raises:
            StaleRunError: the run was made with other options or other input; the message says which.
            ConfigError: the processes do not all see this folder.
        """
        self._require_shared()
        if self._comm.is_rank0:
            inputs = {"fingerprint": fingerprint, "labels_fingerprint": labels, "weights_fingerprint": weights}
            self._take_up(config, preset, inputs, force)
        self._comm.barrier()
        if not self._comm.is_rank0:
            self.manifest = read_manifest(self.path)

    def _require_shared(self) -> None:
        """Refuse, in all processes, a folder of this path that is another one in some of them."""
        if self._comm.size == 1:
            return
        mark = np.frombuffer(os.urandom(8), np.int64)
        if self._lock is not None:
            os.pwrite(self._lock, mark.tobytes(), 0)
            os.fsync(self._lock)
        mark = self._comm.broadcast(mark)
        lock = self.path / ".lock"
        sees = lock.is_file() and lock.read_bytes() == mark.tobytes()
        blind = [rank for rank, seen in enumerate(self._comm.gather(np.array([sees], np.int64))) if not seen[0]]
        if blind:
            raise ConfigError(
                f"process {blind[0]} does not see the folder {self.path} that process 0 works in; name one that all "
                "machines mount under the same path, with `out`, or with `work` where `out` is a URL"
            )

    def _take_up(self, config: RunConfig, preset: str, inputs: dict[str, str], force: str | None) -> None:
        if not (self.path / "run.json").exists():
            if found := strangers(self.path):
                raise StaleRunError(
                    f"{self.path} is not empty and holds no run (found {found[0]}); name another folder with `out`"
                )
            self.manifest = {"format": FORMAT, "stages": {name: {"state": "open"} for name in STAGES}}
        else:
            self.manifest = read_manifest(self.path)
            if FORGETTING in self.manifest:
                self.forget(self.manifest[FORGETTING])
            if begun := [name for name in STAGES if self._has_begun(name)]:
                refuse_changes(self.manifest, config, inputs, begun[-1], force, self.path)
            if force is not None:
                self.forget(force)
        options, named = config.model_dump(mode="json"), weights_option(config)
        if not inputs["weights_fingerprint"] and self.manifest.get("config", {}).get(named) == options[named]:
            # The weights were removed after the extraction, which is finished.
            inputs["weights_fingerprint"] = self.manifest.get("weights_fingerprint", "")
        self.manifest.update(version=__version__, versions=versions(), preset=preset, config=options, **inputs)
        self.manifest.setdefault("given", self.manifest["config"])  # until the caller notes what was given
        self.manifest.setdefault("created", time.strftime("%Y-%m-%dT%H:%M:%S%z"))
        self.save()

    def _has_begun(self, stage: str) -> bool:
        """Return whether a stage has written something; until then its options may still be corrected."""
        state = self.manifest["stages"][stage]["state"]
        return state == "complete" or (state == "running" and any(path.exists() for path in self._outputs(stage)))

    def _outputs(self, stage: str) -> list[Path]:
        patterns = [(pattern, KINDS if "{kind}" in pattern else ("",)) for pattern in OUTPUTS[stage]]
        return [self.path / pattern.format(kind=kind) for pattern, kinds in patterns for kind in kinds]

    def forget(self, stage: str) -> None:
        """Remove the results of `stage` and of all stages after it; whoever opens the run next finishes it.

        Otherwise files that a kill left would be taken for those of other options.
        """
        for name in STAGES[STAGES.index(stage) :]:
            self.manifest["stages"][name] = {"state": "open"}
        self.manifest[FORGETTING] = stage
        self.save()
        for name in reversed(STAGES[STAGES.index(stage) :]):
            for path in self._outputs(name):
                remove(path)
        del self.manifest[FORGETTING]
        self.save()

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Run a stage: its time adds up over interrupted attempts; yields its record, for facts worth keeping.

        It ends when all processes have come to its end. The peak is that of the largest process.
        """
        record = self.manifest["stages"][name]
        record["state"] = "running"
        self.save()
        reset_peak()
        began, sent = time.monotonic(), self._comm.sent
        peak = 0
        try:
            yield record
            found = np.array([peak_bytes(), self._comm.sent - sent])
            peak, most_sent = (int(largest) for largest in np.max(self._comm.gather(found), axis=0))
            if self._comm.size > 1:
                record["processes"], record["sent_bytes"] = self._comm.size, most_sent
            record["state"] = "complete"
        finally:
            record["seconds"] = record.get("seconds", 0.0) + time.monotonic() - began
            record["peak_bytes"] = max(record.get("peak_bytes", 0), peak, peak_bytes())
            self.save()

    def complete(self, name: str) -> bool:
        """Return whether a stage is finished."""
        return bool(self.manifest["stages"][name]["state"] == "complete")

    def save(self) -> None:
        """Write run.json; rank 0 does."""
        if self._comm.is_rank0:
            write_json(self.path / "run.json", self.manifest)

    def folder(self, kind: str) -> Path:
        """Return the folder of one affinity (vv, qk, kk)."""
        return self.path / kind


def strangers(folder: Path) -> list[str]:
    """Return the names of what lies in a folder and is neither its lock nor what a killed process left unfinished."""
    ours = (".lock", ".partial")
    return sorted(p.name for p in folder.iterdir() if not (p.name.startswith(".") and p.name.endswith(ours)))


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results may depend on."""
    found = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
