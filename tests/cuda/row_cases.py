"""unit_project, cosine_topc and cell_topc with their references in NumPy."""

from __future__ import annotations

import numpy as np


def sizes(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def check_halves(run) -> None:
    """Every float16 is read as it is, by the emulation too."""
    every = np.arange(1 << 16).astype(np.uint16).view(np.float16)
    got = np.frombuffer(run("widened", every)[0], np.float32)
    assert np.array_equal(got, every.astype(np.float32), equal_nan=True), "a float16 is read wrongly"


def check_unit(run, rows: int, depth: int, dtype=np.float32) -> None:
    """Unit rows and scales against float64; rows without length, and with NaN or infinity."""
    generator = np.random.default_rng(11)
    x = generator.standard_normal((rows, depth)).astype(dtype)
    mean = generator.standard_normal(depth).astype(np.float32)
    if rows > 4:
        mean = x[0].astype(np.float32)
        x[2, depth // 2], x[3, -1] = np.inf, np.nan
    unit, inverse = run(f"unit_project_{np.dtype(dtype).name}", x, mean, sizes(rows, depth))
    unit, inverse = np.frombuffer(unit, np.float32).reshape(rows, depth), np.frombuffer(inverse, np.float32)
    centred = x.astype(np.float32) - mean
    norm = np.linalg.norm(centred.astype(float), axis=1)
    whole = np.isfinite(norm)
    expected = np.divide(1, norm, out=np.zeros(rows), where=norm > 0).astype(np.float32)
    assert (np.abs(inverse - expected)[whole] <= np.spacing(expected[whole])).all(), "a scale of unit_project is wrong"
    assert np.isnan(inverse[~whole]).all(), "unit_project scales a row that is not finite"
    assert (unit[whole] == centred[whole] * inverse[whole, None]).all(), "a unit row of unit_project is wrong"


def best_of(lists, c: int):
    """The c best of lists of (value, name): value descending, then name ascending; free places -1 and 0."""
    columns, values = np.full((len(lists), c), -1, np.int32), np.zeros((len(lists), c), np.float32)
    for i, pairs in enumerate(lists):
        for p, (value, name) in enumerate(sorted(pairs, key=lambda pair: (-pair[0], pair[1]))[:c]):
            columns[i, p], values[i, p] = name, value
    return columns, values


def cosine_problem(queries: int, rows: int, depth: int, most: int, dtype=np.float32, seed: int = 12):
    """Small whole numbers, so that every sum is exact and most places are decided by the name."""
    generator = np.random.default_rng(seed)
    query = generator.integers(-3, 4, (queries, depth)).astype(np.float32)
    stored = generator.integers(-4, 5, (rows, depth)).astype(dtype)
    mean = generator.integers(-2, 3, depth).astype(np.float32)
    scale = generator.choice([0.5, 1.0, 0.25, 0.0, np.nan], rows, p=[0.3, 0.4, 0.2, 0.05, 0.05]).astype(np.float32)
    node = generator.permutation(4 * rows)[:rows].astype(np.int32) - rows
    named = np.array([generator.permutation(rows)[:most] for _ in range(queries)], np.int32).reshape(
        queries, min(rows, most)
    )
    candidates = np.full((queries, most), -1, np.int32)
    candidates[:, : named.shape[1]] = named
    candidates[generator.random(candidates.shape) < 0.1] = -1
    return query, stored, mean, scale, node, candidates


def best_cosines(problem, c: int, threshold: float):
    """The selection by sorting."""
    query, stored, mean, scale, node, candidates = problem
    unit = (stored.astype(np.float32) - mean) * scale[:, None]
    lists = []
    for i, places in enumerate(candidates):
        found = [(np.float32(unit[at] @ query[i]), node[at]) for at in places if at >= 0]
        lists.append([pair for pair in found if pair[0] > 0 and pair[0] >= np.float32(threshold)])
    return best_of(lists, c)


def check_cosine(run, problem, c: int, threshold: float) -> None:
    """The selection, exactly."""
    query, stored, candidates = problem[0], problem[1], problem[5]
    name = f"cosine_topc_{stored.dtype.name}"
    numbers = sizes(*query.shape, candidates.shape[1], c)
    got = run(name, *problem, numbers, np.float32(threshold))
    for part, raw, reference in zip(("columns", "values"), got, best_cosines(problem, c, threshold), strict=True):
        assert raw == reference.tobytes(), f"the {part} of cosine_topc differ from the reference"


def check_symmetry(run, rows: int, depth: int, dtype=np.float32) -> None:
    """The cosine of (i, j) has the bits of that of (j, i), and is that of float64."""
    generator = np.random.default_rng(13)
    x = generator.standard_normal((rows, depth)).astype(dtype)
    mean = generator.standard_normal(depth).astype(np.float32)
    unit, inverse = run(f"unit_project_{x.dtype.name}", x, mean, sizes(rows, depth))
    every = np.tile(np.arange(rows, dtype=np.int32), (rows, 1))
    numbers = sizes(rows, depth, rows, rows)
    arrays = (np.frombuffer(unit, np.float32), x, mean, np.frombuffer(inverse, np.float32), every[0], every)
    columns, values = run(f"cosine_topc_{x.dtype.name}", *arrays, numbers, np.float32(0))
    columns, values = np.frombuffer(columns, np.int32), np.frombuffer(values, np.float32)
    found = np.zeros((rows, rows), np.float32)
    kept = columns >= 0
    found[np.repeat(np.arange(rows), rows)[kept], columns[kept]] = values[kept]
    assert (found == found.T).all(), "the cosines of cosine_topc are not symmetric"
    centred = (x.astype(np.float32) - mean).astype(float)
    exact = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    assert np.abs(found - np.maximum(exact @ exact.T, 0)).max() < 1e-5, "a cosine of cosine_topc is wrong"


def cell_problem(queries: int, lengths, depth: int, probed: int, dtype=np.float32, seed: int = 14):
    """Small whole numbers; cells of these lengths, which leave out the first two keys and the last."""
    generator = np.random.default_rng(seed)
    cell_ptr = np.concatenate([[2], 2 + np.cumsum(lengths)]).astype(np.int64)
    rows, cells = int(cell_ptr[-1]) + 1, len(lengths)
    query = generator.integers(-3, 4, (queries, depth)).astype(np.float32)
    keys = generator.integers(-4, 5, (rows, depth)).astype(dtype)
    image = generator.integers(0, 5, queries).astype(np.int32), generator.integers(0, 5, rows).astype(np.int32)
    probes = np.full((queries, probed), -1, np.int32)
    for row in probes:
        row[: min(cells, probed)] = generator.permutation(cells)[:probed]
    probes[generator.random(probes.shape) < 0.2] = -1
    return query, image[0], keys, image[1], cell_ptr, probes


def best_keys(problem, c: int):
    """The search by sorting."""
    query, own, keys, image, cell_ptr, probes = problem
    lists = []
    for i, cells in enumerate(probes):
        at = [p for cell in cells if cell >= 0 for p in range(cell_ptr[cell], cell_ptr[cell + 1]) if image[p] != own[i]]
        lists.append([(np.float32(keys[p].astype(np.float32) @ query[i]), p) for p in at])
    return best_of(lists, c)


def check_cells(run, problem, c: int) -> None:
    """The search, exactly."""
    query, keys, probes = problem[0], problem[2], problem[5]
    got = run(f"cell_topc_{keys.dtype.name}", *problem, sizes(*query.shape, probes.shape[1], c))
    for part, raw, reference in zip(("columns", "values"), got, best_keys(problem, c), strict=True):
        assert raw == reference.tobytes(), f"the {part} of cell_topc differ from the reference"


def check_indices(run) -> None:
    """The first index that is not below the bound is found."""
    indices = np.random.default_rng(15).integers(-1, 50, 3000).astype(np.int32)
    for places, expected in (((), 0), ((2999,), 1), ((2100, 700, 701), 3000 - 700)):
        given = indices.copy()
        given[list(places)] = 50
        assert np.frombuffer(run("index_check", given, np.int64(50))[0], np.uint64)[0] == expected, (
            "index_check is wrong"
        )


def cases(run, small: bool):
    """All cases of this family as functions without arguments."""
    yield lambda: check_halves(run)
    yield lambda: check_indices(run)
    for shape in ((0, 8), (1, 1), (19, 384), (9, 130), (20, 33)):
        for dtype in (np.float32, np.float16):
            yield lambda shape=shape, dtype=dtype: check_unit(run, *shape, dtype)
    cosines = [
        ((7, 90, 32, 70), 5, 0.0),
        ((6, 60, 4, 50), 40, 2.0),
        ((3, 40, 5, 3), 9, 0.5),
        ((4, 300, 8, 250), 60, 0.0),
    ]
    if not small:
        cosines += [
            ((9, 400, 64, 300), 120, 0.0),
            ((2, 9, 12, 0), 3, 0.0),
            ((2, 9, 12, 5), 0, 0.0),
            ((0, 9, 12, 5), 3, 0.0),
        ]
    for shape, c, threshold in cosines:
        for dtype in (np.float32, np.float16):
            problem = cosine_problem(*shape, dtype)
            yield lambda problem=problem, c=c, threshold=threshold: check_cosine(run, problem, c, threshold)
    for dtype in (np.float32, np.float16):
        yield lambda dtype=dtype: check_symmetry(run, 12 if small else 40, 52, dtype)
        yield lambda dtype=dtype: check_symmetry(run, 9, 21, dtype)
    cells = [((6, [40, 0, 3, 70], 32, 3), 7), ((5, [33, 1], 9, 4), 60)]
    if not small:
        cells += [((9, [100] * 6, 16, 5), 150), ((2, [], 8, 2), 3), ((2, [4], 8, 0), 3), ((3, [9, 9], 8, 2), 0)]
    for shape, c in cells:
        for dtype in (np.float32, np.float16):
            problem = cell_problem(*shape, dtype)
            yield lambda problem=problem, c=c: check_cells(run, problem, c)
