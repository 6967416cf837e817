"""What can be asked of a bank without reading its arrays."""

from __future__ import annotations

import zlib
from typing import Any

from spectral_graph.bank.generation import Generation


class Described:
    """Shape, names and notes of the current generation of a bank."""

    _is: Generation

    @property
    def shape(self) -> tuple[int, int]:
        """(nodes, channels)."""
        return self._is.shape

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays."""
        return self._is.names

    @property
    def dtype(self) -> str:
        """How the arrays are stored: float32 or bfloat16."""
        return self._is.dtype

    @property
    def generation(self) -> int:
        """Number of the current generation, 0 before the first."""
        return self._is.number

    @property
    def notes(self) -> dict[str, Any]:
        """What the owner noted beside the current generation."""
        return self._is.notes

    @property
    def nodes_per_image(self) -> int:
        """Rows of one image."""
        return self._is.nodes_per_image

    @property
    def n_images(self) -> int:
        """Number of images."""
        return self.shape[0] // self.nodes_per_image

    @property
    def channels(self) -> int:
        """Number of columns."""
        return self.shape[1]

    @property
    def fingerprint(self) -> str:
        """A short text that differs where the content of the current generation does."""
        return f"{self.shape} {self.dtype} {zlib.crc32(self._is.records.tobytes()):08x}"
