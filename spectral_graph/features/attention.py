"""Reads queries, keys and values where they enter the attention kernel, for modules of any library.

Whatever a module does before (norms, rotary embeddings, fused projections, grouped queries, joint streams), the
tensors that it hands to `scaled_dot_product_attention` are the ones that it uses. A `TorchFunctionMode` sees that call
however it was imported, on this thread and inside the context only; nothing is patched.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from spectral_graph.errors import ModelError

TENSORS = ("q", "k", "v")

_MHA_SIGNATURE = inspect.signature(functional.multi_head_attention_forward)


@dataclass(frozen=True)
class AttentionCall:
    """One call of the attention kernel.

    Attributes:
        values: tensor name -> (B, tokens, heads * head_dim) float32, a copy: q is scaled so that the weights are
            softmax(q k^T / sqrt(head_dim)); k and v are repeated to the number of query heads.
        heads: number of query heads.
        dim: heads * head_dim of the queries.
        tokens: (queries, keys) before any were left out.
        masked: some pairs were masked or biased, so that the weights do not follow from q and k alone.
    """

    values: dict[str, Tensor]
    heads: int
    dim: int
    tokens: tuple[int, int]
    masked: bool


class AttentionTap(TorchFunctionMode):
    """Context manager that copies q, k, v of every attention call inside chosen modules.

    Attributes:
        calls: module name -> its calls inside the context, in order. A call counts for the innermost chosen module.
    """

    def __init__(
        self, modules: Mapping[str, nn.Module], tensors: Collection[str] = TENSORS, tokens: slice = slice(None)
    ) -> None:
        """Prepare the tap; hooks are set when the context is entered.

        Args:
            modules: by name.
            tensors: subset of {"q", "k", "v"}; if empty, calls are counted and described only.
            tokens: which tokens to keep.
        """
        super().__init__()
        self.calls: dict[str, list[AttentionCall]] = {}
        self._modules = dict(modules)
        self._tensors = [name for name in TENSORS if name in tensors]
        self._tokens = tokens
        self._active: list[str] = []
        self._hooks = ExitStack()

    def __enter__(self) -> AttentionTap:
        self.calls = {}
        for name, module in self._modules.items():
            self._keep(module.register_forward_pre_hook(self._opens(name)))
            self._keep(module.register_forward_hook(self._closes(name), always_call=True))
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._hooks.close()
        self._active.clear()

    def only_call(self, layer: str, model: str) -> AttentionCall:
        """Return the call of a layer that attended exactly once.

        Args:
            layer: name of a tapped module.
            model: name of the model, for the message.

        Raises:
            ModelError: it did not attend once, or with a mask.
        """
        calls = self.calls.get(layer, [])
        if len(calls) != 1 or calls[0].masked:
            found = "with a mask" if calls and calls[0].masked else f"{len(calls)} times"
            raise ModelError(
                f"model {model}, layer {layer}: it attended {found} by scaled_dot_product_attention, and once without "
                "a mask was expected; choose torch's own attention kernel (SDPA) for this model"
            )
        return calls[0]

    def _keep(self, handle: torch.utils.hooks.RemovableHandle) -> None:
        self._hooks.callback(handle.remove)

    def _opens(self, name: str) -> Callable[..., None]:
        return lambda _module, _args: self._active.append(name)

    def _closes(self, name: str) -> Callable[..., None]:
        def close(_module: nn.Module, _args: Any, _output: Any) -> None:
            if self._active and self._active[-1] == name:
                self._active.pop()

        return close

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._active:
            if func is functional.scaled_dot_product_attention:
                self._note(*args, **kwargs)
            elif func is functional.multi_head_attention_forward:
                # A function mode does not see the kernel call inside this function.
                self._note(*_multi_head_inputs(*args, **kwargs))
        return func(*args, **kwargs)

    def _note(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> None:
        heads, width = query.shape[-3], query.shape[-1]
        factor = 1.0 if scale is None else scale * width**0.5
        sources = {"q": query, "k": key, "v": value}
        # Outside inference mode, so that the caller may change the copies in place.
        with torch.inference_mode(False), torch.no_grad():
            values = {}
            for name in self._tensors:
                part = sources[name][..., self._tokens, :]
                if part.shape[-3] != heads:
                    part = part.repeat_interleave(heads // part.shape[-3], dim=-3)
                rows = part.transpose(-3, -2)
                values[name] = rows.to(torch.float32, copy=True, memory_format=torch.contiguous_format).flatten(-2)
            if "q" in values and abs(factor - 1) > 1e-6:
                values["q"] *= factor
        masked = is_causal or _has_effect(attn_mask)
        call = AttentionCall(values, heads, heads * width, (query.shape[-2], key.shape[-2]), masked)
        self.calls.setdefault(self._active[-1], []).append(call)


def find_attention(
    modules: Mapping[str, nn.Module], run: Callable[[], object], tensors: Collection[str] = ()
) -> dict[str, AttentionCall]:
    """Return the modules that call the attention kernel in a forward pass, in the order of their first call.

    Args:
        modules: by name.
        run: makes a forward pass.
        tensors: which of q, k, v to copy.

    Returns:
        Name of the innermost module around each call -> the call.

    Raises:
        ModelError: a module attends more than once, so that "its" q, k and v are not one set.
    """
    with torch.inference_mode(), AttentionTap(modules, tensors) as tap:
        run()
    for name, calls in tap.calls.items():
        if len(calls) > 1:
            raise ModelError(
                f"module {name}, a {type(modules[name]).__name__}, attends {len(calls)} times in one forward pass; "
                "its q, k and v are no single set, so it cannot be a layer"
            )
    return {name: calls[0] for name, calls in tap.calls.items()}


def no_attention(model: str, calls: Collection[str], examples: Sequence[str]) -> ModelError:
    """Return the error for a model in which the modules `calls` attend, and none of them can be a layer."""
    return ModelError(
        f"model {model}: no self-attention layer can be read ({len(calls)} modules attend, none of them from all "
        f"positions to all without a mask); choose another model, such as {', '.join(examples)}"
    )


def _has_effect(mask: Tensor | None) -> bool:
    """Return whether a mask holds False, or a number other than 0 to be added."""
    if mask is None:
        return False
    return not bool(mask.all()) if mask.dtype == torch.bool else bool(mask.any())


def _multi_head_inputs(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Compute q, k, v (B, heads, tokens, head_dim) and the mask of the kernel from `multi_head_attention_forward`'s."""
    given = _MHA_SIGNATURE.bind(*args, **kwargs)
    given.apply_defaults()
    call = given.arguments
    if call["bias_k"] is not None or call["add_zero_attn"]:
        raise ModelError(
            "torch.nn.MultiheadAttention with add_bias_kv or add_zero_attn attends to keys that belong to no token; "
            "leave this layer out"
        )
    if call["use_separate_proj_weight"]:
        weights = [call[f"{name}_proj_weight"] for name in TENSORS]
    else:
        weights = call["in_proj_weight"].chunk(3)
    biases = (None, None, None) if call["in_proj_bias"] is None else call["in_proj_bias"].chunk(3)
    heads = []
    for name, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
        # The inputs are (tokens, B, D), or (tokens, D) of one image.
        flat = functional.linear(call[name], weight, bias)
        flat = flat if flat.ndim == 3 else flat.unsqueeze(1)
        heads.append(flat.unflatten(-1, (call["num_heads"], -1)).permute(1, 2, 0, 3))
    mask = call["attn_mask"] if call["attn_mask"] is not None else call["key_padding_mask"]
    if mask is not None and not mask.dtype.is_floating_point:
        mask = ~mask.bool()  # True means "leave out" there, and "take" in the kernel
    return heads[0], heads[1], heads[2], mask
