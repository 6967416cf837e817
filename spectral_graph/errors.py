"""Every error and warning that a user can meet. Each is also a builtin, so that `except FileNotFoundError` works.

A message gives the value, the place and the cure. It names an option as Python has it, in backticks: `c_inter`, or with
a value `force=graph`. The command line prints these as they are typed there: --c-inter, --force graph.
"""

from __future__ import annotations


class SpectralGraphError(Exception):
    """Base of all errors of this package; the command line prints it in one line, without a traceback."""

    exit_code = 2


class ConfigError(SpectralGraphError, ValueError):
    """An option, or a combination of options, cannot be used."""


class MissingDataError(SpectralGraphError, FileNotFoundError):
    """A data set, or a part of it, is not where it should be."""


class DataError(SpectralGraphError, ValueError):
    """A data set is there but cannot be used: a damaged annotation file, no image at all, ..."""


class UnsafePathError(SpectralGraphError, ValueError):
    """A path in a file from outside is not a plain relative one, or leads out of the folder that it belongs to."""


class ImageError(SpectralGraphError, ValueError):
    """One image or label file cannot be read."""


class ModelError(SpectralGraphError, ValueError):
    """A model is unknown, or does not offer what is asked for (a layer, queries, keys, values)."""


class WeightsError(SpectralGraphError, FileNotFoundError):
    """Pre-trained weights are missing, damaged or out of reach."""


class DeviceMemoryError(SpectralGraphError, MemoryError):
    """A GPU has too little memory for the computation."""


class FeatureError(SpectralGraphError, ValueError):
    """Features hold values that no graph can be built from (NaN, infinity) or have the wrong shape."""


class GraphError(SpectralGraphError, ValueError):
    """A graph cannot be built or does not fit the operation."""


class FormatError(SpectralGraphError, ValueError):
    """A stored file or array is damaged, truncated or of an unknown format version."""


class StaleRunError(SpectralGraphError, ValueError):
    """A run directory was made with other options or other input."""


class RunBusyError(SpectralGraphError, RuntimeError):
    """Another process works on the same run directory."""


class SolverError(SpectralGraphError, ArithmeticError):
    """A solver could not reach what was asked of it."""


class DiskFullError(SpectralGraphError, OSError):
    """Writing failed for want of space; what was finished before is kept.

    Attributes:
        problem: the message without the cure.
    """

    def __init__(self, problem: str, cure: str = "") -> None:
        super().__init__(f"{problem}; {cure}" if cure else problem)
        self.problem = problem


class LostProcessError(SpectralGraphError, ConnectionError):
    """Another process that works on the same run has ended."""


class RemoteError(SpectralGraphError, ConnectionError):
    """A place named by a URL cannot be read or written."""


class SpectralGraphWarning(UserWarning):
    """A result is there, but falls short of what was asked."""
