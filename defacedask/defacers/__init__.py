"""Defacing algorithms, one a file, behind one contract (see `base`)."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any

from defacedask.defacers.base import Defacer, Plan, plan_from_dict, plan_types
from defacedask.errors import ConfigError

__all__ = [
    "Defacer",
    "Plan",
    "defacer_names",
    "get_defacer",
    "get_plan_type",
    "is_reversible",
    "plan_from_dict",
]

#: Built-in defacers, imported when asked for. Others join through the entry point group ``defacedask.defacers``.
BUILT_IN = {
    "none": "defacedask.defacers.none:NoDefacing",
    "quickshear": "defacedask.defacers.quickshear:Quickshear",
    "biometric_mask": "defacedask.defacers.biometric_mask:BiometricMask",
    "biometric_mask_strict": "defacedask.defacers.biometric_mask:BiometricMaskStrict",
    "mri_reface": "defacedask.defacers.mri_reface:MriReface",
    "carina": "defacedask.defacers.carina:Carina",
}

#: What ``--defacers all`` means: the study's four. The control ``none`` always runs beside them.
STUDY_DEFACERS = ("quickshear", "biometric_mask", "mri_reface", "carina")


def defacer_names() -> list[str]:
    """Names of all defacers, built-in first."""
    return [
        *BUILT_IN,
        *sorted(e.name for e in entry_points(group="defacedask.defacers") if e.name not in BUILT_IN),
    ]


def _load(name: str) -> type[Defacer]:
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    for entry in entry_points(group="defacedask.defacers"):
        if entry.name == name:
            return entry.load()
    raise ConfigError(f"there is no defacer {name!r}.", f"Choose from: {', '.join(defacer_names())}.")


def get_defacer(name: str, **options: Any) -> Defacer:
    """Make a defacer by name.

    Raises
    ------
    ConfigError
        For an unknown name or option; the message lists the valid ones.
    """
    kind = _load(name)
    try:
        return kind(**options)
    except TypeError as error:
        known = ", ".join(getattr(kind, "__dataclass_fields__", {})) or "none"
        raise ConfigError(f"{name} does not take these options ({error}).", f"It knows: {known}.") from None


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
