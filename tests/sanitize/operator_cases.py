"""Every compiled operator at the edges of its shapes, against dense NumPy: what runs under the sanitizers.

`python operator_cases.py MODULE [NAME ...]` runs the cases with the operators of the shared library MODULE.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator

import numpy as np
import torch

from spectral_graph.errors import GraphError

CHANNELS = (0, 1, 3, 7, 8, 9, 15, 16, 17, 24, 31, 50, 64, 104, 105, 130)
"""Less than a vector, whole vectors, a rest of one, the widest row that stays in registers, and tiles."""


def matrices() -> Iterator[tuple[int, tuple[torch.Tensor, ...], np.ndarray]]:
    """Yield the columns, the matrix and its dense form: empty ones, one row, one column, hubs, long and empty rows."""
    generator = np.random.default_rng(0)
    shapes = [([], 5), ([0, 0, 0], 4), ([], 0), ([9], 7), ([1, 0, 1, 1], 1), ([0, 300, 0, 1, 40] * 3, 33)]
    shapes.append(([4500, 2, 5000], 40))
    shapes.append((generator.integers(0, 30, 700).tolist(), 700))
    for lengths, columns in shapes:
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        indices = generator.integers(0, max(columns, 1), indptr[-1]).astype(np.int32)
        indices[: len(indices) // 3] = columns - 1  # a hub at the end of x
        values = generator.standard_normal(indptr[-1]).astype(np.float32)
        dense = np.zeros((len(lengths), columns))
        np.add.at(dense, (np.repeat(np.arange(len(lengths)), lengths), indices), values)
        yield columns, tuple(torch.from_numpy(part) for part in (indptr, indices, values)), dense


def near(got: torch.Tensor, expected: np.ndarray, tolerance: float = 2e-3) -> None:
    """Fail unless the shapes agree, and the numbers but for `tolerance`; NaN agrees with NaN."""
    np.testing.assert_allclose(got.double().numpy(), expected, rtol=tolerance, atol=tolerance)


def refused(text: str, call: Callable[..., object], *arguments: object) -> None:
    """Fail unless the operator refuses the arguments with a text that holds `text`."""
    try:
        call(*arguments)
    except GraphError as error:
        assert text in str(error), str(error)
    else:
        raise AssertionError(f"the operator did not say: {text}")


def random(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    """Return (rows, columns) float32."""
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def spmm() -> None:
    """csr_spmm in its three types, chebyshev_step_, the derivatives, and matrices that name what is not there."""
    from spectral_graph import ops

    for columns, (indptr, indices, values), dense in matrices():
        for channels in CHANNELS:
            x = random(columns, channels)
            for check in (True, False):
                near(ops.csr_spmm(indptr, indices, values, x, check=check), dense @ x.numpy())
            near(ops.csr_spmm(indptr, indices, values, x.bfloat16()), dense @ x.bfloat16().double().numpy())
            near(ops.csr_spmm(indptr, indices, values.double(), x.double()), dense @ x.double().numpy(), 1e-9)
            own, y = random(len(dense), channels, 1), random(len(dense), channels, 2)
            expected = 0.5 * (dense @ x.numpy()) - 0.25 * own.numpy() + 2 * y.numpy()
            ops.chebyshev_step_(indptr, indices, values, x, own, y, 0.5, -0.25, 2.0)
            near(y, expected)
        z = random(len(dense), 9)
        near(ops.csr_spmm_transposed(indptr, indices, values, z, columns), dense.T @ z.double().numpy())
        t = ops.csr_transpose(indptr, indices, values, columns)
        near(ops.csr_spmm(*t, z), dense.T @ z.double().numpy())
        rows = np.repeat(np.arange(len(dense)), np.diff(indptr.numpy()))
        for channels in (0, 1, 7, 8, 13):
            a, b = random(len(dense), channels), random(columns, channels, 1)
            near(ops.csr_sddmm(indptr, indices, a, b), (a.numpy()[rows] * b.numpy()[indices.numpy()]).sum(1))
    diagonal = torch.arange(20_001), torch.arange(20_000, dtype=torch.int32), torch.full((20_000,), 2.0)
    for channels in (40, 41, 40, 30):  # results whose memory is used again
        x = random(20_000, channels)
        assert torch.equal(ops.csr_spmm(*diagonal, x), 2 * x)
    nodes = 300_000  # whose x lies beyond the caches: its rows are asked for earlier
    diagonal = torch.arange(nodes + 1), torch.arange(nodes, dtype=torch.int32), torch.full((nodes,), 2.0)
    for channels in (16, 50):
        x = random(nodes, channels)
        assert torch.equal(ops.csr_spmm(*diagonal, x), 2 * x)
    x = torch.zeros(4, 20)
    x[1, 0], x[3, 19] = torch.nan, torch.inf
    ends = torch.tensor([0, 1, 3]), torch.tensor([0, 1, 3], dtype=torch.int32), torch.ones(3)
    assert ops.csr_spmm(*ends, x).isnan().sum() == 1 and ops.csr_spmm(*ends, x.bfloat16()).isinf().sum() == 1
    for bad, text in ((4, "indices[2] = 4"), (-1, "indices[2] = -1"), (2**31 - 1, "indices[2] = 2147483647")):
        outside = ends[1].clone()
        outside[2] = bad
        refused(text, ops.csr_spmm, ends[0], outside, ends[2], x)
        refused(text, ops.csr_transpose, ends[0], outside, ends[2], 4)
        refused(text, ops.csr_sddmm, ends[0], outside, x[:2], x)
    for starts in ([0, 2**40, 3], [0, -(2**40), 3], [0, 5, 3]):
        refused("indptr must not decrease", ops.csr_spmm, torch.tensor(starts), *ends[1:], x)


def symmetrise() -> None:
    """csr_symmetrise and rayleigh on square matrices, the empty one among them."""
    from spectral_graph import ops

    for columns, matrix, dense in matrices():
        if len(dense) != columns:
            refused("indptr must have n + 1", ops.csr_symmetrise, *matrix, columns)
            continue
        *a, degree = ops.csr_symmetrise(*matrix, columns)
        half = (dense + dense.T) / 2
        near(degree, half.sum(1))
        near(ops.csr_symmetrise(*a, columns)[2], a[2])  # a symmetric pattern takes a way of its own
        inverse = torch.rand(columns, generator=torch.Generator().manual_seed(1))
        balanced = half * (inverse.numpy()[:, None] + inverse.numpy())
        for channels in CHANNELS:
            u = random(columns, channels)
            s, gradient = ops.rayleigh(*a, inverse, u)
            near(gradient, balanced @ u.double().numpy(), 5e-3)
            near(s, 0.5 * np.einsum("nc,nc->c", u.double().numpy(), balanced @ u.double().numpy()), 5e-2)
    none = torch.zeros(1, dtype=torch.int64), torch.zeros(0, dtype=torch.int32), torch.zeros(0)
    assert ops.rayleigh(*none, torch.zeros(0), random(0, 3))[0].tolist() == [0, 0, 0]
    assert ops.csr_symmetrise(*none, 0)[0].tolist() == [0]


def best(scores: np.ndarray, sizes: list[int], places: tuple[int, int]) -> list[list[int]]:
    """Return the columns that each row keeps, by sorting."""
    image = np.repeat(np.arange(len(sizes)), sizes)
    columns, kept = np.arange(len(scores)), []
    for i, line in enumerate(scores):
        row: list[int] = []
        for inside, c in zip((True, False), places, strict=True):
            wanted = columns[(columns != i) & ((image == image[i]) == inside) & (line > 0)]
            row += wanted[np.lexsort((wanted, -line[wanted]))][:c].tolist()
        kept.append(sorted(row))
    return kept


def affinity() -> None:
    """topc_affinity, both searches: one node, empty images, more places than candidates, no channels, NaN."""
    from spectral_graph import ops

    sizes = ([], [1], [0, 2, 0, 1], [5, 17, 33], [100, 1, 130])
    for count, lengths in enumerate(sizes):
        n, ptr = sum(lengths), torch.tensor([0, *np.cumsum(lengths).tolist()])
        for depth in (0, 1, 7, 40):
            x = torch.randint(-3, 4, (n, depth), generator=torch.Generator().manual_seed(count)).float()
            y = x.flip(0).contiguous()
            if n > 2 and depth:
                x[1, 0] = torch.nan
            for places in ((0, 0), (2, 3), (0, 4), (n + 5, n + 5)):
                for symmetric, key in ((False, y), (False, x), (True, x)):
                    indptr, indices, _ = ops.topc_affinity(x, key, ptr, *places, symmetric=symmetric)
                    expected = best(x.numpy() @ key.numpy().T, lengths, places)
                    got = np.split(indices.numpy(), indptr.numpy()[1:-1]) if n else []
                    assert [row.tolist() for row in got] == expected


def bounds() -> None:
    """topc_affinity with bounds: vectors near few directions, a rest of every tile, zeros, NaN and infinity."""
    from spectral_graph import ops

    few, directions = random(4103, 5), random(5, 257, 1)
    x = few @ directions
    x[::50], x[1, 0], x[2, 3] = 0, torch.nan, torch.inf
    plain = x[:, :255].contiguous()
    wide = torch.nn.functional.pad(plain, (0, 2))
    ptr = torch.tensor([0, 1, 1501, 2802, 4103])
    for symmetric in (False, True):
        results = [ops.topc_affinity(y, y, ptr, 3, 8, symmetric=symmetric) for y in (plain, wide)]
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def merge() -> None:
    """topc_merge: no entries, equal columns in several lists, NaN, c above and below what there is."""
    from spectral_graph import ops

    for columns, (indptr, indices, values), dense in matrices():
        marked = values.clone()
        marked[::7] = torch.nan
        for c in (0, 1, 5, 1000):
            lists = [indptr, indptr], [indices, indices], [values, marked]
            starts, kept, weights = ops.topc_merge(*lists, c)
            for i in range(len(dense)):
                part = slice(int(indptr[i]), int(indptr[i + 1]))
                top: dict[int, float] = {}
                for column, value in zip(indices[part].tolist(), values[part].tolist(), strict=True):
                    top[column] = max(value, top.get(column, -np.inf))
                order = sorted(sorted(top), key=lambda column: -top[column])[:c]
                row = slice(int(starts[i]), int(starts[i + 1]))
                assert kept[row].tolist() == sorted(order)
                assert weights[row].tolist() == [top[column] for column in sorted(order)]
        refused("c must be at least 0", ops.topc_merge, *lists, -1)
        assert columns >= 0


def dense() -> None:
    """gram and rotate: no rows, one row, one column, rests of every tile."""
    from spectral_graph import ops

    for rows in (0, 1, 3, 255, 1030):
        for channels in (0, 1, 4, 7, 8, 50):
            x, y = random(rows, channels), random(rows, 11, 1)
            near(ops.gram(x), x.double().numpy().T @ x.double().numpy(), 1e-6)
            near(ops.gram(x, y), x.double().numpy().T @ y.double().numpy(), 1e-6)
            for width in (0, 1, 9):
                u = random(channels, width, 2).double()
                near(ops.rotate(x, u), x.double().numpy() @ u.numpy(), 1e-4)


def adam() -> None:
    """adam_rows_: every rest of a vector, no rows, both types of step counts, NaN, a step of 0."""
    from spectral_graph import ops

    for rows in (0, 1, 70):
        for channels in CHANNELS:
            x, gradient = random(rows, channels), random(rows, channels, 1)
            if rows > 1 and channels:
                gradient[0, 0] = torch.nan
            m, v, step = torch.zeros_like(x), torch.zeros_like(x), torch.arange(rows) // 9 + 1
            moved = x.clone()
            ops.adam_rows_(moved, m, v, gradient, step.float() if rows == 70 else step, 0.1)
            g, count = gradient.double().numpy(), step.double().numpy()[:, None]
            size, root = 0.1 / (1 - 0.9**count), np.sqrt(1 - 0.999**count)
            near(moved, x.numpy() - size * 0.1 * g / (np.sqrt(0.001 * g**2) / root + 1e-8))
    refused("step must be at least 1", ops.adam_rows_, *torch.rand(4, 2, 3), torch.tensor([1, 0]), 0.1)


def search() -> None:
    """unit_project, cosine_topc and cell_topc: no rows, no channels, every rest, empty cells, more places than keys."""
    from spectral_graph import ops

    for n, m, depth in ((0, 3, 4), (1, 1, 1), (5, 9, 7), (37, 130, 33), (4, 20, 64)):
        keys, mean, basis = random(m, depth), random(1, depth, 1)[0] / 9, random(depth, 3, 2)
        for dtype in (torch.float32, torch.float16):
            stored = keys.to(dtype)
            unit, scale, projected = ops.unit_project(stored, mean, basis)
            centred = stored.double().numpy() - mean.double().numpy()
            exact = centred / np.linalg.norm(centred, axis=1, keepdims=True)
            near(unit, exact)
            near(projected, exact @ basis.double().numpy())
            query = torch.nn.functional.normalize(random(n, depth, 3), dim=1)
            names = torch.arange(m, dtype=torch.int32) * 3
            candidates = torch.arange(m, dtype=torch.int32).repeat(n, 1)
            cells = torch.tensor([0, 0, m // 2, m, m])
            probes = torch.tensor([[2, 1, -1, 0, 3]], dtype=torch.int32).repeat(n, 1)
            images = torch.zeros(n, dtype=torch.int32), torch.arange(m, dtype=torch.int32) % 2
            for c in (0, 1, 6, m + 4):
                columns, values = ops.cosine_topc(query, stored, mean, scale, names, candidates, c)
                score = query.double().numpy() @ exact.T
                near(values, kept(score, c, positive=True))
                assert ((columns < 0) == (values == 0)).all()
                columns, values = ops.cell_topc(query, images[0], stored, images[1], cells, probes, c)
                score = query.double().numpy() @ stored.double().numpy().T
                near(values, kept(np.where(np.arange(m) % 2 == 0, -np.inf, score), c, positive=False))


def kept(scores: np.ndarray, c: int, positive: bool) -> np.ndarray:
    """Return the c largest values of each row in falling order, 0 on the free places."""
    found = np.zeros((len(scores), c))
    order = -np.sort(-np.where((scores > 0) | (not positive), scores, -np.inf), axis=1)
    width = min(c, scores.shape[1])
    found[:, :width] = np.where(np.isfinite(order[:, :width]), order[:, :width], 0)
    return found


CASES: dict[str, Callable[[], None]] = {
    "spmm": spmm,
    "symmetrise": symmetrise,
    "affinity": affinity,
    "bounds": bounds,
    "merge": merge,
    "dense": dense,
    "adam": adam,
    "search": search,
}


def main() -> None:
    """Load the operators from the shared library named first and run the cases named after it, or all."""
    spec = importlib.util.spec_from_file_location("spectral_graph._C", sys.argv[1])
    assert spec is not None
    sys.modules["spectral_graph._C"] = importlib.util.module_from_spec(spec)
    from spectral_graph import ops

    if not ops.compiled():
        raise SystemExit(f"{sys.argv[1]} lacks operators")
    torch.set_num_threads(2)
    for name in sys.argv[2:] or CASES:
        CASES[name]()
        sys.stdout.write(f"passed {name}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
