"""Defacing algorithms, one a file or a folder, behind one contract (see `base`)."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import defacedask
from defacedask.defacers.base import Defacer, Plan, plan_from_dict, plan_types
from defacedask.defacers.options import checked, known_options, split_options
from defacedask.defacers.sources import source_hash
from defacedask.errors import ConfigError, DefacedaskError

__all__ = [
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

#: Entry points through which other packages' defacers join: ``name = "module:Class"``.
GROUP = "defacedask.defacers"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

#: Built-in defacers, imported when asked for.
BUILT_IN = {
    "none": "defacedask.defacers.none:NoDefacing",
    "quickshear": "defacedask.defacers.quickshear:Quickshear",
    "biometric_mask": "defacedask.defacers.biometric_mask:BiometricMask",
    "biometric_mask_strict": "defacedask.defacers.biometric_mask:BiometricMaskStrict",
    "mri_reface": "defacedask.defacers.mri_reface:MriReface",
    "carina": "defacedask.defacers.carina:Carina",
    "surrogate": "defacedask.defacers.surrogate:Surrogate",
}

#: What ``--defacers all`` means: the study's four. The control ``none`` always runs beside them.
STUDY_DEFACERS = ("quickshear", "biometric_mask", "mri_reface", "carina")


def defacer_names() -> list[str]:
    """Names of all defacers, built-in first."""
    return [*BUILT_IN, *sorted({e.name for e in entry_points(group=GROUP)} - set(BUILT_IN))]


def _entries(name: str) -> list[EntryPoint]:
    """What is installed under a name; a distribution that is found twice counts once."""
    found = entry_points(group=GROUP, name=name)
    return list({(entry.value, _distribution(entry)): entry for entry in found}.values())


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution that an entry point belongs to."""
    return (entry.dist.name, entry.dist.version) if entry.dist else ("?", "?")


def _spoken(entry: EntryPoint) -> str:
    return f"{entry.value} of {' '.join(_distribution(entry))}"


def _only_one(name: str) -> None:
    """See that a name means one defacer.

    Raises
    ------
    ConfigError
        Naming all that go by it.
    """
    given = [_spoken(entry) for entry in _entries(name)]
    if name in BUILT_IN and given:
        raise ConfigError(
            f"{name!r} is built in, and {', '.join(given)} goes by the same name.",
            "Rename the plug-in or uninstall it.",
        )
    if len(given) > 1:
        raise ConfigError(
            f"{name!r} is the name of {len(given)} defacers: {', '.join(given)}.",
            "Rename or uninstall all but one.",
        )


def _load(name: str) -> type[Defacer]:
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return _checked(name, getattr(importlib.import_module(module), attribute), BUILT_IN[name])
    for entry in _entries(name):
        try:
            kind = entry.load()
        except (Exception, SystemExit) as error:
            raise ConfigError(
                f"the defacer {name!r} ({_spoken(entry)}) cannot be loaded: {type(error).__name__}: {error}.",
                "Mend or uninstall it; -v shows where it stopped.",
            ) from error
        return _checked(name, kind, _spoken(entry))
    raise ConfigError(f"there is no defacer {name!r}.", f"Choose from: {', '.join(defacer_names())}.")


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
        raise ConfigError(
            f"the defacer {name!r} ({where}) cannot be used: {fault}.",
            "Check it with defacedask.testing.check_defacer.",
        )
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
    _only_one(name)
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


def code_of(name: str) -> dict[str, str]:
    """Which code a defacer is: a result made by other code is another result.

    Returns
    -------
    dict
        distribution, version, source (SHA-256, see `defacedask.defacers.sources`).
    """
    kind = _load(name)
    entries = [] if name in BUILT_IN else _entries(name)
    distribution, version = _distribution(entries[0]) if entries else ("defacedask", defacedask.__version__)
    return {"distribution": distribution, "version": version, "source": source_hash(kind)}
