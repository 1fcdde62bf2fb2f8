"""Which defacers there are, by name, and where the class of each lies; what such a class must be is not told here."""

from __future__ import annotations

import importlib
from typing import Any

from defacedask.errors import ConfigError
from defacedask.plugins import Plugins

__all__ = ["BUILT_IN", "GROUP", "PLUGINS", "STUDY_DEFACERS", "defacer_names", "found"]

#: Entry points through which other packages' defacers join: ``name = "module:Class"``.
GROUP = "defacedask.defacers"
PLUGINS = Plugins(GROUP, "defacer")

#: Built-in defacers, imported when asked for.
BUILT_IN = {
    "none": "defacedask.defacers.none:NoDefacing",
    "quickshear": "defacedask.defacers.quickshear:Quickshear",
    "biometric_mask": "defacedask.defacers.biometric_mask:BiometricMask",
    "biometric_mask_strict": "defacedask.defacers.biometric_mask:BiometricMaskStrict",
    "mri_reface": "defacedask.defacers.mri_reface:MriReface",
    "carina": "defacedask.defacers.carina:Carina",
    "surrogate": "defacedask.defacers.surrogate:Surrogate",
    "surrogate_deep": "defacedask.defacers.surrogate.deep:SurrogateDeep",
}

#: What ``--defacers all`` means: the study's four. The control ``none`` always runs beside them.
STUDY_DEFACERS = ("quickshear", "biometric_mask", "mri_reface", "carina")


def defacer_names() -> list[str]:
    """Names of all defacers, built-in first."""
    return [*BUILT_IN, *(name for name in PLUGINS.names() if name not in BUILT_IN)]


def found(name: str) -> tuple[Any, str]:
    """What goes by a name, and where it is from, as messages say it.

    Raises
    ------
    ConfigError
        If there is none, or it cannot be imported.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return getattr(importlib.import_module(module), attribute), BUILT_IN[name]
    kind, where = PLUGINS.load(name)
    if kind is None:
        raise ConfigError(f"there is no defacer {name!r}.", f"Choose from: {', '.join(defacer_names())}.")
    return kind, where
