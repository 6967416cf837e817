"""topc_affinity's selection and topc_merge with their references in NumPy."""

from __future__ import annotations

import numpy as np


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


def merged_pairs(lists, c: int):
    """The c best of each row: the highest value of each column, then value descending, then column ascending."""
    indptr, indices, values = [0], [], []
    for i in range(len(lists[0][0]) - 1):
        best: dict[int, float] = {}
        for starts, columns, weights in lists:
            span = slice(starts[i], starts[i + 1])
            for column, weight in zip(columns[span].tolist(), weights[span].tolist(), strict=True):
                if not np.isnan(weight):
                    best[column] = max(best.get(column, -np.inf), weight) + 0.0  # -0 counts as 0
        chosen = sorted(sorted(best, key=lambda column: (-best[column], column))[:c])
        indices += chosen
        values += [best[column] for column in chosen]
        indptr.append(len(indices))
    return np.array(indptr, np.int64), np.array(indices, np.int32), np.array(values, np.float32)


def candidate_lists(count: int, rows: int, most: int, columns: int, seed: int = 9):
    """Lists with few different values, columns in any order and more than once; some NaN, inf, -0 and negative."""
    generator = np.random.default_rng(seed)
    lists = []
    for _ in range(count):
        indptr = np.concatenate([[0], generator.integers(0, most + 1, rows).cumsum()]).astype(np.int64)
        values = generator.integers(-8, 24, indptr[-1]).astype(np.float32) / 8
        for special in (np.nan, np.inf, -np.inf, -0.0):
            values[generator.random(len(values)) < 0.02] = special
        lists.append((indptr, generator.integers(0, columns, indptr[-1]).astype(np.int32), values))
    return lists


def check_merge(run, lists, places: int) -> None:
    """The merge, exactly."""
    got = run("topc_merge", np.int64(places), *(part for one in lists for part in one))
    for part, raw, reference in zip(("indptr", "indices", "values"), got, merged_pairs(lists, places), strict=True):
        assert raw == reference.tobytes(), f"the {part} of topc_merge differ from the reference"


def cases(run, small: bool):
    """All cases of this family as functions without arguments."""
    nodes = 150 if small else 300
    scores, sizes = tied_scores(nodes), [nodes // 3, 0, 1, nodes - nodes // 3 - 1]
    for c_intra, c_inter, threshold, block in (
        (5, 20, 0.0, (10**6, 10**6)),
        (3, 7, 0.25, (64, 53)),
        (nodes - 1, 1, 0.0, (10**6, 100)),
        (0, 90, 0.0, (10**6, 10**6)),
        (1, 0, 9.0, (10**6, 10**6)),
    ):
        yield lambda a=(c_intra, c_inter, threshold, block): check_topc(run, scores, sizes, *a)
    last = 320
    rising = np.tile(np.arange(1, last + 1, dtype=np.float32), (last, 1))  # every score enters the list when it comes
    yield lambda: check_topc(run, rising, [20, last - 20], 5, 5, 0.0)
    rows = 9 if small else 40
    for count, most, columns, places in ((1, 90, 60, 7), (3, 40, 30, 25), (18, 20, 200, 5), (2, 700, 400, 300)):
        lists = candidate_lists(count, rows, most, columns)
        yield lambda lists=lists, places=places: check_merge(run, lists, places)
    yield lambda: check_merge(run, candidate_lists(2, 5, 0, 4), 3)
    yield lambda: check_merge(run, candidate_lists(2, 5, 9, 4), 0)
    climbing = np.arange(600)
    again = (
        np.array([0, 1200], np.int64),
        np.r_[climbing, climbing].astype(np.int32),
        np.r_[climbing, climbing[::-1] + 0.5].astype(np.float32),
    )
    yield lambda: check_merge(run, [again], 40)
