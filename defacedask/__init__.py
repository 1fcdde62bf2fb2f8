"""Take the face out of head images at cohort scale, and prove what that hid and what it cost.

>>> import defacedask as dd
>>> cases = dd.scan("folder").cases
>>> plan = dd.plan(cases[0], "quickshear")
>>> image = plan.apply(cases[0].image("CT"))
>>> done = dd.deface(cases, "defaced", "quickshear")
>>> found = dd.verify(done, source=["folder"])
>>> result = dd.study(cases, out="out")
>>> attacked = dd.attack("folder", "defaced", "attacked")
>>> page = dd.report("out")

Where cases stand there may be paths, a Scan, a Case, or several of these. An active `distributed.Client` is used.
Nothing heavy is imported until it is used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

# Dask's convention: defaults are known before anybody overrides one
from defacedask import config as _config  # noqa: F401

try:
    __version__ = version("defacedask")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

_PUBLIC = {
    "scan": "defacedask.io.dicom.catalogue",
    "Case": "defacedask.io.dicom.catalogue",
    "Scan": "defacedask.io.dicom.catalogue",
    "Plan": "defacedask.defacers",
    "read_image": "defacedask.io.dicom.image",
    "Geometry": "defacedask.geometry",
    "Head": "defacedask.anatomy.head",
    "get_defacer": "defacedask.defacers",
    "plan": "defacedask.runs.study",
    "deface": "defacedask.runs.deface",
    "study": "defacedask.runs.study",
    "attack": "defacedask.runs.attack",
    "write_report": "defacedask.report",
    "write_dossier": "defacedask.dossier",
    "check_dossier": "defacedask.dossier",
    "CaseStore": "defacedask.io.store",
    "DefacedaskError": "defacedask.errors",
}
#: Modules that are called as the function of their name.
_CALLED = ("report", "verify")
__all__ = ["__version__", *_CALLED, *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name in _CALLED:
        return import_module(f"defacedask.{name}")
    raise AttributeError(f"module 'defacedask' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
