"""The methods that are clustered and scored side by side, and their rows."""

from __future__ import annotations

import numpy as np

from spectral_graph.bank import Bank
from spectral_graph.node_rows import FirstColumns, ImageRows, NormalisedRows, StoredRows, WeightedColumns
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.runs.notes import orthogonal_notes
from spectral_graph.runs.titles import BASELINE
from spectral_graph.stages.context import Context, bank_of, features_of


def methods_of(context: Context) -> tuple[str, ...]:
    """Return the affinities of the run, and the baseline."""
    return (*context.config.kinds, BASELINE)


def raw_rows(context: Context, table: ImageTable, method: str) -> ImageRows:
    """Return all columns: of the orthogonal bank, or of the final features."""
    if method == BASELINE:
        return features_of(context, table).final_rows(table.slots)
    return bank_rows(bank_of(context.run.folder(method) / "ortho", table))


def bank_rows(bank: Bank) -> ImageRows:
    """Return the rows of a bank."""
    return StoredRows(bank.read, bank.shape, bank.nodes_per_image)


def diffusion_weights(eigenvalues: np.ndarray, last: float) -> np.ndarray:
    """Return (eigenvalue / largest)^t, with t such that the smallest one gets the weight `last`.

    These are the columns of a diffusion map at time t (R. R. Coifman and S. Lafon, "Diffusion maps", 2006,
    https://doi.org/10.1016/j.acha.2006.04.006). Fixing the last weight instead of t makes the choice independent of
    how fast the spectrum of a data set falls. Eigenvalues of 0 or less count as a thousandth of the largest.
    """
    largest = eigenvalues.max()
    if largest <= 0:
        return np.ones(len(eigenvalues))
    ratio = np.clip(eigenvalues / largest, 1e-3, 1.0)
    if ratio.min() == 1.0:
        return ratio
    return ratio ** (np.log(last) / np.log(ratio.min()))


def clustered_rows(context: Context, table: ImageTable, method: str) -> ImageRows:
    """Return the rows that K-means sees."""
    config = context.config
    if method == BASELINE:
        rows = raw_rows(context, table, method)
    else:
        bank = bank_of(context.run.folder(method) / "ortho", table)
        rows = FirstColumns(bank_rows(bank), min(config.eigenvectors, bank.channels))
        if config.diffusion < 1:
            quotients = np.array(orthogonal_notes(bank)["rayleigh_quotients"][: rows.channels], np.float64)
            rows = WeightedColumns(rows, diffusion_weights(quotients, config.diffusion))
    return NormalisedRows(rows) if config.row_normalise else rows
