"""The device that a model runs on: the CPU, or a GPU of NVIDIA."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from spectral_graph.errors import ConfigError, DeviceMemoryError


def find_device(name: str, process: int = 0) -> torch.device:
    """Return the device that an option names.

    Args:
        name: ``cpu``, ``cuda:N`` or ``cuda``, the GPU of this process: the first one, or where several processes share
            a machine the one of its number, counted round.
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
    """Return a device in words: ``cpu``, or ``cuda:0 (NVIDIA A100-SXM4-40GB)``."""
    return str(device) if device.type != "cuda" else f"{device} ({torch.cuda.get_device_name(device)})"


@contextmanager
def reporting_full_memory(device: torch.device, what: str, cure: str) -> Iterator[None]:
    """Turn torch's want of memory on a GPU into one sentence.

    Args:
        device: where it is computed.
        what: the thing that needed the memory.
        cure: what can be done about it, besides using the CPU.

    Raises:
        DeviceMemoryError: naming the device, the thing and the cure.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        asked = re.search(r"allocate ([\d.]+ \w+)", str(error))
        more = f", {asked[1]} more are needed" if asked else ""
        raise DeviceMemoryError(
            f"{device} has too little free memory for {what}{more}; {cure}, or use `device=cpu`"
        ) from error
