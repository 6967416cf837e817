"""Numbers written for people. What is missing, or no number, becomes a dash."""

from __future__ import annotations

import math

DASH = "\N{EN DASH}"


def percent(value: float | None) -> str:
    """Return a share in 0..1 as per cent with one decimal, without the sign: 0.2064 becomes ``20.6``."""
    return DASH if _missing(value) else f"{100 * value:.1f}"  # type: ignore[operator]


def count(value: int | None) -> str:
    """Return an integer with its thousands set apart: 72013 becomes ``72,013``."""
    return DASH if value is None else f"{value:,}"


def short_count(value: int) -> str:
    """Return a large integer in three figures: 6100000 becomes ``6.10 M``; below 100,000 it is written out."""
    if abs(value) < 100_000:
        return count(value)
    for factor, unit in ((1e3, "k"), (1e6, "M"), (1e9, "G")):
        if abs(value) < 999.5 * factor:
            return f"{_three(value / factor)} {unit}"
    return f"{_three(value / 1e12)} T"


def size(value: int | None) -> str:
    """Return bytes in decimal units: 1234567 becomes ``1.23 MB``."""
    if value is None:
        return DASH
    for factor, unit in ((1e3, "kB"), (1e6, "MB"), (1e9, "GB")):
        if abs(value) < 999.5 * factor:
            return f"{value} B" if abs(value) < 1000 else f"{_three(value / factor)} {unit}"
    return f"{_three(value / 1e12)} TB"


def duration(seconds: float | None) -> str:
    """Return a time: ``0.42 s``, ``12.3 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if _missing(seconds):
        return DASH
    assert seconds is not None
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def decimal(value: float | None, figures: int = 4) -> str:
    """Return a number with `figures` significant figures: 0.981234 becomes ``0.9812``."""
    return DASH if _missing(value) else f"{value:.{figures}g}"


def plain(value: object) -> str:
    """Return an option's value as it would be typed: lists by commas, ``on`` and ``off``, a dash for none."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ", ".join(plain(part) for part in value)
    return str(value)


def joined(names: list[str]) -> str:
    """Return names as in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else ""


def _three(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 9.995 else f"{value:.1f}" if abs(value) < 99.95 else f"{value:.0f}"


def _missing(value: float | None) -> bool:
    return value is None or not math.isfinite(value)
