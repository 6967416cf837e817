"""Numbers and lists as text for people. A missing value or NaN becomes a dash."""

from __future__ import annotations

import math

DASH = "\N{EN DASH}"


def percent(value: float | None) -> str:
    """Return a share in 0..1 as per cent with one decimal, without the sign: 0.2064 becomes ``20.6``."""
    return DASH if _missing(value) else f"{100 * value:.1f}"  # type: ignore[operator]


def count(value: int | None) -> str:
    """Return an integer with separators of thousands: 72013 becomes ``72,013``."""
    return DASH if value is None else f"{value:,}"


def short_count(value: int) -> str:
    """Return an integer of 100,000 or more with three digits: 6100000 becomes ``6.10 M``."""
    return count(value) if abs(value) < 100_000 else _scaled(value, "k", "M", "G", "T")


def size(value: int | None) -> str:
    """Return bytes in decimal units: 1234567 becomes ``1.23 MB``."""
    if value is None:
        return DASH
    return f"{value} B" if abs(value) < 1000 else _scaled(value, "kB", "MB", "GB", "TB")


def duration(seconds: float | None) -> str:
    """Return a time: ``0.42 s``, ``12.3 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if _missing(seconds):
        return DASH
    assert seconds is not None
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def decimal(value: float | None, digits: int = 4) -> str:
    """Return a number with `digits` significant digits: 0.981234 becomes ``0.9812``."""
    return DASH if _missing(value) else f"{value:.{digits}g}"


def plain(value: object) -> str:
    """Return an option's value as it is typed: lists with commas, ``on`` and ``off``, a dash for None."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ", ".join(plain(part) for part in value)
    return str(value)


def joined(names: list[str]) -> str:
    """Return names as in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _scaled(value: int, *units: str) -> str:
    """Return a number with three digits and the first suitable unit; each unit is 1000 times the one before."""
    power = 1
    while power < len(units) and abs(value) >= 999.5 * 1000**power:
        power += 1
    scaled = value / 1000**power
    digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
    return f"{scaled:.{digits}f} {units[power - 1]}"


def _missing(value: float | None) -> bool:
    return value is None or not math.isfinite(value)
