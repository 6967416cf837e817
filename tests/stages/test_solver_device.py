"""`--device` in stage solve: used where it can be, and said where not."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles

import spectral_graph as sg
from spectral_graph.bank import Bank
from spectral_graph.config import make_config
from spectral_graph.errors import ConfigError, DeviceMemoryError
from spectral_graph.ops.cuda import load_cuda
from spectral_graph.pipeline import run_pipeline
from spectral_graph.progress import Reporter
from spectral_graph.solve import chebyshev, device_room
from spectral_graph.stages import solver_device

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def run(options: dict[str, Any], tmp_path: Path) -> Any:
    """Solve after a graph that was built on the CPU; return the bank and what was said."""

    def solve(name: str, **more: Any) -> tuple[Bank, str]:
        given = {**options, "kinds": "vv", "optimality": "angles", **more}
        out = run_pipeline(
            make_config({**given, "device": "cpu"}), tmp_path / name, until="graph", reporter=Reporter(quiet=True)
        )
        said = io.StringIO()
        run_pipeline(make_config(given), out, until="solve", reporter=Reporter(said))
        return Bank.open(out / "vv" / "bank"), said.getvalue()

    return solve


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let torch find a GPU whose kernels are there or not and which has so much memory."""

    def pretend(kernels: str = "", free: int = 1 << 40) -> None:
        for name, answer in {
            "is_available": True,
            "device_count": 1,
            "memory_reserved": 0,
            "memory_allocated": 0,
        }.items():
            monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 1 << 41))
        monkeypatch.setattr(device_room, "load_cuda", lambda: kernels)

    return pretend


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let the CPU stand for any GPU; return a list of the devices that columns were placed on."""
    monkeypatch.setattr(solver_device, "find_device", lambda *_: torch.device("cpu"))
    devices: list[Any] = []
    place = chebyshev.device_columns

    def noted(operator: Any, width: int, device: torch.device, memory_bytes: int) -> Any:
        devices.append(device)
        return place(operator, width, device, memory_bytes)

    monkeypatch.setattr(chebyshev, "device_columns", noted)
    return devices


def test_the_solver_and_the_yardstick_work_on_the_device(run: Any, placed: list[Any]) -> None:
    here, said = run("here")
    assert not placed and "computed on the CPU" not in said and here.notes["device"] == "cpu"
    there, said = run("there", device="cuda")
    assert len(placed) == 2 and "computed on the CPU" not in said
    np.testing.assert_array_equal(there.view(), here.view())
    assert there.notes["optimality"] == here.notes["optimality"]


def test_a_warm_start_goes_to_the_device(run: Any, placed: list[Any]) -> None:
    cold, _ = run("cold")
    warm, _ = run("warm", device="cuda", warm_start=cold.path.parent.parent)
    assert placed and len(warm.notes["history"]) == 1
    np.testing.assert_allclose(warm.notes["eigenvalues"], cold.notes["eigenvalues"], atol=1e-5)


def test_without_a_gpu_the_solver_says_so_and_works_on_the_cpu(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    plain, _ = run("plain")
    bank, said = run("run", device="cuda")
    assert "solve vv is computed on the CPU: --device cuda: torch" in said and "finds no CUDA GPU here" in said
    assert "optimality is computed on the CPU" in said
    assert bank.notes["device"] == "cpu"
    np.testing.assert_array_equal(bank.view(), plain.view())


def test_without_kernels_the_solver_names_the_cure_and_works_on_the_cpu(run: Any, gpu: Any) -> None:
    gpu(kernels="spectral_graph._CUDA was not compiled; with nvcc: SPECTRAL_GRAPH_CUDA=1 pip install .")
    bank, said = run("run", device="cuda")
    assert (
        "solve vv is computed on the CPU: --device cuda:0: the solver has no kernels for it: spectral_graph._CUDA was "
        "not compiled; with nvcc: SPECTRAL_GRAPH_CUDA=1 pip install ."
    ) in said
    assert bank.notes["converged"]


def test_columns_that_do_not_fit_are_solved_on_the_cpu_with_the_numbers(run: Any, gpu: Any) -> None:
    gpu(free=50_000)  # three arrays of 175 x 24 numbers take 50400 bytes
    bank, said = run("run", device="cuda")
    words = (
        "solve vv is computed on the CPU: cuda:0 has 0.000 GB of free memory, of which the solver's columns may take"
    )
    assert words in said and "24 columns for 175 nodes need 0.000 GB; lower --channels, or use --device cpu" in said
    assert bank.notes["converged"] and bank.notes["device"] == "cpu"


def test_want_of_memory_in_the_middle_is_said_in_words_and_the_same_run_goes_on(
    run: Any, placed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chebyshev, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    more = {"tol": 1e-6, "degree": 4}
    whole, _ = run("whole", **more)
    ritz, calls = chebyshev.rayleigh_ritz, []

    def limited(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity")
        return ritz(*arguments)

    monkeypatch.setattr(chebyshev, "rayleigh_ritz", limited)
    words = r"too little free memory for the solver beside its columns, 2\.00 GiB more are needed; lower `channels`, or"
    with pytest.raises(DeviceMemoryError, match=words):
        run("run", device="cuda", **more)
    again, said = run("run", device="cpu", **more)
    assert placed and "round 3," in said and "round 2," not in said
    np.testing.assert_array_equal(again.view(), whole.view())


def vectors(nodes: int = 300) -> np.ndarray:
    generator = np.random.default_rng(0)
    kinds = generator.standard_normal((5, 12))
    return (kinds[generator.integers(0, 5, nodes)] + 0.6 * generator.standard_normal((nodes, 12))).astype(np.float32)


def test_an_embedding_refuses_a_device_before_it_searches(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*_: Any) -> None:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr("spectral_graph.embed.build_graph", search)
        patch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(ConfigError, match=r"`device=cuda`"):
            sg.spectral_embedding(vectors(), nodes_per_image=25, n_components=4, device="cuda")
        with pytest.raises(ConfigError, match="`device=tpu`"):
            sg.spectral_embedding(vectors(), nodes_per_image=25, n_components=4, device="tpu")
        gpu(kernels="spectral_graph._CUDA was not compiled")
        with pytest.raises(ConfigError, match=r"`device=cuda:0`"):
            sg.spectral_embedding(vectors(), nodes_per_image=25, n_components=4, device="cuda")
    gpu(free=10_000)
    with pytest.raises(DeviceMemoryError, match=r"24.*300.*0\.000.*`channels`"):
        sg.spectral_embedding(vectors(), nodes_per_image=25, n_components=4, device="cuda")


def obstacle() -> str:
    return load_cuda() if torch.cuda.is_available() else "torch finds no CUDA GPU"


on_gpu = pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "-")


@on_gpu
def test_an_embedding_on_a_gpu_is_that_of_the_cpu() -> None:
    here, there = (
        sg.spectral_embedding(vectors(), nodes_per_image=25, n_components=4, tol=1e-5, device=name)
        for name in ("cpu", "cuda")
    )
    np.testing.assert_allclose(there.eigenvalues, here.eigenvalues, atol=1e-5)
    assert subspace_angles(there.vectors.astype(np.float64), here.vectors.astype(np.float64)).max() < 1e-2


@on_gpu
def test_a_run_on_a_gpu_finds_the_eigenvalues_of_the_cpu(run: Any) -> None:
    here, _ = run("here", tol=1e-5)
    there, said = run("there", tol=1e-5, device="cuda")
    assert "computed on the CPU" not in said and there.notes["device"].startswith("cuda:0 (")
    np.testing.assert_allclose(there.notes["eigenvalues"], here.notes["eigenvalues"], atol=1e-5)
