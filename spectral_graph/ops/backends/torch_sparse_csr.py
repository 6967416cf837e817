"""The backend "torch_sparse": SparseTensor of https://github.com/rusty1s/pytorch_sparse."""

from __future__ import annotations

from torch import Tensor

from spectral_graph.ops.backends.registry import Csr, Product, package_missing

DEVICES = "CPU and CUDA"


def missing() -> str:
    """Return why it cannot be used here and how to fix that, or an empty text."""
    return package_missing("torch_sparse", "pip install --no-build-isolation torch-scatter torch-sparse")


def prepare(matrix: Csr) -> Product:
    """Return the product by a SparseTensor, whose columns are 64-bit."""
    from torch_sparse import SparseTensor

    sparse = SparseTensor(
        rowptr=matrix.indptr,
        col=matrix.indices.long(),
        value=matrix.values,
        sparse_sizes=(matrix.rows, matrix.columns),
        is_sorted=True,  # by row; its product accepts unsorted columns
        trust_data=True,
    )

    def product(x: Tensor) -> Tensor:
        result: Tensor = sparse @ x
        return result

    return product
