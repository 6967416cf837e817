"""Arguments of the public functions: seeds, temporary folders, and errors that name arguments as they are called."""

from __future__ import annotations

import numbers
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from spectral_graph.errors import ConfigError, DiskFullError, SolverError


def require_known(options: Mapping[str, Any], known: type) -> None:
    """Raise ConfigError for an option that is none of the entries of a TypedDict."""
    unknown = sorted(options.keys() - known.__annotations__.keys())
    if unknown:
        names = ", ".join(known.__annotations__)
        raise ConfigError(f"`{unknown[0]}`: there is no such option here; there are {names}")


@contextmanager
def as_arguments(channels: str = "n_components") -> Iterator[None]:
    """Name options in errors as the public functions call them; `channels` is what they call the number of columns."""
    try:
        yield
    except (ConfigError, SolverError) as error:
        text = str(error).replace("`channels", f"`{channels}").replace("`seed", "`random_state")
        raise type(error)(text) from None


@contextmanager
def temporary_folder(scratch: str | Path | None) -> Iterator[Path]:
    """Make a folder in `scratch`, or where the system keeps temporary files, and remove it at the end.

    Raises:
        ConfigError: there is no folder `scratch`.
        DiskFullError: its disk is full.
    """
    if scratch is not None and not Path(scratch).is_dir():
        raise ConfigError(f"`scratch={scratch}`: there is no such folder; make it, or name another")
    try:
        with tempfile.TemporaryDirectory(prefix="spectral-graph-", dir=scratch) as name:
            yield Path(name)
    except DiskFullError as error:
        raise DiskFullError(
            f"{error.problem}; free some space, or name a folder on another disk as `scratch`"
        ) from error


def seed_of(random_state: Any) -> int:
    """Return the seed that a `random_state` stands for, as scikit-learn's functions take it.

    Raises:
        ConfigError: it is neither a whole number of 0 or more, a generator of NumPy, nor None.
    """
    if random_state is None:
        return int(np.random.default_rng().integers(2**31))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool) and int(random_state) >= 0:
        return int(random_state)
    raise ConfigError(f"`random_state={random_state!r}`: give a whole number, 0 or more, a generator of NumPy, or None")
