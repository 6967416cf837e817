"""csr_check, csr_transpose, csr_symmetrise and csr_sddmm with their references in NumPy."""

from __future__ import annotations

import numpy as np
from matrices import matrix, row_lengths, rows_of, symmetrised


def check_csr_check(run) -> None:
    """The first fault of indptr and of indices is found; a sound matrix has none."""
    indptr, indices, _ = matrix([5] * 400, 30)
    broken, outside = indptr.copy(), indices.copy()
    broken[[7, 300]] = 2000
    outside[[1999, 1203]] = [-1, 30]
    empty = np.array([3], np.int64), indices[:0]
    for given, expected in (
        ((indptr, indices), [0, 0, 0, 2000]),
        ((broken, indices), [400 - 7, 0, 0, 2000]),
        ((indptr, outside), [0, 2000 - 1203, 0, 2000]),
        (empty, [0, 0, 3, 3]),
    ):
        report = np.frombuffer(run("csr_check", *given, np.int64(30))[0], np.int64).tolist()
        assert report == expected, "csr_check differs from its reference"


def check_transpose(run, lengths, columns: int) -> None:
    """The transpose, exactly: sorted by column, equal places in their order."""
    indptr, indices, values = matrix(lengths, columns)
    got = run("csr_transpose", indptr, indices, values, np.int64(columns))
    order = np.argsort(indices, kind="stable")
    starts = np.concatenate([[0], np.bincount(indices, minlength=columns).cumsum()]).astype(np.int64)
    expected = starts, rows_of(indptr)[order].astype(np.int32), values[order]
    for raw, reference in zip(got, expected, strict=True):
        assert raw == reference.tobytes(), "csr_transpose differs from its reference"


def check_symmetrise(run, lengths, in_order: bool) -> None:
    """(B + B^T) / 2, exactly, and degrees within a rounding; in_order: B with sorted rows."""
    indptr, indices, values = matrix(lengths, len(lengths))
    if in_order:
        indices = indices[np.lexsort((indices, rows_of(indptr)))]
    *got, degree, unsorted = run("csr_symmetrise", indptr, indices, values)
    *expected, sums = symmetrised(indptr, indices, values)
    assert np.frombuffer(unsorted, np.int64)[0] == (not in_order), "csr_symmetrise misjudges the order of its rows"
    for raw, reference in zip(got, expected, strict=True):
        assert raw == reference.tobytes(), "csr_symmetrise differs from its reference"
    error = np.abs(np.frombuffer(degree, np.float32) - sums)
    assert (error <= 1e-6 * np.abs(sums) + 1e-12).all(), "the degrees of csr_symmetrise differ from their reference"


def check_sddmm(run, lengths, channels: int, dtype=np.float32) -> None:
    """Dot products at the stored places against float64."""
    indptr, indices, _ = matrix(lengths, 41)
    generator = np.random.default_rng(6)
    a = generator.standard_normal((len(lengths), channels)).astype(dtype)
    b = generator.standard_normal((41, channels)).astype(dtype)
    (raw,) = run(f"csr_sddmm_{np.dtype(dtype).name}", indptr, indices, a, b, np.int64(channels))
    terms = a.astype(float)[rows_of(indptr)] * b[indices]
    bound = (channels + 2) * np.finfo(dtype).eps * np.abs(terms).sum(axis=1)
    error = np.abs(np.frombuffer(raw, dtype) - terms.sum(axis=1))
    assert (error <= bound).all(), "csr_sddmm differs from its reference"


def cases(run, small: bool):
    """All cases of this family as functions without arguments."""
    lengths = row_lengths()
    hub = [0, 3, 300, 2, *[1] * 60, 40]
    shapes = [lengths["even"], lengths["cuts"], lengths["one"], hub]
    if not small:
        shapes += [lengths["hubs"], lengths["empty"]]
    yield lambda: check_csr_check(run)
    for shape in shapes:
        yield lambda n=shape: check_transpose(run, n, 45)
        for in_order in (True, False):
            if in_order or max(shape) > 1:
                yield lambda n=shape, o=in_order: check_symmetrise(run, n, o)
        for channels in (50,) if small else (1, 6, 50, 64):
            yield lambda n=shape, c=channels: check_sddmm(run, n, c)
        yield lambda n=shape: check_sddmm(run, n, 50, np.float64)
    yield lambda: check_transpose(run, [0, 0], 3)
    yield lambda: check_transpose(run, [], 0)
    yield lambda: check_symmetrise(run, [], True)
    yield lambda: check_sddmm(run, [3, 0, 4], 0)
