"""Builds the compiled operators; everything else stands in pyproject.toml.

The extension uses the LibTorch stable ABI and the limited Python API: one binary for all Pythons from 3.11
and for torch 2.13 and later. SPECTRAL_GRAPH_NO_EXTENSION=1 leaves it out (the operators then run in pure torch).
"""

import os
from pathlib import Path

from setuptools import setup

if os.environ.get("SPECTRAL_GRAPH_NO_EXTENSION") == "1":
    setup()
else:
    from torch.utils.cpp_extension import BuildExtension, CppExtension

    flags = [
        "-O3",
        "-g0",
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-Wno-unknown-pragmas",
        "-DTORCH_TARGET_VERSION=0x020d000000000000",
    ]
    setup(
        ext_modules=[
            CppExtension(
                "spectral_graph._C",
                sorted(str(path) for path in Path("csrc").rglob("*.cpp")),
                py_limited_api=True,
                include_dirs=[str(Path("csrc").resolve())],
                extra_compile_args={"cxx": flags},
            )
        ],
        cmdclass={"build_ext": BuildExtension},
        options={"bdist_wheel": {"py_limited_api": "cp311"}},
    )
