"""The backend cupy without a GPU.

Its source is compiled by NVRTC, its launches are those of the C++ host side, and the PTX gives NumPy's product.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from spectral_graph import ops
from spectral_graph.errors import ConfigError, GraphError
from spectral_graph.ops.backends import Csr, cupy_csr, cupy_source
from spectral_graph.ops.backends.cupy_launch import Addresses, launches

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "cuda"))

import nvrtc  # noqa: E402
import ptx_program  # noqa: E402
import ptx_run  # noqa: E402


def random_csr(lengths, columns, dtype=np.float32):
    """A matrix with rows of these lengths, some of its columns twice."""
    rng = np.random.default_rng(0)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    indices = rng.integers(0, columns, indptr[-1]).astype(np.int32)
    return indptr, indices, rng.standard_normal(indptr[-1]).astype(dtype)


def product(indptr, indices, values, x):
    """A x and |A| |x| in float64."""
    dense, size = np.zeros((2, len(indptr) - 1, len(x)))
    place = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), indices
    np.add.at(dense, place, values)
    np.add.at(size, place, np.abs(values))
    return dense @ x.astype(float), size @ np.abs(x).astype(float)


NVRTC = pytest.mark.skipif(nvrtc.library_folder() is None, reason="libnvrtc is not among the Python packages")
LIKE_CUPY = ("--device-as-default-execution-space", "-ftz=true")
"""The options that CuPy adds to ours."""


@NVRTC
@pytest.mark.parametrize("architecture", ["80", "90"])
def test_the_source_compiles_for_the_gpu(architecture):
    options = [*cupy_source.OPTIONS, *LIKE_CUPY, f"-arch=sm_{architecture}"]
    cubin, names = nvrtc.compile_source(cupy_source.kernel_source(), options, cupy_source.all_kernel_names(), ptx=False)
    assert cubin.startswith(b"\x7fELF") and len(set(names.values())) == len(names) == 16


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """Returns the launches of the C++ host side for a list of products."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    program = tmp_path_factory.mktemp("launches") / "host_launches"
    folders = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'tests' / 'cuda' / 'emulation'}"]
    source = Path(__file__).with_name("host_launches.cpp")
    subprocess.run(["g++", "-std=c++17", "-O0", *folders, str(source), "-o", str(program)], check=True)

    def run(products) -> list[list[str]]:
        text = "\n".join(" ".join(map(str, (*sizes, *addresses))) for sizes, addresses in products)
        done = subprocess.run([str(program)], input=text, capture_output=True, text=True, check=True)
        return [part.splitlines() for part in done.stdout.split("end\n")[:-1]]

    return run


def in_python(sizes, addresses) -> list[str]:
    scalar, *counts = sizes
    try:
        return [
            f"{launch.kernel} | {launch.grid[0]} {launch.grid[1]} 1 256 | " + " ".join(map(str, launch.arguments))
            for launch in launches(*counts, scalar, addresses)
        ]
    except GraphError as error:
        return [f"error {error}"]


def test_the_launches_are_those_of_the_host_side(host):
    chosen = random.Random(0)
    products = []
    for rows in (0, 1, 3, 100, 4000, 2**33):
        for entries in (0, 1, 127, 128, 32 * 128, 40 * 128, 10**6, 2**35):
            for channels in (0, 1, 2, 3, 4, 16, 50, 64, 255, 256, 1024, 1025, 5000):
                addresses = Addresses(*(4096 * chosen.randrange(1, 2**30) for _ in range(7)))
                shifts = {"x": chosen.choice((0, 0, 4, 8, 16)), "y": chosen.choice((0, 0, 0, 8))}
                shifted = addresses._replace(**{name: getattr(addresses, name) + by for name, by in shifts.items()})
                products += [((scalar, rows, entries, channels), shifted) for scalar in ("float", "double")]
    products.append((("float", 10, 10, 65536 * 256), Addresses(*[4096] * 7)))
    products.append((("float", 10, 10, 65536 * 4 * 256), Addresses(*[4096] * 7)))
    products.append((("float", 2**40, 2**42, 16), Addresses(*[4096] * 7)))
    got = [in_python(*each) for each in products]
    assert any("error" in lines[-1] for lines in got if lines) and len(got) > 1000
    for each, mine, theirs in zip(products, got, host(products), strict=True):
        # The host side has launched the plan before it finds that there is no grid for the rest.
        assert mine == (theirs[-1:] if mine[:1] and mine[0].startswith("error") else theirs), each


class Interpreted:
    """Takes the place of a cupy.RawModule: the kernels run as PTX in an interpreter, on the memory of CPU tensors."""

    def __init__(self, monkeypatch):
        self.arrays: dict[int, np.ndarray] = {}
        options = [*cupy_source.OPTIONS, *LIKE_CUPY, "-arch=compute_80"]
        ptx, self.names = nvrtc.compile_source(
            cupy_source.kernel_source(), options, cupy_source.all_kernel_names(), ptx=True
        )
        self.ptx, original = ptx.rstrip(b"\0").decode(), torch.Tensor.data_ptr

        def data_ptr(tensor):
            address = original(tensor) or 2**40 + 4096 * len(self.arrays)  # an empty tensor lies nowhere
            self.arrays[address] = tensor.numpy()
            return address

        monkeypatch.setattr(torch.Tensor, "data_ptr", data_ptr)

    def get_function(self, name):
        kernel = ptx_program.find_kernel(self.ptx, self.names[name])

        def call(grid, block, arguments):
            kinds = {np.int64: "s64", np.int32: "s32"}
            given = [
                self.arrays[int(each)] if isinstance(each, np.uint64) else (kinds[type(each)], int(each))
                for each in arguments
            ]
            ptx_run.run(kernel, grid[:2], block[0], given)

        return call


@NVRTC
@pytest.mark.parametrize(
    ("lengths", "channels", "dtype"),
    [
        ([3, 0, 5, 140, 1], 6, np.float32),
        ([2, 300, 0, 9], 4, np.float32),
        ([7, 0, 130], 3, np.float64),
        ([34 * 128, 0, 3], 1, np.float32),
        ([0, 0], 5, np.float32),
        ([], 5, np.float32),
        ([4, 4], 0, np.float32),
    ],
)
def test_the_compiled_kernels_give_the_product(monkeypatch, lengths, channels, dtype):
    indptr, indices, values = random_csr(lengths, 23, dtype)
    x = np.random.default_rng(1).standard_normal((23, channels)).astype(dtype)
    matrix = Csr(*(torch.from_numpy(part) for part in (indptr, indices, values)), 23)
    expected, size = product(indptr, indices, values, x)
    y = cupy_csr.multiply(Interpreted(monkeypatch), matrix, torch.from_numpy(x)).numpy()
    assert y.dtype == dtype and y.shape == expected.shape
    steps = np.array(lengths, float)[:, None] + 2
    assert (np.abs(y - expected) <= steps * np.finfo(dtype).eps * size).all()


@NVRTC
def test_the_choice_reaches_the_kernels(monkeypatch):
    """The whole way with a stand-in for CuPy and for torch's GPU, which is the CPU here."""

    class Nothing:
        def __init__(self, *_):
            pass

        __enter__ = __exit__ = lambda *_: None

    made = {}
    module = types.ModuleType("cupy")
    module.cuda = types.SimpleNamespace(Device=Nothing, ExternalStream=Nothing)
    interpreted = Interpreted(monkeypatch)
    module.RawModule = lambda **arguments: made.update(arguments) or interpreted
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(cupy_csr, "missing", lambda: "")
    monkeypatch.setattr(torch, "device", lambda *_: torch.empty(0).device)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device", Nothing)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: types.SimpleNamespace(cuda_stream=5))
    cupy_csr.compile_kernels.cache_clear()
    indptr, indices, values = map(torch.from_numpy, random_csr([3, 0, 5, 9], 7))
    x = torch.randn(7, 4, requires_grad=True)
    try:
        with ops.use_backend("cupy"):
            y = ops.csr_spmm(indptr, indices, values, x)
            y.sum().backward()
    finally:
        cupy_csr.compile_kernels.cache_clear()
    expected, _ = product(indptr.numpy(), indices.numpy(), values.numpy(), x.detach().numpy())
    np.testing.assert_allclose(y.detach().numpy(), expected, atol=1e-5)
    turned = np.bincount(indices.numpy(), values.numpy(), 7)
    np.testing.assert_allclose(x.grad.numpy(), np.repeat(turned[:, None], 4, 1), atol=1e-5)
    assert made["code"] == cupy_source.kernel_source() and made["backend"] == "nvrtc"


def test_without_a_gpu_it_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(cupy_csr, "package_missing", lambda package, install: f"no {package}; {install}")
    with pytest.raises(ConfigError, match=r'"cupy" of csr_spmm cannot be used: no cupy; pip install cupy-cuda\d+x'):
        ops.use_backend("cupy")
    monkeypatch.setattr(cupy_csr, "package_missing", lambda package, install: "")
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(ConfigError, match="this torch was built without CUDA; install one with it"):
        ops.use_backend("cupy")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="torch finds no NVIDIA GPU"):
        ops.use_backend("cupy")


def test_an_installed_package_has_the_sources(tmp_path):
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "csrc" / "cuda", tmp_path / "csrc" / "cuda")
    only = shutil.ignore_patterns("*.so", "__pycache__", "sample")
    shutil.copytree(ROOT / "spectral_graph", tmp_path / "spectral_graph", ignore=only)
    environment = {**os.environ, "SPECTRAL_GRAPH_NO_EXTENSION": "1"}
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", "built"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    shutil.rmtree(tmp_path / "csrc")
    code = "from spectral_graph.ops.backends import cupy_source as s; print(s.kernel_folder(), len(s.kernel_source()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "built",
        env={**environment, "SPECTRAL_GRAPH_OPS": "torch", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    folder, length = done.stdout.split()
    assert Path(folder) == tmp_path / "built" / "spectral_graph" / "ops" / "backends" / "csrc"
    assert int(length) == len(cupy_source.kernel_source())
