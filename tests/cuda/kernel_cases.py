"""Cases of every kernel with their references in NumPy; `run` is an Emulator or what has its signature."""

from __future__ import annotations

import numpy as np

SEGMENT = 128  # items of a segment of csr_spmm


def matrix(lengths, columns: int, seed: int = 0, dtype=np.float32):
    """A sparse matrix with rows of these lengths; columns may repeat."""
    generator = np.random.default_rng(seed)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    indices = generator.integers(0, columns, indptr[-1]).astype(np.int32)
    return indptr, indices, generator.standard_normal(indptr[-1]).astype(dtype)


def product(indptr, indices, values, x):
    """A x and |A| |x| in float64."""
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    result = np.zeros((len(indptr) - 1, x.shape[1]))
    size = np.zeros_like(result)
    terms = values.astype(float)[:, None] * x.astype(float)[indices]
    np.add.at(result, rows, terms)
    np.add.at(size, rows, np.abs(terms))
    return result, size


def spmm_lengths(seed: int = 0) -> dict[str, list[int]]:
    """Row lengths by name: even, empty, hubs of many segments, ends at the very cut of a segment."""
    generator = np.random.default_rng(seed)
    return {
        "even": generator.integers(0, 40, 60).tolist(),
        "empty": [0] * (3 * SEGMENT + 5),
        "one": [1],
        "hubs": [3, 0, 45 * SEGMENT, 2, 0, 0, 2 * SEGMENT, 5, 33 * SEGMENT, 34 * SEGMENT + 7],
        "cuts": [SEGMENT - 1, SEGMENT - 1, SEGMENT, SEGMENT - 2, 0, 2 * SEGMENT - 1, 0],
        "joins": [32 * SEGMENT, 32 * SEGMENT - 2, 31 * SEGMENT, 33 * SEGMENT],
        "last": [0, 0, 40 * SEGMENT],
    }


def check_spmm(run, lengths, channels: int, dtype=np.float32, shift: int = 0) -> None:
    """csr_spmm against the product in float64, within the bound of a chain of additions."""
    indptr, indices, values = matrix(lengths, 37, dtype=dtype)
    x = np.random.default_rng(1).standard_normal((37, channels)).astype(dtype)
    name = f"csr_spmm_{np.dtype(dtype).name}"
    (raw,) = run(name, indptr, indices, values, x, np.array([channels, shift], np.int64))
    got = np.frombuffer(raw, dtype).reshape(len(lengths), channels)
    expected, size = product(indptr, indices, values, x)
    steps = np.array(lengths)[:, None] + 2
    assert (np.abs(got - expected) <= steps * np.finfo(dtype).eps * size).all(), "csr_spmm differs from its reference"


def check_csr_check(run) -> None:
    """The first fault of indptr and of indices is found; a sound matrix has none."""
    indptr, indices, _ = matrix([5] * 400, 30)
    faults = [0, 0]
    assert np.frombuffer(run("csr_check", indptr, indices, np.int64(30))[0], np.uint64).tolist() == faults
    broken, outside = indptr.copy(), indices.copy()
    broken[[7, 300]] = 2000
    outside[[1999, 1203]] = [-1, 30]
    for first, second, expected in ((broken, indices, [400 - 7, 0]), (indptr, outside, [0, 2000 - 1203])):
        assert np.frombuffer(run("csr_check", first, second, np.int64(30))[0], np.uint64).tolist() == expected


def check_gram(run, rows: int, left: int, right: int | None = None) -> None:
    """The Gram matrix against NumPy in float64; exactly symmetric where it should be."""
    generator = np.random.default_rng(2)
    x = generator.standard_normal((rows, left)).astype(np.float32)
    y = x if right is None else generator.standard_normal((rows, right)).astype(np.float32)
    shape = np.array([rows, left, y.shape[1], right is None], np.int64)
    (raw,) = run("gram", x, x[:0] if right is None else y, shape)
    got = np.frombuffer(raw).reshape(left, y.shape[1])
    expected = x.T.astype(float) @ y.astype(float)
    bound = (rows + 2) * np.finfo(float).eps * (np.abs(x).T.astype(float) @ np.abs(y).astype(float))
    assert (np.abs(got - expected) <= bound).all(), "gram differs from its reference"
    assert right is not None or (got == got.T).all(), "gram is not symmetric"


def check_rotate(run, rows: int, channels: int, width: int) -> None:
    """X U against NumPy in float64, rounded once."""
    generator = np.random.default_rng(3)
    x = generator.standard_normal((rows, channels)).astype(np.float32)
    u = generator.standard_normal((channels, width))
    (raw,) = run("rotate", x, u, np.array([rows, channels, width], np.int64))
    got = np.frombuffer(raw, np.float32).reshape(rows, width)
    bound = np.finfo(np.float32).eps * (np.abs(x).astype(float) @ np.abs(u))
    assert (np.abs(got - x.astype(float) @ u) <= bound).all(), "rotate differs from its reference"


def best_pairs(scores, image_ptr, c_intra: int, c_inter: int, threshold: float):
    """The selection by sorting every row: value descending, then column ascending."""
    image = np.repeat(np.arange(len(image_ptr) - 1), np.diff(image_ptr))
    columns = np.arange(len(scores))
    indptr, indices, values = [0], [], []
    for i, line in enumerate(scores):
        chosen = []
        for c, inside in ((c_intra, True), (c_inter, False)):
            wanted = (columns != i) & ((image == image[i]) == inside) & (line > 0) & (line >= np.float32(threshold))
            candidates = columns[wanted]
            chosen += candidates[np.lexsort((candidates, -line[candidates]))][:c].tolist()
        indices += sorted(chosen)
        values += line[sorted(chosen)].tolist()
        indptr.append(len(indices))
    return np.array(indptr, np.int64), np.array(indices, np.int32), np.array(values, np.float32)


def tied_scores(nodes: int, seed: int = 4):
    """Scores of few different values, so that most places are decided by the column; some NaN, inf and negative."""
    generator = np.random.default_rng(seed)
    scores = generator.integers(-6, 30, (nodes, nodes)).astype(np.float32) / 16
    for value in (np.nan, np.inf, 0.0, -np.inf):
        scores[generator.random((nodes, nodes)) < 0.02] = value
    return scores


def check_topc(run, scores, sizes, c_intra: int, c_inter: int, threshold: float, block=(10**6, 10**6)) -> None:
    """The selection, exactly; `block`: rows and columns of the score blocks that it sees one after the other."""
    image_ptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    limits = np.array([c_intra, c_inter, *block], np.int64)
    got = run("topc", scores, image_ptr, limits, np.float32(threshold))
    expected = best_pairs(scores, image_ptr, c_intra, c_inter, threshold)
    for part, raw, reference in zip(("indptr", "indices", "values"), got, expected, strict=True):
        assert raw == reference.tobytes(), f"the {part} of topc differ from the reference"


def check_all(run, small: bool = False) -> int:
    """Every kernel over its cases; `small`: fewer, for slow builds. Returns the number of cases."""
    cases = [lambda: check_csr_check(run)]
    channels = (3, 50) if small else (1, 2, 3, 16, 50, 51, 64, 100)
    for lengths in spmm_lengths().values():
        cases += [lambda n=lengths, c=c: check_spmm(run, n, c) for c in channels]
        cases.append(lambda n=lengths: check_spmm(run, n, 50, np.float64))
    cases.append(lambda: check_spmm(run, [200, 0, 5], 52, shift=1))
    cases.append(lambda: check_spmm(run, [0, 0], 8))
    cases.append(lambda: check_spmm(run, [3, 1], 1100))
    grams = ((1, 1, None), (40, 50, None), (1500, 5, None), (33, 70, 9))
    cases += [lambda s=s: check_gram(run, *s) for s in grams]
    cases += [lambda s=s: check_rotate(run, *s) for s in ((1, 1, 1), (70, 50, 50), (65, 17, 67), (3, 0, 4))]
    nodes = 150 if small else 300
    scores, sizes = tied_scores(nodes), [nodes // 3, 0, 1, nodes - nodes // 3 - 1]
    for c_intra, c_inter, threshold, block in (
        (5, 20, 0.0, (10**6, 10**6)),
        (3, 7, 0.25, (64, 53)),
        (nodes - 1, 1, 0.0, (10**6, 100)),
        (0, 90, 0.0, (10**6, 10**6)),
        (1, 0, 9.0, (10**6, 10**6)),
    ):
        cases.append(lambda a=(c_intra, c_inter, threshold, block): check_topc(run, scores, sizes, *a))
    rising = np.tile(np.arange(1, 321, dtype=np.float32), (320, 1))  # every score enters the list when it comes
    cases.append(lambda: check_topc(run, rising, [20, 300], 5, 5, 0.0))
    for case in cases:
        case()
    return len(cases)


def far_product(run) -> list[float]:
    """Two elements of a product whose x has 2^26 rows of 50 columns; they are 5 and 21."""
    return np.frombuffer(run("far_spmm")[0], np.float32).tolist()
