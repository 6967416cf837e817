"""Options as they are typed: their names, what they may be, and the words for what they may not be."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Collection, Sequence
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from spectral_graph.errors import ConfigError

Options = TypeVar("Options", bound=BaseModel)
_NUMBERS = {int: "a whole number", float: "a number"}


def flag(name: str) -> str:
    """Return the command line form of an option's name."""
    return "--" + name.replace("_", "-")


def as_typed(text: str, names: Collection[str]) -> str:
    """Return a message with its options, `c_inter` or `force=graph`, as they are typed: --c-inter, --force graph.

    Args:
        text: the message.
        names: of the options; what else stands in backticks is left as it is.
    """

    def typed(found: re.Match[str]) -> str:
        name, value = found.groups()
        if name not in names:
            return found[0]
        return flag(name) if value is None else f"{flag(name)} {value}"

    return re.sub(r"`([a-z]\w*)(?:=([^`]*))?`", typed, text)


def checked(options: type[Options], given: dict[str, Any]) -> Options:
    """Return the options with the values given.

    Raises:
        ConfigError: values are not allowed; the message names each option, its value and what is allowed.
    """
    try:
        return options.model_validate(given)
    except ValidationError as error:
        lines: dict[str, str] = {}
        for issue in error.errors():
            name = str(issue["loc"][0])
            field = options.model_fields.get(name)
            words = issue["msg"].removeprefix("Value error, ")
            if field is None:
                words = "there is no such option"
            elif issue["type"] != "value_error" and (may_be := allowed(field.annotation, field.metadata)):
                words = f"give {may_be}"
            lines.setdefault(name, f"`{name}={issue['input'] or given[name]}`: {words}")
        raise ConfigError("; ".join(lines.values())) from None


def allowed(annotation: Any, limits: Sequence[Any] = ()) -> str:
    """Return what a type and its limits allow, as in "a whole number, 1 or more"; empty where no words are known.

    Args:
        annotation: of the option: a number, Literal, a union or tuple of such, or one of them Annotated.
        limits: of annotated_types: Ge, Gt, Le, Lt; FieldInfo is looked into.
    """
    origin = get_origin(annotation)
    if origin is typing.Annotated:
        inner, *more = get_args(annotation)
        found = [limit for each in more for limit in (each.metadata if isinstance(each, FieldInfo) else [each])]
        return allowed(inner, found)
    if origin is Literal:
        choices = [str(choice) for choice in get_args(annotation)]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if origin in (typing.Union, types.UnionType):
        parts = [allowed(part, limits) for part in get_args(annotation) if part is not types.NoneType]
        return ", or ".join(filter(None, parts))
    if origin is tuple:
        part = allowed(get_args(annotation)[0])
        return f"{part}; several are divided by commas" if part else ""
    if annotation in _NUMBERS:
        return ", ".join([_NUMBERS[annotation], *_bounds(limits)])
    return ""


def _bounds(limits: Sequence[Any]) -> list[str]:
    words = {"ge": "{} or more", "gt": "above {}", "le": "{} or less", "lt": "below {}"}
    known = {name: getattr(limit, name) for limit in limits for name in words if hasattr(limit, name)}
    return [text.format(known[name]) for name, text in words.items() if name in known]
