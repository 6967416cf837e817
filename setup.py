"""Builds the compiled operators; everything else stands in pyproject.toml.

The extension uses the LibTorch stable ABI and the limited Python API: one binary for all Pythons from 3.11
and for torch 2.13 and later. SPECTRAL_GRAPH_NO_EXTENSION=1 leaves it out (the operators then run in pure torch).
SPECTRAL_GRAPH_CUDA=1 adds the kernels for NVIDIA GPUs as a second module; it needs nvcc, with CUDA_HOME at the
toolkit's root. TORCH_CUDA_ARCH_LIST names other GPUs than A100 and H100. The sources of the kernels come along in any
case, for the backend that compiles them at run time.
"""

import os
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithKernels(build_py):
    """Copies the sources of the CUDA kernels into the package that is installed; an editable one reads csrc."""

    def run(self) -> None:
        """Build the package, then add the sources."""
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib, "spectral_graph", "ops", "backends", "csrc", "cuda")
        self.mkpath(str(folder))
        for source in sorted(Path("csrc", "cuda").glob("*.*h")):
            self.copy_file(str(source), str(folder / source.name))


if os.environ.get("SPECTRAL_GRAPH_NO_EXTENSION") == "1":
    setup(cmdclass={"build_py": BuildWithKernels})
else:
    from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension

    flags = [
        "-O3",
        "-g0",
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-Wno-unknown-pragmas",
        "-DTORCH_TARGET_VERSION=0x020d000000000000",
    ]
    include = [str(Path("csrc").resolve())]
    modules = [
        CppExtension(
            "spectral_graph._C",
            sorted(str(path) for path in Path("csrc").rglob("*.cpp")),
            py_limited_api=True,
            include_dirs=include,
            extra_compile_args={"cxx": flags},
        )
    ]
    if os.environ.get("SPECTRAL_GRAPH_CUDA") == "1":
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "8.0;9.0+PTX")
        modules.append(
            CUDAExtension(
                "spectral_graph._CUDA",
                sorted(str(path) for path in Path("csrc/cuda").glob("*.cu")),
                py_limited_api=True,
                include_dirs=include,
                extra_compile_args={"nvcc": ["-O3", "-std=c++17", "-DUSE_CUDA", flags[-1]]},
            )
        )
    setup(
        ext_modules=modules,
        cmdclass={"build_ext": BuildExtension, "build_py": BuildWithKernels},
        options={"bdist_wheel": {"py_limited_api": "cp311"}},
    )
