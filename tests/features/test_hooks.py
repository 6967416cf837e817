"""Attention hooks on modules written by others, against plain matrix products."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from spectral_graph.errors import ModelError
from spectral_graph.features import hook_attention

WIDTH, HEADS, TOKENS = 24, 4, 7


class Fused(nn.Module):
    """Attention by torch's kernel, one projection."""

    def __init__(self, scale: float | None = None, causal: bool = False) -> None:
        super().__init__()
        self.mix = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.scale, self.causal = scale, causal

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in self.mix(x).chunk(3, -1))
        y = functional.scaled_dot_product_attention(q, k, v, scale=self.scale, is_causal=self.causal)
        return self.out(y.transpose(1, 2).flatten(2))


class Grouped(nn.Module):
    """Two heads of keys and values for four of queries."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH // 2), nn.Linear(WIDTH, WIDTH // 2)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (p(x).unflatten(-1, (-1, WIDTH // HEADS)).transpose(1, 2) for p in (self.q, self.k, self.v))
        return self.out(functional.scaled_dot_product_attention(q, k, v, enable_gqa=True).transpose(1, 2).flatten(2))


class Written(nn.Module):
    """Attention written out, with projections of usual names; options that hide things from the projections."""

    def __init__(
        self, names: tuple[str, ...] = ("to_q", "to_k", "to_v"), norm: bool = False, hidden: float = 0
    ) -> None:
        super().__init__()
        self.names, self.hidden = names, hidden
        for name in names:
            self.add_module(name, nn.Linear(WIDTH, WIDTH if len(names) == 3 else 3 * WIDTH))
        self.q_norm = nn.LayerNorm(WIDTH // HEADS) if norm else None
        self.k_norm = nn.LayerNorm(WIDTH // HEADS) if norm else None
        self.soft = nn.Softmax(dim=-1)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        flat = [getattr(self, name)(x) for name in self.names]
        flat = flat if len(flat) == 3 else list(flat[0].chunk(3, -1))
        q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in flat)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        scores = q @ k.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5 + self.hidden * torch.arange(TOKENS)
        return self.out((self.soft(scores) @ v).transpose(1, 2).flatten(2))


class Stack(nn.Module):
    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x)
        return x


def inputs() -> Tensor:
    return torch.randn(2, TOKENS, WIDTH, generator=torch.Generator().manual_seed(4))


def reproduced(values: dict[str, Tensor], heads: int) -> Tensor:
    q, k, v = (values[name].unflatten(-1, (heads, -1)).transpose(1, 2) for name in ("q", "k", "v"))
    return ((q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)


MODULES = {
    "fused": lambda: Fused(),
    "scaled": lambda: Fused(scale=1.7),
    "grouped": lambda: Grouped(),
    "to_q": lambda: Written(),
    "q_proj": lambda: Written(("q_proj", "k_proj", "v_proj")),
    "query": lambda: Written(("query", "key", "value"), norm=True),
    "qkv": lambda: Written(("qkv",)),
}


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("layers", [None, "blocks.*", ["blocks.0", "blocks.1"]])
def test_output_follows_from_q_k_and_v(kind: str, layers: object) -> None:
    torch.manual_seed(0)
    model = Stack(MODULES[kind](), MODULES[kind]()).eval()
    for name, parameter in model.named_parameters():
        nn.init.normal_(parameter, std=0.4 if "norm" not in name else 1.0)
    outputs: list[Tensor] = []
    handles = [block.register_forward_hook(lambda _m, _a, output: outputs.append(output)) for block in model.blocks]
    names = None if layers is None else [f"blocks.{i}" for i in range(2)] if layers == "blocks.*" else layers
    with torch.no_grad(), hook_attention(model, names) as attention:
        model(inputs())
    for handle in handles:
        handle.remove()
    assert list(attention.values) == ["blocks.0", "blocks.1"] and set(attention.heads.values()) == {HEADS}
    for name, output in zip(attention.values, outputs, strict=True):
        block = model.get_submodule(name)
        expected = block.out(reproduced(attention.values[name], HEADS))
        torch.testing.assert_close(expected, output, rtol=1e-4, atol=1e-4)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"bias": False}, {"kdim": WIDTH, "vdim": WIDTH}])
@pytest.mark.parametrize("weights", [True, False])
def test_multihead_attention_of_torch(options: dict[str, object], weights: bool) -> None:
    torch.manual_seed(0)
    model = nn.MultiheadAttention(WIDTH, HEADS, **options).eval()  # type: ignore[arg-type]
    x = inputs() if options.get("batch_first") else inputs().transpose(0, 1)
    with torch.inference_mode(), hook_attention(model) as attention:
        output, _ = model(x, x, x, need_weights=weights)
    (name,) = attention.values
    with torch.no_grad():
        found = model.out_proj(reproduced(attention.values[name], HEADS))
    torch.testing.assert_close(found, output if options.get("batch_first") else output.transpose(0, 1))


def test_encoder_layer_of_torch_takes_the_slow_path_and_is_read() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, HEADS, 32, batch_first=True), 2).eval()
    expected = model(inputs())
    with torch.inference_mode(), hook_attention(model, "layers.*.self_attn") as attention:
        torch.testing.assert_close(model(inputs()), expected)
    assert list(attention.values) == ["layers.0.self_attn", "layers.1.self_attn"]


def test_only_the_chosen_layers_and_tensors() -> None:
    model = Stack(Fused(), Fused(), Written())
    with torch.inference_mode(), hook_attention(model, ["blocks.1", "blocks.2"], ("v",)) as attention:
        model(inputs())
    assert {name: set(values) for name, values in attention.values.items()} == {"blocks.1": {"v"}, "blocks.2": {"v"}}
    v = attention.values["blocks.1"]["v"]
    v += 1  # a copy outside inference mode


def test_layers_without_q_k_and_v_are_named() -> None:
    model = Stack(Fused(), nn.Linear(WIDTH, WIDTH))
    refused = pytest.raises(ModelError, match=r"blocks\.1 \(Linear\).*scaled_dot_product_attention")
    with refused, hook_attention(model, ["blocks.0", "blocks.1"]):
        model(inputs())
    with pytest.raises(ModelError, match="any submodule"), hook_attention(model.blocks[1]):
        model.blocks[1](inputs())
    with pytest.raises(ModelError, match=r"Stack.*'attn'.*blocks\.0"):
        hook_attention(model, "attn")
    with pytest.raises(ModelError, match="tensors w"):
        hook_attention(model, tensors=("w",))


def test_additions_that_the_projections_do_not_show_are_found() -> None:
    model = Stack(Written(hidden=0.3))
    with pytest.raises(ModelError, match=r"blocks\.0, a Written.*softmax"), hook_attention(model):
        model(inputs())


def test_two_passes_in_a_block_are_refused() -> None:
    model = Stack(Fused())
    with pytest.raises(ModelError, match=r"blocks\.0.*2"), hook_attention(model):
        model(inputs())
        model(inputs())


class Twice(nn.Module):
    """Its one attention runs twice in a forward pass."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.attention(x))


class TwoSoftmaxes(Written):
    """Attends twice with the same projections."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (getattr(self, name)(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for name in self.names)
        for _ in range(2):
            v = self.soft(q @ k.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5) @ v
        return self.out(v.transpose(1, 2).flatten(2))


class KernelAndWritten(Written):
    """Attends by the kernel and written out."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (getattr(self, name)(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for name in self.names)
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return super().forward(y)


class Torch(nn.MultiheadAttention):
    """Self-attention of torch as a module of one input."""

    def __init__(self) -> None:
        super().__init__(WIDTH, HEADS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, x, x)[0]


class Gated(Written):
    """A softmax over the channels, which is no attention, before and behind it."""

    def forward(self, x: Tensor) -> Tensor:
        return self.soft(super().forward(x * self.soft(x)))


REPEATED = {
    "kernel": lambda: Twice(Fused()),
    "written out": lambda: Twice(Written()),
    "written out, fused": lambda: Twice(Written(("qkv",))),
    "written out, with norms": lambda: Twice(Written(norm=True)),
    "of torch": lambda: Twice(Torch()),
    "two softmaxes": lambda: Stack(TwoSoftmaxes()),
    "kernel and written out": lambda: Stack(KernelAndWritten()),
}


@pytest.mark.parametrize("case", REPEATED)
@pytest.mark.parametrize("named", [True, False])
def test_a_layer_that_attends_twice_is_refused(case: str, named: bool) -> None:
    torch.manual_seed(0)
    model = REPEATED[case]().eval()
    layer = "attention" if isinstance(model, Twice) else "blocks.0"
    with (
        pytest.raises(ModelError, match=rf"{layer}.* [234] times"),
        torch.inference_mode(),
        hook_attention(model, layer if named else None),
    ):
        model(inputs())


def test_two_written_out_passes_in_a_block_are_refused_and_two_blocks_are_not() -> None:
    model = Stack(Written())
    hooks = hook_attention(model)
    with pytest.raises(ModelError, match=r"blocks\.0.*2"), hooks:
        model(inputs())
        model(inputs())
    with torch.no_grad(), hooks as attention:
        model(inputs())
    first = attention.values["blocks.0"]["q"]
    torch.testing.assert_close(first, model.blocks[0].to_q(inputs()).detach())
    with torch.no_grad(), hooks:
        model(2 * inputs())
    torch.testing.assert_close(hooks.values["blocks.0"]["q"], model.blocks[0].to_q(2 * inputs()).detach())


def test_a_softmax_that_is_no_attention_does_not_count() -> None:
    model = Stack(Gated())
    with torch.no_grad(), hook_attention(model) as attention:
        model(inputs())
    assert set(attention.values) == {"blocks.0"} and attention.heads == {"blocks.0": HEADS}


def test_masks_are_marked() -> None:
    model = Stack(Fused(causal=True))
    with hook_attention(model) as attention:
        model(inputs())
    assert attention.calls["blocks.0"][0].masked


def test_an_error_of_the_model_passes_through_and_no_hook_is_left() -> None:
    model = Stack(Fused())
    with pytest.raises(RuntimeError, match="shape"), hook_attention(model):
        model(torch.zeros(1, 2, 3))
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
