"""Every mistake is refused in the same words by the compiled operator and by the pure-torch one."""

from __future__ import annotations

import pytest
import torch

from spectral_graph import ops
from spectral_graph.errors import GraphError
from spectral_graph.ops.library import FALLBACKS

INDPTR, INDICES, VALUES = torch.tensor([0, 2, 3]), torch.tensor([0, 1, 1], dtype=torch.int32), torch.ones(3)
X, U, PTR = torch.ones(2, 4), torch.ones(4, 2, dtype=torch.float64), torch.tensor([0, 2])

MISTAKES = [
    ("csr_spmm", (INDPTR, INDICES, VALUES, X[0]), "x must have 2 dimensions, got the shape (4,)"),
    ("csr_spmm", (INDPTR, INDICES, VALUES, X.half()), "x must be float32, float64 or bfloat16, got float16"),
    ("csr_spmm", (INDPTR.int(), INDICES, VALUES, X), "indptr must be int64, got int32"),
    ("csr_spmm", (INDPTR, INDICES.long(), VALUES, X), "indices must be int32, got int64"),
    ("csr_spmm", (INDPTR, INDICES, VALUES.double(), X), "values must be float32, got float64"),
    ("csr_spmm", (INDPTR, INDICES, VALUES[:2], X), "values must have as many elements as indices, 3, got 2"),
    ("csr_spmm", (INDPTR[:0], INDICES, VALUES, X), "indptr must have rows + 1 elements, got none"),
    ("csr_spmm", (INDPTR + 1, INDICES, VALUES, X), "indptr must begin with 0, got 1"),
    ("csr_spmm", (INDPTR[:2], INDICES, VALUES, X), "indptr must end with the number of indices, 3, got 2"),
    (
        "csr_spmm",
        (torch.tensor([0, 4, 2, 3]), INDICES, VALUES, X),
        "indptr must not decrease, got indptr[1] = 4 and indptr[2] = 2",
    ),
    ("csr_spmm", (INDPTR, INDICES + 1, VALUES, X), "indices must lie in [0, 2), got indices[1] = 2"),
    ("csr_spmm", (INDPTR, INDICES - 1, VALUES, X), "indices must lie in [0, 2), got indices[0] = -1"),
    ("csr_spmm", (INDPTR, INDICES, VALUES, X[:0]), "indices must lie in [0, 0), got indices[0] = 0"),
    ("csr_spmm_transposed", (INDPTR, INDICES, VALUES, X[:1], 2), "x must have as many rows as the matrix, 2, got 1"),
    ("csr_sddmm", (INDPTR, INDICES, X, X[:, :3]), "b must have as many columns as a, 4, got 3"),
    ("csr_sddmm", (INDPTR, INDICES, X[:1], X), "a must have as many rows as the matrix, 2, got 1"),
    ("csr_sddmm", (INDPTR, INDICES, X, X[:1]), "indices must lie in [0, 1), got indices[1] = 1"),
    ("csr_transpose", (INDPTR, INDICES, VALUES, 1), "indices must lie in [0, 1), got indices[1] = 1"),
    (
        "csr_transpose",
        (INDPTR, INDICES, VALUES, -1),
        "the number of columns must be in [0, 2147483647], got -1",
    ),
    ("csr_symmetrise", (INDPTR, INDICES, VALUES, 3), "indptr must have n + 1 = 4 elements, got 3"),
    ("csr_symmetrise", (INDPTR, INDICES, VALUES.double(), 2), "values must be float32, got float64"),
    ("csr_symmetrise", (INDPTR, INDICES + 7, VALUES, 2), "indices must lie in [0, 2), got indices[0] = 7"),
    ("gram", (X.double(),), "x must be float32, got float64"),
    ("gram", (X, X[:1]), "y must have as many rows as x, 2, got 1"),
    ("rotate", (X, U.float()), "u must be float64, got float32"),
    ("rotate", (X, U[:3]), "u must have as many rows as x has columns, 4, got 3"),
    ("topc_affinity", (X, X[:, :3], PTR, 1, 1), "key must have the shape of query, (2, 4), got (2, 3)"),
    ("topc_affinity", (X, X, PTR.int(), 1, 1), "image_ptr must be int64, got int32"),
    ("topc_affinity", (X, X, PTR[:0], 1, 1), "image_ptr must have images + 1 elements, got none"),
    ("topc_affinity", (X, X, PTR + 1, 1, 1), "image_ptr must begin with 0, got 1"),
    ("topc_affinity", (X, X, PTR[:1], 1, 1), "image_ptr must end with the number of nodes, 2, got 0"),
    (
        "topc_affinity",
        (X, X, torch.tensor([0, 3, 2]), 1, 1),
        "image_ptr must not decrease, got image_ptr[1] = 3 and image_ptr[2] = 2",
    ),
    ("topc_affinity", (X, X, PTR, -1, 1), "c_intra must be at least 0, got -1"),
    ("topc_affinity", (X, X, PTR, 1, -2), "c_inter must be at least 0, got -2"),
    ("topc_affinity", (X, X, PTR, 1, 1, -0.5), "threshold must be a finite number of at least 0, got -0.5"),
    ("topc_affinity", (X, X, PTR, 1, 1, float("nan")), "threshold must be a finite number of at least 0, got nan"),
]


@pytest.mark.parametrize(("name", "arguments", "text"), MISTAKES)
def test_mistakes_are_named_by_every_implementation(name, arguments, text):
    with pytest.raises(GraphError) as public:
        getattr(ops, name)(*arguments)
    assert str(public.value) == f"spectral_graph::{name}: {text}"
    if name in FALLBACKS:
        full = (*arguments, *(0.0, False)[len(arguments) - 5 :]) if name == "topc_affinity" else arguments
        with pytest.raises(GraphError) as fallback:
            FALLBACKS[name](*full)
        assert str(fallback.value) == str(public.value)


def test_non_contiguous_arguments_of_the_raw_operator_are_refused():
    if not ops.compiled():
        pytest.skip("the pure-torch operators take any strides")
    with pytest.raises(RuntimeError, match=r"rotate: x must be contiguous; call \.contiguous\(\) on it"):
        torch.ops.spectral_graph.rotate.default(torch.ones(4, 2).T, U)
