"""JSON that was read back is what was written, or it is an error that says where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from spectral_graph.errors import FormatError

T = TypeVar("T")


def validated(value: object, form: TypeAdapter[T], place: Path | str, cure: str) -> T:
    """Return `value` as it is, once it was found to have the entries of `form`; it may have more.

    Args:
        value: decoded JSON.
        form: what it must be, mostly a TypedDict (of typing_extensions, which pydantic wants before Python 3.12).
        place: where it was read, for the message.
        cure: what to do about it, for the message.

    Raises:
        FormatError: an entry is missing or of another type; the message names the first such entry.
    """
    try:
        form.validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(map(str, first["loc"]))
        raise FormatError(
            f"{place} is damaged ({entry}{': ' if entry else ''}{first['msg'].lower()}); {cure}"
        ) from None
    return cast(T, value)
