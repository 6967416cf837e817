"""Queries, keys and values of `torch.nn.MultiheadAttention`, from the arguments of the function behind it."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor
from torch.nn import functional

from spectral_graph.errors import ModelError

_SIGNATURE = inspect.signature(functional.multi_head_attention_forward)


def projected(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Compute what `multi_head_attention_forward` hands to its kernel.

    Args:
        *args: the function's arguments; query, key and value are (tokens, B, D) or (tokens, D).
        **kwargs: its keyword arguments.

    Returns:
        q, k, v (B, heads, tokens, head_dim), and the mask if there is one.

    Raises:
        ModelError: the module adds keys of its own (`add_bias_kv`, `add_zero_attn`).
    """
    given = _SIGNATURE.bind(*args, **kwargs)
    given.apply_defaults()
    call = given.arguments
    if call["bias_k"] is not None or call["add_zero_attn"]:
        raise ModelError(
            "torch.nn.MultiheadAttention with add_bias_kv or add_zero_attn attends to keys that belong to no token; "
            "leave this layer out"
        )
    if call["use_separate_proj_weight"]:
        weights = [call[f"{name}_proj_weight"] for name in ("q", "k", "v")]
    else:
        weights = call["in_proj_weight"].chunk(3)
    biases = (None, None, None) if call["in_proj_bias"] is None else call["in_proj_bias"].chunk(3)
    heads = []
    for name, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
        flat = functional.linear(call[name], weight, bias)
        flat = flat if flat.ndim == 3 else flat.unsqueeze(1)
        heads.append(flat.unflatten(-1, (call["num_heads"], -1)).permute(1, 2, 0, 3))
    mask = call["attn_mask"] if call["attn_mask"] is not None else call["key_padding_mask"]
    if mask is not None and mask.dtype.is_floating_point is False:
        mask = ~mask.bool()  # there True means "leave out", in the kernel "take"
    return heads[0], heads[1], heads[2], mask
