"""Finds the modules of a model that attend, by watching one small forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from spectral_graph.errors import ModelError
from spectral_graph.features.kernel_tap import AttentionCall, KernelTap
from spectral_graph.features.model import LayerInfo


def attending_modules(model: nn.Module, run: Callable[[], object]) -> dict[str, AttentionCall]:
    """Return the modules that call the attention kernel, in the order of their first call.

    Args:
        model: any module.
        run: makes a forward pass of it.

    Returns:
        Name of the innermost module around each call -> what its call looked like, without tensors.

    Raises:
        ModelError: a module attends more than once in a pass, so that "its" q, k and v are not one set.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    with torch.inference_mode(), KernelTap(modules, tensors=()) as tap:
        run()
    for name, calls in tap.calls.items():
        if len(calls) > 1:
            raise ModelError(
                f"module {name}, a {type(modules[name]).__name__}, attends {len(calls)} times in one forward pass; "
                "its q, k and v are no single set, so it cannot be a layer"
            )
    return {name: calls[0] for name, calls in tap.calls.items()}


def one_call(tap: KernelTap, layer: LayerInfo, model: str) -> AttentionCall:
    """Return what a tapped layer did in the last pass.

    Raises:
        ModelError: it did not attend once, or with a mask.
    """
    calls = tap.calls.get(layer.name, [])
    if len(calls) != 1 or calls[0].masked:
        what = "with a mask" if calls and calls[0].masked else f"{len(calls)} times"
        raise ModelError(
            f"model {model}, layer {layer.name}: it attended {what}, and once without a mask was expected; "
            "choose torch's own attention kernel (SDPA) for this model"
        )
    return calls[0]


def no_attention(model: str, reason: str, examples: Sequence[str]) -> ModelError:
    """Return the error for a model none of whose layers can be read."""
    return ModelError(
        f"model {model}: no self-attention layer can be read ({reason}); choose another, such as {', '.join(examples)}"
    )
