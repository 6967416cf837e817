"""Choosing attention layers by text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from spectral_graph.errors import ModelError
from spectral_graph.features.model import LayerInfo

_PARTS = {"encoder": "down", "decoder": "up"}

_NUMBER = re.compile(r"\d+")
_RANGE = re.compile(r"(\d+)-(\d+)")
_LAST = re.compile(r"last:(\d+)")
_SLICE = re.compile(r"(\w+)\[(\d*):(\d*)\]")


def select_layers(
    layers: Sequence[LayerInfo], spec: str, model: str, auto: Sequence[LayerInfo] = ()
) -> tuple[LayerInfo, ...]:
    """Return the layers that a text names, each once, in the order of the model.

    Args:
        layers: all layers of the model.
        spec: a comma-separated list of "auto", "all", "last:4", "5", "5-11" (both ends included), names
            ("blocks.5") and parts of a UNet: "down" or "encoder", "mid", "up" or "decoder", and some layers of a
            part as in "up[:6]" or "down[2:4]" (the first included, the last not).
        model: name of the model, for messages.
        auto: layers that "auto" names.

    Raises:
        ModelError: a part of the text names no layer; the message lists those that exist.
    """
    chosen: set[int] = set()
    for text in (text.strip() for text in spec.split(",")):
        indices = [layer.index for layer in auto] if text == "auto" else _indices(layers, text)
        # The ends are compared first, so that "0-999999999999" is refused without being counted out.
        if not indices or indices[0] < 0 or indices[-1] >= len(layers):
            raise _no_layer(layers, spec, text, model)
        chosen.update(indices)
    return tuple(layers[index] for index in sorted(chosen))


def last_layers(layers: Sequence[LayerInfo]) -> Sequence[LayerInfo]:
    """Return the last seven twelfths of a transformer's layers: 5 to 11 of 12."""
    return layers[len(layers) - max(1, round(len(layers) * 7 / 12)) :]


def _indices(layers: Sequence[LayerInfo], text: str) -> Sequence[int]:
    count = len(layers)
    if text == "all":
        return range(count)
    if match := _LAST.fullmatch(text):
        return range(count - int(match[1]), count)
    if match := _RANGE.fullmatch(text):
        return range(int(match[1]), int(match[2]) + 1)
    if _NUMBER.fullmatch(text):
        return range(int(text), int(text) + 1)
    match = _SLICE.fullmatch(text)
    part, first, last = (match[1], match[2], match[3]) if match else (text, "", "")
    members = [layer.index for layer in layers if layer.part and layer.part == _PARTS.get(part, part)]
    if members:
        # A slice beyond the part is refused like a number beyond the model.
        if int(last or 0) > len(members):
            return ()
        return members[int(first or 0) : int(last) if last else None]
    return [layer.index for layer in layers if layer.name == text]


def _no_layer(layers: Sequence[LayerInfo], spec: str, text: str, model: str) -> ModelError:
    count = len(layers)
    sizes: dict[str, int] = {}
    for layer in layers:
        sizes[layer.part] = sizes.get(layer.part, 0) + 1
    parts = ", ".join(f"{part}[0:{size}]" for part, size in sizes.items() if part)
    example = '"mid,up[:6]", "decoder"' if parts else '"last:4"'
    return ModelError(
        f"layers {spec!r}: {text!r} names no layer of model {model}, which has {count}: "
        f"0-{count - 1} ({layers[0].name} to {layers[-1].name}){f', {parts}' if parts else ''}; "
        f'write for instance "all", {example}, "0,2", "1-3" or a name'
    )
