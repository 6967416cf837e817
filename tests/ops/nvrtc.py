"""NVRTC by its C interface, from the library that torch brings; it compiles without a GPU."""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
from pathlib import Path

import torch


def library_folder() -> Path | None:
    """Return the folder of libnvrtc among the Python packages of the CUDA that torch was built with, if it is there."""
    version = (torch.version.cuda or "").split(".")[0]
    for package in (f"nvidia-cuda-nvrtc-cu{version}", "nvidia-cuda-nvrtc"):
        try:
            files = importlib.metadata.files(package) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name.startswith("libnvrtc.so."):
                return Path(str(file.locate())).parent
    return None


@functools.cache
def _library() -> ctypes.CDLL:
    folder = library_folder()
    assert folder is not None
    builtins = next(file for file in sorted(folder.glob("libnvrtc-builtins.so.*")))
    ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(next(folder.glob("libnvrtc.so.*"))))


def compile_source(source: str, options: list[str], names: tuple[str, ...], ptx: bool) -> tuple[bytes, dict[str, str]]:
    """Return the PTX or the cubin, and the mangled name of each C++ name; an error holds the compiler's messages."""
    nvrtc, program = _library(), ctypes.c_void_p()

    def call(name: str, *arguments) -> int:
        return getattr(nvrtc, name)(*arguments)

    def text(size: str, get: str) -> bytes:
        count = ctypes.c_size_t()
        assert call(size, program, ctypes.byref(count)) == 0
        buffer = ctypes.create_string_buffer(count.value)
        assert call(get, program, buffer) == 0
        return buffer.raw

    assert call("nvrtcCreateProgram", ctypes.byref(program), source.encode(), b"kern.cu", 0, None, None) == 0
    for name in names:
        assert call("nvrtcAddNameExpression", program, name.encode()) == 0
    array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    status = call("nvrtcCompileProgram", program, len(options), array)
    if status:
        raise RuntimeError(text("nvrtcGetProgramLogSize", "nvrtcGetProgramLog").decode())
    lowered = {}
    for name in names:
        found = ctypes.c_char_p()
        assert call("nvrtcGetLoweredName", program, name.encode(), ctypes.byref(found)) == 0
        lowered[name] = found.value.decode()
    code = text("nvrtcGetPTXSize", "nvrtcGetPTX") if ptx else text("nvrtcGetCUBINSize", "nvrtcGetCUBIN")
    call("nvrtcDestroyProgram", ctypes.byref(program))
    return code, lowered
