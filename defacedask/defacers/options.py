"""Options of a defacer as text: ``quickshear:form=published:sides_degrees=0``.

A colon before each option, since lists of defacers have commas between them.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from defacedask.errors import ConfigError

if TYPE_CHECKING:
    from defacedask.defacers.base import Defacer

__all__ = ["checked", "known_options", "spelled", "split_options", "within"]

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_KINDS = {bool: "yes or no", int: "a whole number", float: "a number", str: "a word"}


def split_options(text: str) -> tuple[str, dict[str, str]]:
    """Take ``NAME:OPTION=VALUE:...`` apart.

    Raises
    ------
    ConfigError
        For what is no text, a part that is no ``OPTION=VALUE``, or an option given twice.
    """
    if not isinstance(text, str):
        raise ConfigError(
            f"a defacer is named by a text, not by an object of the type {type(text).__name__}.",
            "Write NAME or NAME:OPTION=VALUE, such as quickshear.",
        )
    name, *parts = (part.strip() for part in text.split(":"))
    options: dict[str, str] = {}
    for part in parts:
        option, equals, value = (piece.strip() for piece in part.partition("="))
        if not (option and equals and value):
            raise ConfigError(
                f"{part!r} in {text!r} is no option.",
                "Write NAME:OPTION=VALUE:OPTION=VALUE, such as quickshear:form=published:buffer_mm=4.",
            )
        if option in options:
            raise ConfigError(f"{text!r} gives {option} twice.", "Give it once.")
        options[option] = value
    return name, options


def spelled(name: str, options: Mapping[str, Any]) -> str:
    """Inverse of `split_options`, options in alphabetical order."""
    return ":".join([name, *(f"{option}={value}" for option, value in sorted(options.items()))])


def known_options(kind: type[Defacer]) -> str:
    """Options of a defacer with type and default, for messages and lists."""
    types = _types(kind)
    found = [
        f"{field.name}={_default(field)} ({_KINDS.get(types[field.name], 'as Python writes it')})"
        for field in dataclasses.fields(kind)
    ]
    return ", ".join(found) or "none"


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else "?"


def _types(kind: type[Defacer]) -> dict[str, Any]:
    """Name of each option -> its type; that of the default where the annotation cannot be looked up."""
    try:
        hints = typing.get_type_hints(kind)
    except Exception:  # a name that its module imports for type checkers alone
        hints = {}
    return {field.name: hints.get(field.name, type(_default(field))) for field in dataclasses.fields(kind)}


def checked(name: str, kind: type[Defacer], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with values of their own types; text is read as such.

    Raises
    ------
    ConfigError
        For an unknown option or a value of another type; the message lists the options.
    """
    types = _types(kind)
    out = {}
    for option, value in options.items():
        hint = f"Its options: {known_options(kind)}."
        if option not in types:
            raise ConfigError(f"{name} has no option {option!r}.", hint)
        try:
            out[option] = _value(value, types[option])
        except ValueError:
            what = _KINDS.get(types[option], "such a value")
            raise ConfigError(f"{option}={value} of {name} is not {what}.", hint) from None
    return out


def within(defacer: Defacer, **limits: tuple[float, float]) -> None:
    """Refuse options of a defacer that make no sense: ``within(self, buffer_mm=(0, 50))``.

    Raises
    ------
    ConfigError
        For a value outside; the message names option, value and limits.
    """
    for option, (low, high) in limits.items():
        value = getattr(defacer, option)
        if not low <= value <= high:
            unit = " mm" if option.endswith("_mm") else ""
            raise ConfigError(
                f"{option} of {defacer.name} is {value:g}{unit}.", f"Choose from {low:g} to {high:g}{unit}."
            )


def _value(value: Any, kind: Any) -> Any:
    """Raises ValueError for what is not of the kind."""
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in _WORDS:
            return _WORDS[str(value).lower()]
        raise ValueError
    if kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError
        number = kind(value) if isinstance(value, str) or kind is float else value
        if not math.isfinite(number) or (kind is int and number != int(number)):
            raise ValueError
        return kind(number)
    if kind is str:
        if not isinstance(value, str):
            raise ValueError
        return value
    if isinstance(value, str):
        import ast

        try:
            return ast.literal_eval(value)
        except SyntaxError:
            raise ValueError from None
    return value
