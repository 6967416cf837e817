"""Choosing layers by text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_graph.errors import ModelError
from spectral_graph.features.layers import select_layers
from spectral_graph.features.model import LayerInfo

LAYERS = tuple(LayerInfo(f"blocks.{index}", index, 3, 12, 16) for index in range(12))


def indices(spec: str) -> list[int]:
    return [layer.index for layer in select_layers(LAYERS, spec, "m")]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("all", list(range(12))),
        ("last:4", [8, 9, 10, 11]),
        ("last:12", list(range(12))),
        ("5-11", [5, 6, 7, 8, 9, 10, 11]),
        ("0,3,7", [0, 3, 7]),
        ("7, 3 ,0", [0, 3, 7]),
        ("blocks.5", [5]),
        ("3-3", [3]),
        ("1-3,2-4,blocks.0,last:1", [0, 1, 2, 3, 4, 11]),
    ],
)
def test_selection(spec: str, expected: list[int]) -> None:
    assert indices(spec) == expected


@pytest.mark.parametrize(
    "spec",
    ["", ",", "12", "5-12", "7-5", "-1", "last:0", "last:13", "blocks.12", "blocks", "1.5", "a", "0,", "0-99999999999"],
)
def test_unknown_layer_raises_with_a_list(spec: str) -> None:
    with pytest.raises(ModelError, match=r"0-11.*blocks\.11"):
        indices(spec)


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)).map(sorted), min_size=1))
def test_ranges_are_unions(ranges: list[list[int]]) -> None:
    spec = ",".join(f"{first}-{last}" for first, last in ranges)
    expected = sorted({index for first, last in ranges for index in range(first, last + 1)})
    assert indices(spec) == expected


@given(st.text(max_size=12))
def test_any_text_selects_or_is_refused(spec: str) -> None:
    try:
        chosen = indices(spec)
    except ModelError:
        return
    assert chosen == sorted(set(chosen))
    assert chosen
