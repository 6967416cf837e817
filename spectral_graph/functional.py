"""The steps of `spectral_embedding` one by one, on sparse matrices of SciPy: neighbours, normalise, eigenvectors."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from scipy.sparse import csr_array, issparse

from spectral_graph.arguments import as_arguments, require_known, seed_of, temporary_folder
from spectral_graph.config import make_config
from spectral_graph.embed import (
    Eigenvectors,
    Features,
    NeighbourOptions,
    build_graph,
    missed_recall,
    not_converged,
    operator_eigenvectors,
)
from spectral_graph.errors import GraphError, SpectralGraphWarning
from spectral_graph.features.device import find_device
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.graph.csr_operator import CsrOperator
from spectral_graph.graph.merge import Normalisation, require_normalisation
from spectral_graph.graph.merge import normalise as normalised_values
from spectral_graph.graph.operator import affinity_operator
from spectral_graph.solve.device_room import check_kernels
from spectral_graph.vectors import first_nodes, split_layers

SYMMETRIC = 1e-5
"""Largest difference of an entry from its mirror image, relative to the largest entry."""


def neighbours(
    X: Features,
    *,
    nodes_per_image: int | None = None,
    image_ptr: Any = None,
    random_state: Any = 0,
    scratch: str | Path | None = None,
    **options: Unpack[NeighbourOptions],
) -> csr_array:
    """Return the affinity graph A (N, N) float32 of one layer of vectors, symmetric, without a diagonal.

    Each node is joined to its c_intra nearest nodes by cosine in its image and its c_inter nearest in the others; a
    cosine below `threshold` is no edge. The values are cosines to the power `sharpen`; A is the mean of the lists and
    their transpose, in which `hubs` are then balanced. The paper's affinity (section 3) has sharpen=1, hubs="none".

    Args:
        X: (N, d) vectors, or `Layer(queries, keys)`; see `spectral_embedding`.
        nodes_per_image: see `spectral_embedding`.
        image_ptr: see `spectral_embedding`.
        random_state: see `spectral_embedding`.
        scratch: see `spectral_embedding`.
        options: c_intra, c_inter, threshold, sharpen, centre, hubs, hub_cap, neighbours (the method of search), recall.

    Raises:
        FeatureError: X or the images are something else, or X has several layers.
        ConfigError: an option is unknown or out of its range.
        GraphError: more neighbours are asked for than there are nodes.
    """
    require_known(options, NeighbourOptions)
    with as_arguments(), temporary_folder(scratch) as work:
        config = make_config({**options, "seed": seed_of(random_state)})
        layers = split_layers(X)
        if len(layers) > 1:
            raise GraphError(f"X has {len(layers)} layers, and each has its own graph; call neighbours for each")
        starts = first_nodes(layers[0][0].shape[0], nodes_per_image, image_ptr)
        graph = build_graph(layers, starts, config, work)
        affinity = affinity_operator(GraphStore.open(work / "graph.zarr"), "layer.000").to_scipy()
    for text in missed_recall(graph.recall, graph.recall_asked):
        warnings.warn(text, SpectralGraphWarning, stacklevel=2)
    return affinity


def normalise(A: Any, normalisation: Normalisation = "symmetric") -> csr_array:
    """Return the normalised graph (N, N) float32; rows and columns of nodes without edges stay empty.

    symmetric: D^-1/2 A D^-1/2. random_walk: (D^-1 A + A D^-1) / 2, which has the quadratic form of D^-1 A (Eqn. 3 of
    the paper). D is the diagonal of the row sums. Normalised Laplacian: I minus the result.

    Args:
        A: (N, N) symmetric, sparse or dense, without negative entries.
        normalisation: which of both.

    Raises:
        GraphError: A is not square, not symmetric, or holds negative numbers, NaN or infinity.
        ConfigError: there is no such normalisation.
    """
    require_normalisation(normalisation)
    matrix = _symmetric(A)
    if matrix.nnz and matrix.data.min() < 0:
        raise GraphError(f"A holds {matrix.data.min():g}; an affinity is 0 or more")
    degree = np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel()
    block = Block(np.arange(matrix.shape[0]), matrix.indptr, matrix.indices, matrix.data, degree, {})
    values = normalised_values(block, normalisation).astype(np.float32)
    return csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def eigenvectors(
    A: Any, k: int, *, tol: float = 1e-3, max_rounds: int = 30, device: str = "cpu", random_state: Any = 0
) -> Eigenvectors:
    """Return the eigenvectors of the k largest eigenvalues of a symmetric sparse matrix.

    Filtered subspace iteration (`spectral_graph.solve.chebyshev`), to residuals of at most `tol`; where the matrix is
    small, its dense form is solved. For a graph give the result of `normalise`.

    Warns:
        SpectralGraphWarning: a residual is above `tol`.

    Args:
        A: (N, N) symmetric, sparse or dense.
        k: number of eigenvectors, 1 to N.
        tol: largest residual.
        max_rounds: rounds of the solver at most.
        device: cpu, cuda or cuda:N.
        random_state: see `spectral_embedding`.

    Raises:
        GraphError: A is not square or not symmetric, or holds NaN or infinity.
        SolverError: k exceeds N, or A is zero.
        ConfigError: an argument is out of its range.
    """
    operator = CsrOperator(_symmetric(A))
    given = {"channels": k, "tol": tol, "max_rounds": max_rounds, "device": device, "seed": seed_of(random_state)}
    with as_arguments("k"), temporary_folder(None) as work:
        config = make_config(given)
        check_kernels(find_device(config.device))
        found = operator_eigenvectors(operator, config, work)
    for text in not_converged(found.residuals, config.tol):
        warnings.warn(text, SpectralGraphWarning, stacklevel=2)
    return found


def _symmetric(A: Any) -> csr_array:
    """Return a matrix as CSR of float32, its indices ascending.

    Raises:
        GraphError: it is not square, not symmetric, or not finite.
    """
    given = A if issparse(A) else np.asarray(A)
    if given.dtype.kind not in "fiub":
        raise GraphError(f"A is a {type(A).__name__} of {given.dtype}, expected a matrix of real numbers")
    if given.ndim != 2 or given.shape[0] != given.shape[1] or given.shape[0] == 0:
        raise GraphError(f"A has shape {given.shape}, expected (N, N)")
    with np.errstate(over="ignore"):
        matrix = csr_array(given).astype(np.float32)
    matrix.sum_duplicates()
    if not np.isfinite(matrix.data).all():
        raise GraphError("A holds NaN or infinity, or numbers beyond float32")
    largest = float(np.abs(matrix.data).max(initial=0))
    difference = abs(matrix - matrix.T)
    if difference.nnz and difference.data.max() > SYMMETRIC * largest:
        raise GraphError(
            f"A is not symmetric: entries differ by up to {difference.data.max():.1e} from their mirror image; "
            "give (A + A.T) / 2"
        )
    return matrix
