"""How lists and the values of a config are written on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args

from cyclopts import Parameter, Token

__all__ = ["ConfigValue", "Integer", "IntegerOrNone", "Integers", "Numbers", "Texts"]


def _items(kind: Any, tokens: Sequence[Token]) -> tuple[Any, ...]:
    """Read items with commas between, with or without brackets around and quotes."""
    (convert,) = get_args(kind)
    text = ",".join(token.value for token in tokens)  # a JSON list is split already
    return tuple(convert(item.strip(" '\"")) for item in text.strip("[]() ").split(",") if item.strip())


def _whole(kind: Any, tokens: Sequence[Token]) -> int:
    """Read a whole number; cyclopts would round 1.5 to 2."""
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"found {text!r}, expected a whole number") from None


def _whole_or_none(kind: Any, tokens: Sequence[Token]) -> int | None:
    return None if tokens[0].value.lower() in ("none", "null") else _whole(kind, tokens)


def _literal(kind: Any, tokens: Sequence[Token] | Mapping[str, Sequence[Token]]) -> Any:
    """Read a value as `python -m monai.bundle run` does."""
    from fire.parser import DefaultParseValue

    if isinstance(tokens, Mapping):
        [token, *_] = next(iter(tokens.values()))
        raise ValueError(f"{token.keyword}: a key of a config has no dot")
    return DefaultParseValue(tokens[0].value)


Integer = Annotated[int, Parameter(converter=_whole, n_tokens=1)]
IntegerOrNone = Annotated[int | None, Parameter(converter=_whole_or_none, n_tokens=1)]
Integers = Annotated[Sequence[int], Parameter(converter=_items, n_tokens=1)]
Numbers = Annotated[Sequence[float], Parameter(converter=_items, n_tokens=1)]
Texts = Annotated[Sequence[str], Parameter(converter=_items, n_tokens=1, show_default=False)]
ConfigValue = Annotated[Any, Parameter(converter=_literal, n_tokens=1)]
