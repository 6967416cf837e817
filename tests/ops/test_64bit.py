"""Places beyond 2^31 elements: the arrays are mapped without memory, and only the pages that are named become real."""

from __future__ import annotations

import mmap

import numpy as np
import pytest
import torch

from spectral_graph import ops

FAR = 2**31 + 12_345
"""More elements than 32 bits count, with or without sign in the offset in bytes."""


def mapped(elements: int, dtype) -> np.ndarray:
    """Return zeros that take memory only where they are written."""
    flags = getattr(mmap, "MAP_NORESERVE", 0) | mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    return np.frombuffer(mmap.mmap(-1, elements * np.dtype(dtype).itemsize, flags=flags), dtype, elements)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("backend", ["native", "numba", "scipy"])
def test_a_row_of_x_beyond_32_bits_is_found(dtype, backend):
    if backend == "numba":
        pytest.importorskip("numba")
    if backend != "native" and dtype == "bfloat16":
        pytest.skip("it would be widened as a whole")
    channels = 33
    rows = FAR // channels
    x = torch.from_numpy(mapped(rows * channels, {"bfloat16": np.int16}.get(dtype, dtype))).view(rows, channels)
    x = x.view(torch.bfloat16) if dtype == "bfloat16" else x
    x[rows - 1], x[rows - 2] = 3.0, 0.5
    indptr, indices = torch.tensor([0, 1, 3]), torch.tensor([rows - 1, rows - 2, rows - 1], dtype=torch.int32)
    values = torch.tensor([2.0, 4.0, 1.0], dtype=torch.float64 if dtype == "float64" else torch.float32)
    with ops.use_backend(backend):
        y = ops.csr_spmm(indptr, indices, values, x)
    assert y.tolist() == [[6.0] * channels, [5.0] * channels]


def test_dot_products_with_rows_beyond_32_bits():
    channels = 33
    rows = FAR // channels
    b = torch.from_numpy(mapped(rows * channels, np.float32)).view(rows, channels)
    b[rows - 1] = 0.25
    indptr, indices = torch.tensor([0, 2]), torch.tensor([rows - 1, 5], dtype=torch.int32)
    assert ops.csr_sddmm(indptr, indices, torch.full((1, channels), 4.0), b).tolist() == [33.0, 0.0]


def test_entries_beyond_32_bits():
    """No columns in x: nothing is multiplied, but every index is tested, and the one that is wrong is named."""
    if not ops.compiled():
        pytest.skip("the pure-torch operator makes copies of the indices")
    indices = torch.from_numpy(mapped(FAR, np.int32))
    indptr, values = torch.tensor([0, FAR - 3, FAR]), torch.from_numpy(mapped(FAR, np.float32))
    assert ops.csr_spmm(indptr, indices, values, torch.empty(4, 0), check=False).shape == (2, 0)
    indices[FAR - 2] = 4
    with pytest.raises(ops.library.GraphError, match=rf"must lie in \[0, 4\), got indices\[{FAR - 2}\] = 4"):
        ops.csr_spmm(indptr, indices, values, torch.empty(4, 0))
