"""Choosing attention layers by a short text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from spectral_graph.errors import ModelError
from spectral_graph.features.model import LayerInfo

_NUMBER = re.compile(r"\d+")
_RANGE = re.compile(r"(\d+)-(\d+)")
_LAST = re.compile(r"last:(\d+)")


def select_layers(layers: Sequence[LayerInfo], spec: str, model: str) -> tuple[LayerInfo, ...]:
    """Return the layers that a text names, each once, in the order of the model.

    Args:
        layers: all layers of the model.
        spec: a comma-separated list of "all", "last:4", "5", "5-11" (both ends included) and names ("blocks.5").
        model: name of the model, for messages.

    Raises:
        ModelError: a part names no layer; the message lists what exists.
    """
    count = len(layers)
    names = {layer.name: layer.index for layer in layers}
    chosen: set[int] = set()
    for part in (text.strip() for text in spec.split(",")):
        if part == "all":
            indices = range(count)
        elif match := _LAST.fullmatch(part):
            indices = range(count - int(match[1]), count)
        elif match := _RANGE.fullmatch(part):
            indices = range(int(match[1]), int(match[2]) + 1)
        elif _NUMBER.fullmatch(part):
            indices = range(int(part), int(part) + 1)
        elif part in names:
            indices = range(names[part], names[part] + 1)
        else:
            indices = range(0)
        # The ends are compared first, so that "0-999999999999" is refused without being counted out.
        if not indices or indices[0] < 0 or indices[-1] >= count:
            raise ModelError(
                f"layers {spec!r}: {part!r} names no layer of model {model}, which has {count}: "
                f"0-{count - 1} ({layers[0].name} to {layers[-1].name}); "
                'write for instance "all", "last:4", "0,2", "1-3" or a name'
            )
        chosen.update(indices)
    return tuple(layers[index] for index in sorted(chosen))
