"""Defacing algorithms, one a file or a folder, behind one contract (see `base`)."""

from __future__ import annotations

import re
from typing import Any

import defacedask
from defacedask.defacers.base import Defacer, Plan, plan_types
from defacedask.defacers.codec import decode
from defacedask.defacers.options import checked, known_options, split_options
from defacedask.defacers.registry import BUILT_IN, GROUP, PLUGINS, STUDY_DEFACERS, defacer_names, found
from defacedask.defacers.sources import source_hash
from defacedask.errors import ConfigError, DefacedaskError
from defacedask.plugins import distribution_of

__all__ = [
    "BUILT_IN",
    "GROUP",
    "STUDY_DEFACERS",
    "Defacer",
    "Plan",
    "code_of",
    "defacer_names",
    "get_defacer",
    "get_plan_type",
    "is_reversible",
    "plan_from_dict",
    "resolve",
    "valid_name",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def _load(name: str) -> type[Defacer]:
    return _checked(name, *found(name))


def _checked(name: str, kind: Any, where: str) -> type[Defacer]:
    """See that what was loaded is the defacer of that name."""
    fault = ""
    if not valid_name(name):
        fault = "its name has other characters than letters, digits, _, - and ."
    elif not (isinstance(kind, type) and issubclass(kind, Defacer)):
        fault = "it is no subclass of defacedask.defacers.Defacer"
    elif kind.name != name:
        fault = f"the class calls itself {kind.name!r}"
    elif name not in plan_types:
        fault = f"its module has no class of plans whose `defacer` is {name!r}"
    if fault:
        hint = "Check it with defacedask.testing.check_defacer."
        raise PLUGINS.unusable(name, where, fault, hint)
    source_hash(kind)  # now, while the files are those in memory
    return kind


def valid_name(name: str) -> bool:
    """Whether a defacer may be called so: names become those of files and folders."""
    return bool(_NAME.fullmatch(name))


def resolve(text: str, **options: Any) -> tuple[str, dict[str, Any]]:
    """Name and options of a defacer, from its spelling and from Python.

    Parameters
    ----------
    text : str
        ``NAME``, or ``NAME:OPTION=VALUE:OPTION=VALUE``.
    **options
        More of them.

    Raises
    ------
    ConfigError
        For an unknown name or option, a value that the option does not take, or an option given twice; the message
        lists the valid ones.
    """
    name, given = split_options(text)
    PLUGINS.require_one(name, name in BUILT_IN)
    kind = _load(name)
    typed = checked(name, kind, options)
    for option, value in checked(name, kind, given).items():
        if typed.setdefault(option, value) != value:
            raise ConfigError(
                f"{option} of {name} is given as {value} and as {typed[option]}.", "Give it once."
            )
    try:
        kind(**typed)
    except DefacedaskError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{name} does not take these options ({error}).", f"Its options: {known_options(kind)}."
        ) from None
    return name, typed


def get_defacer(text: str, **options: Any) -> Defacer:
    """Make a defacer by name; arguments and errors as in `resolve`."""
    name, typed = resolve(text, **options)
    return _load(name)(**typed)


def is_reversible(name: str) -> bool:
    """Whether a defacer only covers the face, so that it can be recovered from the result.

    Raises
    ------
    ConfigError
        For an unknown name.
    """
    return bool(getattr(_load(name), "reversible", False))


def get_plan_type(name: str) -> type[Plan]:
    """Class of a defacer's plans."""
    _load(name)
    return plan_types[name]


def plan_from_dict(facts: dict[str, Any]) -> Plan:
    """Inverse of `Plan.to_dict`, for any registered kind of plan.

    Raises
    ------
    ConfigError
        For an unknown defacer.
    """
    kind = get_plan_type(facts["defacer"])  # which makes the defacer's own records known
    return kind(**{name: decode(value) for name, value in facts["fields"].items()})


def code_of(name: str) -> dict[str, str]:
    """Which code a defacer is: a result made by other code is another result.

    Returns
    -------
    dict
        distribution, version, source (SHA-256, see `defacedask.defacers.sources`).
    """
    kind = _load(name)
    entries = [] if name in BUILT_IN else PLUGINS.entries(name)
    distribution, version = distribution_of(entries[0]) if entries else ("defacedask", defacedask.__version__)
    return {"distribution": distribution, "version": version, "source": source_hash(kind)}
