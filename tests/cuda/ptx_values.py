"""Registers hold raw bits; these turn them into numbers and back, by PTX type."""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable

MASK32, MASK64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_u16, _f16, _u32, _f32, _u64, _f64 = (struct.Struct(code) for code in ("<H", "<e", "<I", "<f", "<Q", "<d"))
TYPES = {"u8", "s8", "b8", "u16", "s16", "b16", "u32", "s32", "b32", "u64", "s64", "b64", "f16", "f32", "f64", "pred"}


class PtxError(Exception):
    """The program does what it must not, or what this runner does not know."""


def width(kind: str) -> int:
    """Bits of a type."""
    return 1 if kind == "pred" else int(kind[1:])


def unsigned(kind: str) -> str:
    """The unsigned type of the same width."""
    return "pred" if kind == "pred" else f"u{width(kind)}"


def signed(bits: int, count: int) -> int:
    """The number that `count` bits mean in two's complement."""
    bits &= (1 << count) - 1
    return bits - (1 << count) if bits >> (count - 1) else bits


def _float32_bits(number: float) -> int:
    try:
        return _u32.unpack(_f32.pack(number))[0]
    except OverflowError:
        return 0x7F800000 if number > 0 else 0xFF800000


def decoder(kind: str) -> Callable[[int], float]:
    """From bits to a number."""
    if kind == "f16":
        return lambda bits: _f16.unpack(_u16.pack(bits & 0xFFFF))[0]
    if kind == "f32":
        return lambda bits: _f32.unpack(_u32.pack(bits & MASK32))[0]
    if kind == "f64":
        return lambda bits: _f64.unpack(_u64.pack(bits & MASK64))[0]
    count = width(kind)
    if kind[0] == "s":
        return lambda bits: signed(bits, count)
    mask = (1 << count) - 1
    return lambda bits: bits & mask


def encoder(kind: str) -> Callable[[float], int]:
    """From a number to bits."""
    if kind == "f32":
        return _float32_bits
    if kind == "f64":
        return lambda number: _u64.unpack(_f64.pack(number))[0]
    mask = (1 << width(kind)) - 1
    return lambda number: int(number) & mask


COMPARE = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "lo": operator.lt,
    "ls": operator.le,
    "hi": operator.gt,
    "hs": operator.ge,
    "equ": lambda a, b: not (a < b or a > b),
    "neu": lambda a, b: a != b,
    "ltu": lambda a, b: not a >= b,
    "leu": lambda a, b: not a > b,
    "gtu": lambda a, b: not a <= b,
    "geu": lambda a, b: not a < b,
}
"""The unordered ones (ending in u) hold where a side is NaN."""
