"""From one generation of a bank to the next: which files are taken over, which are made, which go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from spectral_graph.bank.generation import PREVIOUS, Generation, record_dtype
from spectral_graph.bank.rows import READ_BYTES, SUFFIXES, RowFile
from spectral_graph.io.files import allocate, remove, reporting_full_disk, require_space, sync_folder


def left_behind(folder: Path, now: Generation) -> bool:
    """Tell whether an interrupted process left the arrays of the generation after `now`."""
    files = [next_of(now).file(folder, name) for name in now.names]
    return all(file.is_file() and file.stat().st_size == now.bytes for file in files)


def start_next(folder: Path, now: Generation, resume: bool) -> tuple[Generation, set[str]]:
    """Provide the files of the generation after `now`; its records are those of `now`.

    Args:
        folder: of the bank.
        now: the current generation.
        resume: keep the files that an interrupted process left, if all are there.

    Returns:
        The next generation, and the arrays whose files were those of the generation before `now`.

    Raises:
        DiskFullError: they do not fit; nothing has changed then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    new, old = next_of(now), replace(now, number=now.number - 1)
    kept = resume and left_behind(folder, now)
    if not kept:
        remove_others(folder, now.names, {old.number, now.number})
    taken = {name for name in now.names if not kept and old.file(folder, name).is_file()}
    missing = [name for name in now.names if not kept and name not in taken]
    require_space(folder, new.bytes * len(missing), f"the bank {folder}")
    try:
        for name in missing:
            with reporting_full_disk(folder), new.file(folder, name).open("wb") as handle:
                allocate(handle, new.bytes)
    except BaseException:
        for name in missing:
            remove(new.file(folder, name))
        raise
    if taken:
        remove(folder / PREVIOUS)
    for name in taken:
        old.file(folder, name).replace(new.file(folder, name))
    # From here on the old content may change, so its name must be gone for good.
    sync_folder(folder)
    new.records = records_after(now)
    return new, taken


def complete(folder: Path, now: Generation, name: str, target: RowFile, taken: bool) -> None:
    """Copy into an array of the next generation what it lacks of `now`: if its file was `taken` over, little."""
    source = now.rows(folder, name)
    lacking = now.records["written"] == now.number if taken else np.ones(len(now.records), bool)
    images = np.flatnonzero(lacking)
    step = max(1, READ_BYTES * len(now.records) // now.bytes)
    for at in range(0, len(images), step):
        part = images[at : at + step]
        target.write(part, source.read(part))
    source.close()


def remove_others(folder: Path, names: Iterable[str], generations: set[int]) -> None:
    """Remove the files of all generations but these; files of other names are left alone."""
    patterns = [f"{name}.*.{suffix}" for name in names for suffix in SUFFIXES.values()]
    for pattern in (*patterns, "images.*.npy"):
        for file in folder.glob(pattern):
            number = file.name.split(".")[-2]
            if number.isdigit() and int(number) not in generations:
                remove(file)


def next_of(now: Generation) -> Generation:
    """Return the description of the generation after `now`, without its records."""
    return replace(now, number=now.number + 1, notes={}, records=np.zeros(0))


def records_after(now: Generation) -> np.ndarray:
    """Return the records that the generation after `now` begins with."""
    if now.number:
        return now.records.copy()
    return np.zeros(now.shape[0] // now.nodes_per_image, record_dtype(now.names, now.counters))
