"""Option `--ignore`: which label values count as unlabelled."""

from __future__ import annotations


def parse_ignore(text: str) -> tuple[int, ...] | None:
    """Read ``auto`` as None, ``none`` as (), and ``0,255`` as (0, 255).

    Raises:
        ValueError: the text is none of these, or a number has more than 32 bits.
    """
    if text.strip() == "auto":
        return None
    if text.strip() == "none":
        return ()
    try:
        values = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise ValueError("give auto, none, or label values divided by commas") from None
    if values[0] < -(2**31) or values[-1] >= 2**31:
        raise ValueError("a label value has 32 bits at most")
    return tuple(values)
