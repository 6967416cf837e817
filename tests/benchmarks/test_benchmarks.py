"""The microbenchmarks run at tiny sizes and write what they promise."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch.utils.cpp_extension import get_cxx_compiler

LIMIT = {"limit_s", "ratio_at_limit"}
KEYS = {"question", "shape", "ours_s", "peer", "peer_s", "ratio", "limit_fraction"}
TINY = {
    "spmm": ["--nodes", "200", "--per-row", "4", "--channels", "1", "9", "--backends", "native", "torch", "scipy"],
    "rayleigh": ["--nodes", "200", "--per-row", "4", "--channels", "3", "9", "--backends", "torch-int64", "scipy"],
    "affinity": ["--images", "3", "--nodes", "40", "33", "--dim", "16", "--intra", "3", "--inter", "4"],
    "symmetrise": ["--nodes", "200", "--per-row", "4"],
    "gram": ["--rows", "300", "--channels", "1", "9"],
    "adam": ["--rows", "300", "--channels", "1", "9"],
}


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("name", TINY)
def test_a_benchmark_prints_a_table_and_writes_json_and_a_plot(benchmark, name, tmp_path, capsys):
    files = ["--json", str(tmp_path / "out.json"), "--plot", str(tmp_path / "out.png")]
    benchmark(name).main([*TINY[name], *files, "--seconds", "0"])
    records = json.loads((tmp_path / "out.json").read_text())
    sizes = {"ours_bytes", "peer_bytes"} if name in ("affinity", "gram", "symmetrise") else set()
    assert records and all(set(record) - LIMIT == KEYS | sizes for record in records)
    for record in records:
        assert record["ratio"] == pytest.approx(record["peer_s"] / record["ours_s"])
        assert record["limit_fraction"] > 0
    assert "--channels" not in TINY[name] or (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert records[0]["peer"].split()[0] in capsys.readouterr().out


@pytest.mark.skipif(shutil.which(get_cxx_compiler()) is None, reason="no C++ compiler")
@pytest.mark.parametrize("name", ["spmm", "rayleigh"])
def test_the_limit_takes_its_turns_where_there_is_a_compiler(benchmark, name, capsys):
    rows = benchmark(name).main(["--synthetic", "uniform", "--nodes", "300", "--channels", "1", "40", "--seconds", "0"])
    limited = [row for row in rows if "bfloat16" not in row.question]
    assert len({row.limit_s for row in limited}) == 2
    for row in limited:
        assert row.record()["ratio_at_limit"] == pytest.approx(row.peer_s / row.limit_s)
    assert all(row.limit_s is None and not LIMIT & set(row.record()) for row in rows if row not in limited)
    assert "at limit" in capsys.readouterr().out


@pytest.mark.parametrize("channels", [1, 17])
def test_the_limit_writes_a_result_and_nothing_else(benchmark, channels):
    graph, x = benchmark("graphs").synthetic("power-law", 400, 5), torch.randn(400, channels)
    before = [part.clone() for part in (graph.indptr, graph.indices, graph.values, x)]
    run = benchmark("limits").product_limit(graph, x, torch.rand(400))
    if run is None:
        pytest.skip("no C++ compiler")
    run()
    assert all(map(torch.equal, before, (graph.indptr, graph.indices, graph.values, x)))


def test_without_a_compiler_the_limit_is_left_out_with_a_line(benchmark, monkeypatch, capsys):
    limits = benchmark("limits")
    limits._product_limit.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert limits.product_limit(benchmark("graphs").synthetic("uniform", 50, 4), torch.ones(50, 2)) is None
    assert "no-such-compiler cannot compile product_limit.cpp" in capsys.readouterr().out
    limits._product_limit.cache_clear()


def test_a_wrong_result_ends_the_benchmark(benchmark):
    timing = benchmark("timing")
    with pytest.raises(SystemExit, match="spmm: the result is wrong: it is off by 1 where values reach 2"):
        timing.require_equal("spmm", [[1.0, 1.0]], [[1.0, 2.0]], 0.1)


def test_a_missing_package_is_left_out_with_a_line(benchmark, monkeypatch, capsys):
    from spectral_graph.ops.backends import numba_csr

    monkeypatch.setattr(numba_csr, "missing", lambda: "the package numba is not installed")
    assert list(benchmark("backends").available(["native", "numba", "scipy"])) == ["scipy"]
    assert "numba is left out: the package numba is not installed" in capsys.readouterr().out


def test_the_peers_are_the_backends_of_the_package(benchmark):
    backends, graph = benchmark("backends"), benchmark("graphs").synthetic("uniform", 50, 4)
    x = torch.randn(50, 3)
    for make in backends.available(backends.PEERS).values():
        torch.testing.assert_close(make(graph)(x), backends.native(graph)(x))


def test_extra_memory_is_that_above_the_result(benchmark):
    extra = benchmark("timing").extra_bytes
    size = 64 << 20
    assert extra(lambda: torch.ones(size // 4)) < size // 4
    assert 0.9 * size < extra(lambda: torch.ones(size // 4).sum()) < 1.5 * size


def test_a_graph_that_is_not_square_is_refused(benchmark, capsys):
    for name in ("rayleigh", "symmetrise"):
        with pytest.raises(SystemExit):
            benchmark(name).main(["--synthetic", "one-row"])
        assert "the graph must be square: uniform, hubs" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["uniform", "hubs", "power-law", "empty-rows", "one-row", "one-column"])
def test_synthetic_graphs_are_sound(benchmark, kind):
    graph = benchmark("graphs").synthetic(kind, 500, 6)
    assert graph.entries > 0 and graph.indptr[0] == 0 and graph.indptr[-1] == graph.entries
    assert graph.indices.min() >= 0 and graph.indices.max() < graph.columns
    assert (graph.rows, graph.columns) == {"one-row": (1, 500), "one-column": (500, 1)}.get(kind, (500, 500))
    if kind == "empty-rows":
        assert int((graph.indptr.diff() == 0).sum()) >= 450
    if kind == "hubs":
        assert int(graph.indptr.diff().max()) > 80
