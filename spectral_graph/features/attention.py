"""Reads queries, keys and values out of one attention layer, as that layer uses them.

Fused attention kernels never show q, k and v, so they are taken where they are still visible: q and k leave
`q_norm` and `k_norm` (identities where a model has no such norm), v leaves the projection. Rotary position
embeddings come after those points and are applied here with the model's own angles.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from spectral_graph.errors import ModelError

TENSORS = ("q", "k", "v")


class AttentionTap:
    """Context manager that copies q, k, v of one attention module during the forward passes inside it.

    It handles timm's `Attention`, `AttentionRope` and `EvaAttention`: one `qkv` projection or three, norms of q
    and k, rotary embeddings, grouped queries, gated output; with fused attention or without.

    Attributes:
        values: after a forward pass, one (B, tokens, heads * head_dim) float32 tensor for each name asked for, as
            used in the softmax: after norms and rotation, keys and values repeated to the number of query heads,
            without the first `skip` tokens.
            Of several passes those of the last.
        runs: how often the module ran inside the context.
        gate: (B, tokens, heads * head_dim) output gate of all tokens before its sigmoid; None without a gate.
    """

    def __init__(self, module: nn.Module, layer: str, tensors: Collection[str] = TENSORS, skip: int = 0) -> None:
        """Prepare the tap; no hook is set before the context is entered.

        Args:
            module: the attention module.
            layer: its name, for messages.
            tensors: subset of {"q", "k", "v"}.
            skip: number of leading tokens (class, registers) to leave out of `values`.

        Raises:
            ModelError: the module has no recognisable q, k and v.
        """
        check_attention(module, layer)
        self.values: dict[str, Tensor] = {}
        self.gate: Tensor | None = None
        self._module: Any = module
        self.runs = 0
        self._tensors = [name for name in TENSORS if name in tensors]
        self._skip = skip
        self._seen: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []
        self._takes_rope = "rope" in inspect.signature(module.forward).parameters

    def __enter__(self) -> AttentionTap:
        module = self._module
        self.runs = 0
        for name in ("q", "k"):
            if name in self._tensors:
                self._watch(getattr(module, f"{name}_norm"), name)
        if "v" in self._tensors:
            if module.qkv is None:
                self._watch(module.v_proj, "v_proj")
            elif getattr(module, "v_bias", None) is None:
                self._watch(module.qkv, "qkv")
        if getattr(module, "gate", None) is not None:
            self._watch(module.gate, "gate")
        self._handles.append(module.register_forward_hook(self._collect, with_kwargs=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._seen.clear()

    def _watch(self, module: nn.Module, name: str) -> None:
        def keep(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> None:
            self._seen[name] = output

        self._handles.append(module.register_forward_hook(keep))

    def _collect(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        self.runs += 1
        call = inspect.signature(module.forward).bind(*args, **kwargs).arguments
        rope = call.get("rope") if self._takes_rope else None
        take: dict[str, Callable[[], Tensor]] = {
            "q": lambda: self._rotate(self._seen["q"], rope),
            "k": lambda: self._rotate(self._seen["k"], rope),
            "v": lambda: self._values_of(call["x"]),
        }
        for name in self._tensors:
            heads = self._repeat(take[name]())[:, :, self._skip :]
            # Outside inference mode, so that the caller may change the copy in place.
            with torch.inference_mode(False), torch.no_grad():
                merged = heads.transpose(1, 2).flatten(2)
                self.values[name] = merged.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        self.gate = self._seen.get("gate")
        self._seen.clear()

    def _rotate(self, heads: Tensor, rope: Tensor | None) -> Tensor:
        if rope is None:
            return heads
        from timm.layers import apply_rot_embed_cat

        prefix = self._module.num_prefix_tokens
        half = {"half": True} if getattr(self._module, "rotate_half", False) else {}
        turned = apply_rot_embed_cat(heads[:, :, prefix:], rope, **half)
        return torch.cat([heads[:, :, :prefix], turned], dim=2)

    def _values_of(self, inputs: Tensor) -> Tensor:
        """Return v (B, heads, tokens, head_dim) from the projection's output, or from the module's input (B, N, D)."""
        module = self._module
        if "v_proj" in self._seen:
            flat = self._seen["v_proj"]
        elif "qkv" in self._seen:
            flat = self._seen["qkv"].chunk(3, dim=-1)[2]
        else:
            # EVA's fused projection reads the weights and adds its bias without calling the Linear module.
            flat = functional.linear(inputs, module.qkv.weight.chunk(3)[2], module.v_bias)
        return flat.unflatten(-1, (getattr(module, "num_kv_heads", module.num_heads), -1)).transpose(1, 2)

    def _repeat(self, heads: Tensor) -> Tensor:
        return heads.repeat_interleave(self._module.num_heads // heads.shape[1], dim=1)


def check_attention(module: nn.Module, layer: str) -> None:
    """Raise ModelError unless the module is built like timm's attention with queries, keys and values.

    Args:
        module: the attention module.
        layer: its name, for the message.

    Raises:
        ModelError: naming the layer, the module's class and what it lacks.
    """
    wanted = ("num_heads", "scale", "q_norm", "k_norm", "proj")
    missing = [name for name in wanted if getattr(module, name, None) is None]
    separate = all(isinstance(getattr(module, f"{name}_proj", None), nn.Module) for name in TENSORS)
    if not separate and not isinstance(getattr(module, "qkv", None), nn.Linear):
        missing.append("qkv (or q_proj, k_proj, v_proj)")
    if missing:
        raise ModelError(
            f"layer {layer}: attention module {type(module).__name__} has no recognisable queries, keys and values "
            f"(it lacks {', '.join(missing)}); choose a model with timm's Attention, AttentionRope or EvaAttention, "
            "such as a DINO, DINOv2, DINOv3, DeiT, MAE, CLIP, SigLIP or EVA-02 ViT"
        )


def reproduce(module: nn.Module, q: Tensor, k: Tensor, v: Tensor, gate: Tensor | None = None) -> Tensor:
    """Compute the attention module's output from tapped tensors: proj(norm(softmax(q k^T * scale) v)).

    Equal to the module's own output if and only if q, k and v are the ones that it used (and it does nothing else).

    Args:
        module: the tapped attention module.
        q: (B, tokens, heads * head_dim) float32, all tokens (`skip=0`).
        k: as `q`.
        v: as `q`.
        gate: the tap's `gate`.

    Returns:
        (B, tokens, D) float32.
    """
    attention: Any = module
    queries, keys, values = (t.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for t in (q, k, v))
    weights = (queries @ keys.transpose(-2, -1) * attention.scale).softmax(dim=-1)
    merged = (weights @ values).transpose(1, 2).flatten(2)
    norm = getattr(attention, "norm", None)
    if norm is not None:
        merged = norm(merged)
    if gate is not None:
        merged = merged * gate.sigmoid()
    result: Tensor = attention.proj(merged)
    return result
