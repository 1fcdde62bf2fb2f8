"""The reference of Python: which objects are public; what is said of each stands in its docstring.

Objects, not paths, are named here: where one lives is asked of itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import defacedask
from defacedask import errors
from defacedask.defacers import Defacer
from defacedask.io.dicom.model import Series, Skipped
from defacedask.runs.deface import DefaceResult
from defacedask.runs.study import StudyResult
from defacedask.testing import check_defacer, compare_face_recognition
from defacedask.testing.clauses import CLAUSES
from defacedask.verify import Problem, Verification
from defacedask.volume import VolumeAccessor, geometry_of, make_volume, real_values

__all__ = ["pages", "written"]


def pages() -> dict[str, str]:
    """Place in the site -> Markdown, whose directives Sphinx fills."""
    return {
        "reference/python.md": _page(
            "Python",
            "`import defacedask as dd`. Where a function takes cases, it takes paths, a Scan, a Case, or several of "
            "these. It uses the active `distributed.Client`. Without one it works in this process, one case "
            "after the other.",
            *map(_public, ("scan", "plan", "deface", "verify", "study", "attack", "report")),
            "A plan is applied to an image by {py:obj}`Plan.apply <defacedask.Plan.apply>`.",
            "## What they give",
            *map(_public, ("Scan", "Case")),
            *map(_class, (Series, Skipped, DefaceResult, Verification, Problem, StudyResult)),
        ),
        "reference/volumes.md": _page(
            "Volumes and grids",
            "A volume is an `xarray.DataArray` with the dims (z, y, x). It holds stored values. Places are mm of the "
            "patient: x to the left, y to posterior, z to superior (LPS).",
            "## image.defacedask",
            _class(VolumeAccessor),
            "## Grids and arrays",
            _public("Geometry"),
            *map(_function, (make_volume, geometry_of, real_values)),
            _public("read_image"),
            "## The store of a case",
            _public("CaseStore"),
        ),
        "reference/defacers.md": _page(
            "Defacers and plans",
            "These are the two base classes that a plug-in fills in, what it may ask of a head, and the check of the "
            "contract. How they go together is told on [the page for plug-in authors](../readers/plugins.md).",
            _class(Defacer),
            *map(_public, ("Plan", "Head", "get_defacer")),
            *map(_function, (check_defacer, compare_face_recognition)),
            "## The clauses of the contract",
            "`check_defacer` looks at these, one after the other.",
            "\n".join(f"- **{name}**: {(clause.__doc__ or '').strip()}" for name, clause in CLAUSES.items()),
        ),
        "reference/errors.md": _page(
            "Errors",
            "Every error that is meant for you derives from `DefacedaskError`. It has a sentence that says what is "
            "wrong (`message`), and mostly one that says what to do (`hint`). Most are also the builtin that you "
            "would catch.",
            *(_class(getattr(errors, name)) for name in errors.__all__ if name.endswith("Error")),
        ),
    }


def written(thing: Any) -> str:
    """Where an object is found, as an import would write it: in the outermost package that has it."""
    rooms = thing.__module__.split(".")
    for k in range(1, len(rooms)):
        room = ".".join(rooms[:k])
        if getattr(import_module(room), thing.__qualname__, None) is thing:
            return f"{room}.{thing.__qualname__}"
    return f"{thing.__module__}.{thing.__qualname__}"


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", *parts]) + "\n"


def _public(name: str) -> str:
    """One of the public door, under the name that a user types."""
    kind = "class" if isinstance(getattr(defacedask, name), type) else "function"
    return _directive(kind, f"defacedask.{name}")


def _class(kind: type) -> str:
    return _directive("class", written(kind))


def _function(function: Any) -> str:
    return _directive("function", written(function))


def _directive(kind: str, path: str) -> str:
    members = "\n   :members:" if kind == "class" else ""
    return f"```{{eval-rst}}\n.. auto{kind}:: {path}{members}\n```"
