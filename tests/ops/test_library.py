"""What all operators share: shape inference, tracing, threads, the uncompiled and the portable form."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from spectral_graph import ops
from spectral_graph.errors import ConfigError
from spectral_graph.ops.library import FALLBACKS, load

NAMES = (
    "adam_rows_",
    "cell_topc",
    "chebyshev_step_",
    "cosine_topc",
    "csr_sddmm",
    "csr_spmm",
    "csr_spmm_transposed",
    "csr_symmetrise",
    "csr_transpose",
    "gram",
    "rayleigh",
    "rotate",
    "topc_affinity",
    "topc_merge",
    "unit_project",
)

WORK = """
import numpy as np, torch
from spectral_graph import ops

def work(file):
    x = torch.from_numpy(np.load(file))
    n = len(x)
    graph = ops.topc_affinity(x, x, torch.tensor([0, n // 3, n]), 6, 4, 0.0, symmetric=True)
    cross = ops.topc_affinity(x, x.flip(0).contiguous(), torch.tensor([0, n // 3, n]), 6, 4, 0.0)
    *a, degree = ops.csr_symmetrise(*graph, n)
    products = [ops.csr_spmm(*a, x[:, :c].contiguous()) for c in (1, 5, 8, 50)]
    double = ops.csr_spmm(a[0], a[1], a[2].double(), x.double())
    half = [ops.csr_spmm(*a, x[:, :c].bfloat16()) for c in (1, 16, 50)]
    back = ops.csr_spmm_transposed(*graph, x, n)
    turned = ops.rotate(x, ops.gram(x)[:, :11].contiguous())
    merged = ops.topc_merge(*zip(graph, cross, strict=True), 7)
    moved, m, v = x.clone(), x / 2, x.square()
    ops.adam_rows_(moved, m, v, x.flip(0), torch.arange(n) // 100 + 1, 0.25)
    rayleigh = ops.rayleigh(*a, degree / 2048, x)
    out = [*merged, moved, m, v, *graph, *cross, *a, degree, *products, *half, *rayleigh, double, back,
           ops.csr_sddmm(*a[:2], x, x), *ops.csr_transpose(*a, n), ops.gram(x),
           ops.gram(x, x[:, :3].contiguous()), turned]
    return [t.numpy() for t in out]
"""

RUN = """
import sys, warnings
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    {work}
    np.savez(sys.argv[2], *work(sys.argv[1]))
print(ops.compiled())
for w in seen:
    print(w.category.__name__, w.message)
""".format(work="\n    ".join(WORK.splitlines()))


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """A file of 500 x 64 small integers over 4: every product and every sum of `work` but a few is exact in float32."""
    file = tmp_path_factory.mktemp("features") / "x.npy"
    np.save(file, (np.random.default_rng(0).integers(-4, 5, (500, 64)) / 4).astype(np.float32))
    return file


@pytest.fixture(scope="module")
def here(features):
    space = {}
    exec(WORK, space)
    return space["work"](features)


def run(features: Path, out: Path, preamble: str = "", **environment: str) -> tuple[list[str], list[np.ndarray]]:
    inherited = {k: v for k, v in os.environ.items() if k not in ("SPECTRAL_GRAPH_OPS", "ATEN_CPU_CAPABILITY")}
    done = subprocess.run(
        [sys.executable, "-c", preamble + RUN, str(features), str(out)],
        env={**inherited, **environment},
        cwd=Path(ops.__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(out) as arrays:
        return done.stdout.splitlines(), [arrays[f"arr_{i}"] for i in range(len(arrays.files))]


def agree(a: list[np.ndarray], b: list[np.ndarray]) -> None:
    assert [x.dtype for x in a] == [y.dtype for y in b]
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


def test_this_session_runs_the_compiled_operators():
    assert ops.compiled() or os.environ.get("SPECTRAL_GRAPH_OPS") == "torch"


def test_pure_torch_on_request_is_silent_and_agrees(features, tmp_path, here):
    lines, arrays = run(features, tmp_path / "out.npz", SPECTRAL_GRAPH_OPS="torch")
    assert lines == ["False"]
    agree(arrays, here)


def test_a_missing_module_warns_once(features, tmp_path, here):
    hide = "import sys; sys.modules['spectral_graph._C'] = None\n"
    lines, arrays = run(features, tmp_path / "out.npz", hide)
    assert len(lines) == 2 and lines[0] == "False"
    assert lines[1].startswith("UncompiledWarning ") and "pip install --no-build-isolation -e ." in lines[1]
    agree(arrays, here)


def test_without_vector_instructions_it_agrees(features, tmp_path, here):
    lines, arrays = run(features, tmp_path / "out.npz", ATEN_CPU_CAPABILITY="default")
    assert lines == ["True"]
    agree(arrays, here)


def test_an_unknown_choice_is_refused(monkeypatch):
    monkeypatch.setenv("SPECTRAL_GRAPH_OPS", "fast")
    with pytest.raises(ConfigError, match='SPECTRAL_GRAPH_OPS is "fast"; set it to "torch"'):
        load()


def test_results_do_not_depend_on_the_number_of_threads():
    if not ops.compiled():
        pytest.skip("the promise is that of the compiled operators")
    x = torch.nn.functional.normalize(torch.randn(3000, 70, generator=torch.Generator().manual_seed(0)), dim=1)
    u = torch.randn(70, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    images = torch.tensor([0, 700, 701, 1800, 3000])

    def everything():
        graph = ops.topc_affinity(x, x, images, 10, 10, 0.0, symmetric=True)
        cross = ops.topc_affinity(x, x.flip(0), images, 10, 10, 0.0)
        *a, degree = ops.csr_symmetrise(*graph, 3000)
        moments = x.clone(), x / 2, x.square()
        ops.adam_rows_(*moments, x.flip(0), torch.arange(3000) // 100 + 1, 0.25)
        return [
            *graph,
            *cross,
            *a,
            degree,
            *(ops.csr_spmm(*a, x[:, :c]) for c in (1, 16, 50, 70)),
            ops.csr_spmm(a[0], a[1], a[2].double(), x.double()),
            *(ops.csr_spmm(*a, x[:, :c].bfloat16()) for c in (1, 16, 50, 70)),
            *ops.rayleigh(*a, 1 / degree, x),
            *ops.topc_merge(*zip(graph, cross, strict=True), 7),
            *moments,
            *ops.csr_transpose(*cross, 3000),
            ops.csr_sddmm(*a[:2], x, x),
            ops.gram(x),
            ops.gram(x, x.flip(0)),
            ops.rotate(x, u),
        ]

    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            results.append(everything())
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def matrix(requires_grad: bool = False):
    indptr = torch.tensor([0, 2, 2, 5])
    indices = torch.tensor([3, 0, 1, 2, 2], dtype=torch.int32)
    return indptr, indices, torch.randn(5, requires_grad=requires_grad)


def samples():
    indptr, indices, values = matrix()
    grad = matrix(requires_grad=True)
    x, z = torch.randn(4, 3, requires_grad=True), torch.randn(3, 3, requires_grad=True)
    plain = torch.randn(6, 5)
    u = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    square = torch.tensor([0, 2, 2, 5, 5])
    return [
        ("csr_spmm", (*grad, x)),
        ("csr_spmm", (indptr, indices, values.double(), x.detach().double(), False)),
        ("csr_spmm", (*grad, x.detach().bfloat16().requires_grad_())),
        ("rayleigh", (square, indices, values, torch.rand(4), x)),
        ("csr_spmm_transposed", (*grad, z, 4)),
        ("csr_sddmm", (indptr, indices, z, x)),
        ("csr_transpose", (indptr, indices, values, 4)),
        ("csr_symmetrise", (square, indices, values, 4)),
        ("topc_affinity", (plain, plain, torch.tensor([0, 2, 6]), 2, 2, 0.0, True)),
        ("topc_merge", ([indptr, indptr], [indices, indices], [values, -values], 2)),
        ("adam_rows_", (*torch.rand(3, 6, 5), plain, torch.arange(1, 7), 0.1, 0.9, 0.999, 1e-8)),
        ("gram", (x,)),
        ("gram", (x, torch.randn(4, 2, requires_grad=True))),
        ("rotate", (x, u)),
    ]


@pytest.mark.parametrize("index", range(len(samples())))
def test_opcheck(index):
    name, arguments = samples()[index]
    torch.library.opcheck(getattr(torch.ops.spectral_graph, name).default, arguments)


def test_the_whole_way_compiles_into_one_graph():
    def way(x, images, u):
        graph = ops.topc_affinity(x, x, images, 3, 2, 0.0, symmetric=True)
        indptr, indices, values, degree = ops.csr_symmetrise(*graph, x.shape[0])
        return ops.rotate(ops.csr_spmm(indptr, indices, values, x), u), ops.gram(x), degree

    x, u = torch.randn(20, 6), torch.randn(6, 4, dtype=torch.float64)
    arguments = (x, torch.tensor([0, 8, 20]), u)
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        traced = torch.compile(way, fullgraph=True, backend="aot_eager")(*arguments)
    for a, b in zip(traced, way(*arguments), strict=True):
        torch.testing.assert_close(a, b)


def test_a_compiled_graph_has_gradients():
    indptr, indices, values = matrix(requires_grad=True)
    x = torch.randn(4, 3, requires_grad=True)

    def loss(values, x):
        return ops.csr_spmm(indptr, indices, values, x).square().sum()

    traced = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for a, b in zip(
        torch.autograd.grad(traced(values, x), (values, x)),
        torch.autograd.grad(loss(values, x), (values, x)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_all_operators_are_public_and_registered():
    assert set(NAMES) <= set(ops.__all__)
    assert all(hasattr(torch.ops.spectral_graph, name) for name in NAMES)
    assert set(FALLBACKS) == set(NAMES) - {"csr_spmm_transposed"}
