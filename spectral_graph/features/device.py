"""The device that a model runs on: the CPU or an NVIDIA GPU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from spectral_graph.errors import ConfigError, DeviceMemoryError


def find_device(name: str, process: int = 0) -> torch.device:
    """Return the device that an option names.

    Args:
        name: ``cpu``, ``cuda:N``, or ``cuda``: the GPU number `process` modulo the number of GPUs.
        process: number of this process among those of its machine, from 0.

    Raises:
        ConfigError: the name is none of these, or torch finds no such GPU; the message lists those that it finds.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"`device={name}`: there is no such device; give cpu, cuda or cuda:N")
    if device.type == "cpu":
        return device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise ConfigError(f"`device={name}`: torch {torch.__version__} finds no CUDA GPU here, only cpu; {_cure()}")
    index = process % count if device.index is None else device.index
    if index >= count:
        there = ", ".join(describe_device(torch.device("cuda", i)) for i in range(count))
        raise ConfigError(f"`device={name}`: torch finds no such GPU here; there are cpu, {there}")
    return torch.device("cuda", index)


def _cure() -> str:
    if torch.version.cuda is None:
        return "leave `device` out, or install a torch with CUDA (https://pytorch.org/get-started/locally)"
    return "leave `device` out, or see whether nvidia-smi shows a GPU and its driver"


def describe_device(device: torch.device) -> str:
    """Return the device's name: ``cpu``, or ``cuda:0 (NVIDIA A100-SXM4-40GB)``."""
    return str(device) if device.type != "cuda" else f"{device} ({torch.cuda.get_device_name(device)})"


@contextmanager
def reporting_full_memory(device: torch.device, what: str, cure: str) -> Iterator[None]:
    """Turn torch's out-of-memory error into DeviceMemoryError, which names the device.

    Args:
        device: where the block computes.
        what: the purpose of the memory.
        cure: advice, besides using the CPU.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        asked = re.search(r"allocate ([\d.]+ \w+)", str(error))
        more = f", {asked[1]} more are needed" if asked else ""
        raise DeviceMemoryError(
            f"{device} has too little free memory for {what}{more}; {cure}, or use `device=cpu`"
        ) from error
