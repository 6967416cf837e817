"""Checks of JSON against a type, with an error that names the entry."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from spectral_graph.errors import FormatError

T = TypeVar("T")


def validated(value: object, form: TypeAdapter[T], place: Path | str, cure: str) -> T:
    """Return `value` unchanged if it has the entries of `form`; it may have more.

    Args:
        value: decoded JSON.
        form: mostly of a TypedDict (of typing_extensions, which pydantic needs before Python 3.12).
        place: the file or URL of the value, for the message.
        cure: for the message.

    Raises:
        FormatError: an entry is missing or of another type; the message names the first such entry.
    """
    try:
        form.validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        entry, why = ".".join(map(str, first["loc"])), first["msg"]
        raise FormatError(
            f"{place} is damaged ({_short(entry)}{': ' if entry else ''}{_short(why[0].lower() + why[1:])}); {cure}"
        ) from None
    return cast(T, value)


def as_tuple(value: object) -> object:
    """Return a list of JSON as a tuple, which pydantic can check item by item; anything else unchanged."""
    return tuple(value) if isinstance(value, list) else value


def _short(text: str) -> str:
    """Return an untrusted text for a terminal: no control characters, 200 letters at most."""
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:200])
    return escaped if len(text) <= 200 else f"{escaped}..."
