"""csr_spmm, chebyshev_step_ and rayleigh with their references in NumPy."""

from __future__ import annotations

import numpy as np
from matrices import matrix, product, row_lengths, rows_of

COLUMNS = 37


def rounded_bf16(x):
    """The bits of the nearest bfloat16 numbers, ties to even, and the numbers."""
    bits = x.astype(np.float32).view(np.uint32)
    upper = (bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype(np.uint16)
    return upper, (upper.astype(np.uint32) << 16).view(np.float32)


def check_places(run, lanes: int, blocks: int) -> None:
    """Groups of threads follow each other without gaps."""
    threads = np.arange(256 * blocks)
    group, lane = (np.frombuffer(raw, np.int64) for raw in run("places", np.array([blocks, lanes])))
    assert (group == threads // lanes).all() and (lane == threads % lanes).all(), "threads are dealt out wrongly"


def check_spmm(run, lengths, channels: int, dtype: str = "float32", shift: int = 0) -> None:
    """csr_spmm against the product in float64, within the bound of a chain of additions."""
    sums = np.dtype("float64" if dtype == "float64" else "float32")
    indptr, indices, values = matrix(lengths, COLUMNS, dtype=sums)
    x = np.random.default_rng(1).standard_normal((COLUMNS, channels)).astype(sums)
    given, x = rounded_bf16(x) if dtype == "bfloat16" else (x, x)
    (raw,) = run(f"csr_spmm_{dtype}", indptr, indices, values, given, np.array([channels, shift], np.int64))
    got = np.frombuffer(raw, sums).reshape(len(lengths), channels)
    expected, size = product(indptr, indices, values, x)
    steps = np.array(lengths)[:, None] + 2
    assert (np.abs(got - expected) <= steps * np.finfo(sums).eps * size).all(), "csr_spmm differs from its reference"


def check_step(run, lengths, channels: int, keep: float = -1.0, shifts=(0, 0), own_is_y: bool = False) -> None:
    """chebyshev_step_ against float64; with keep 0 y holds NaN, with `own_is_y` own is y."""
    rows, factors = len(lengths), np.array([1.75, -0.4, keep], np.float32)
    indptr, indices, values = matrix(lengths, COLUMNS)
    generator = np.random.default_rng(3)
    x, own, y = (generator.standard_normal((n, channels)).astype(np.float32) for n in (COLUMNS, rows, rows))
    if keep == 0 and not own_is_y:
        y[:] = np.nan
    arrays = indptr, indices, values, x, own[:0] if own_is_y else own, y
    (raw,) = run("chebyshev_step", *arrays, np.array([channels, *shifts], np.int64), factors)
    got = np.frombuffer(raw, np.float32).reshape(rows, channels)
    total, size = product(indptr, indices, values, x)
    gain, shift, kept = (float(factor) for factor in factors)
    own, y = (y if own_is_y else own).astype(float), np.nan_to_num(y.astype(float)) * kept
    expected, size = gain * total + shift * own + y, abs(gain) * size + abs(shift * own) + abs(y)
    steps = np.array(lengths)[:, None] + 6
    close = np.abs(got - expected) <= steps * np.finfo(np.float32).eps * size
    assert close.all(), "chebyshev_step_ differs from its reference"


def balanced(indptr, indices, values, inverse_degree, u):
    """The gradient in float64 and the sum of the absolute values of its terms."""
    weights = values.astype(float) * (inverse_degree.astype(float)[rows_of(indptr)] + inverse_degree[indices])
    return product(indptr, indices, weights, u)


def check_rayleigh(run, lengths, channels: int, shift: int = 0) -> None:
    """rayleigh against the two products in float64."""
    n = len(lengths)
    indptr, indices, values = matrix(lengths, n)
    generator = np.random.default_rng(1)
    u = generator.standard_normal((n, channels)).astype(np.float32)
    inverse_degree = generator.random(n).astype(np.float32)
    sizes = np.array([channels, shift], np.int64)
    raw_s, raw_gradient = run("rayleigh", indptr, indices, values, inverse_degree, u, sizes)
    s, gradient = np.frombuffer(raw_s), np.frombuffer(raw_gradient, np.float32).reshape(n, channels)
    expected, size = balanced(indptr, indices, values, inverse_degree, u)
    bound = (np.array(lengths)[:, None] + 4) * np.finfo(np.float32).eps * size
    assert (np.abs(gradient - expected) <= bound).all(), "the gradient of rayleigh differs from its reference"
    error = np.abs(s - 0.5 * (u * expected).sum(axis=0))
    assert (error <= 0.5 * (np.abs(u) * bound).sum(axis=0) + 1e-30).all(), "s of rayleigh differs from its reference"


def check_sums(run, parts: int, channels: int) -> None:
    """The sums of the blocks of rayleigh, over as many levels as their number needs; whole numbers: exact."""
    partial = np.random.default_rng(2).integers(-9, 9, (parts, channels)).astype(float)
    (raw,) = run("rayleigh_sums", partial, np.int64(channels))
    assert (np.frombuffer(raw) == 0.5 * partial.sum(axis=0)).all(), "the sums of rayleigh differ from their reference"


def far_product(run) -> list[float]:
    """Two elements of a product whose x has 2^26 rows of 50 columns; they are 5 and 21."""
    return np.frombuffer(run("far_spmm")[0], np.float32).tolist()


def cases(run, small: bool):
    """All cases of this family as functions without arguments."""
    for lanes, blocks in ((1, 5), (25, 60), (256, 3)):
        yield lambda n=lanes, b=blocks: check_places(run, n, b)
    channels = (3, 50) if small else (1, 2, 3, 16, 50, 51, 64, 100)
    shapes = row_lengths()
    if small:  # hubs, and the cuts, are what the passes over segments can get wrong
        shapes = {name: shapes[name] for name in ("even", "hubs", "cuts")}
    for lengths in shapes.values():
        for c in channels:
            yield lambda n=lengths, c=c: check_spmm(run, n, c)
        yield lambda n=lengths: check_spmm(run, n, 50, "float64")
        yield lambda n=lengths: check_spmm(run, n, 50, "bfloat16")
        for c in (50,) if small else (1, 6, 50, 64):
            yield lambda n=lengths, c=c: check_rayleigh(run, n, c)
    for lengths in shapes.values():
        for c in (50,) if small else (1, 6, 50, 64):
            yield lambda n=lengths, c=c: check_step(run, n, c)
        yield lambda n=lengths: check_step(run, n, 50, keep=0.0)
        yield lambda n=lengths: check_step(run, n, 50, own_is_y=True)
    for shifts in ((1, 0), (0, 1), (0, 2)):
        yield lambda s=shifts: check_step(run, [200, 0, 5], 52, shifts=s)
    yield lambda: check_step(run, [3, 1], 1100)
    yield lambda: check_step(run, [0, 0], 8)
    yield lambda: check_step(run, [], 3)
    for dtype in ("float32", "bfloat16"):
        yield lambda dtype=dtype: check_spmm(run, [200, 0, 5], 52, dtype, shift=1)
        yield lambda dtype=dtype: check_spmm(run, [3, 1], 1100, dtype)
    yield lambda: check_spmm(run, [0, 0], 8)
    yield lambda: check_spmm(run, [9] * 60, 64, "bfloat16")
    yield lambda: check_rayleigh(run, [200, 0, 5], 52, shift=1)
    yield lambda: check_rayleigh(run, [3, 1], 1100)
    yield lambda: check_rayleigh(run, [0, 0], 8)
    yield lambda: check_rayleigh(run, [], 3)
    for parts in (0, 1, 33, 2051):
        yield lambda parts=parts: check_sums(run, parts, 9)
