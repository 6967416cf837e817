"""What topc_affinity should find, by brute force, and its results as rows."""

from __future__ import annotations

import numpy as np
import torch


def brute_force(query, key, image_ptr, c_intra, c_inter, threshold):
    """Rows of (column, value), from products that the caller keeps exactly representable."""
    products = query.double().numpy() @ key.double().numpy().T
    image = np.repeat(np.arange(len(image_ptr) - 1), np.diff(image_ptr.numpy()))
    rows = []
    columns = np.arange(len(key))
    for i, line in enumerate(products):
        chosen = []
        for c, inside in ((c_intra, True), (c_inter, False)):
            wanted = (columns != i) & ((image == image[i]) == inside) & (line > 0) & (line >= threshold)
            candidates = columns[wanted]
            order = np.lexsort((candidates, -line[candidates]))
            chosen += candidates[order[:c]].tolist()
        rows.append([(j, line[j].item()) for j in sorted(chosen)])
    return rows


def as_rows(graph):
    indptr, indices, values = graph
    assert (indptr.dtype, indices.dtype, values.dtype) == (torch.int64, torch.int32, torch.float32)
    assert indptr[0] == 0 and indptr[-1] == len(indices) == len(values)
    pairs = list(zip(indices.tolist(), values.tolist(), strict=True))
    return [pairs[a:b] for a, b in zip(indptr[:-1].tolist(), indptr[1:].tolist(), strict=True)]


def ptr(*sizes: int) -> torch.Tensor:
    return torch.tensor([0, *np.cumsum(sizes).tolist()], dtype=torch.int64)


def assert_same(a, b):
    assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))
