"""Plug-ins on disk, installed as pip would: a module and the metadata of its distribution in a folder on the path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support import once

#: All goes, whatever is protected.
CARELESS = '''
import dataclasses
from typing import ClassVar

import numpy as np

from defacedask.defacers import Defacer, Plan


@dataclasses.dataclass(frozen=True, eq=False)
class CarelessPlan(Plan):
    defacer: ClassVar[str] = "careless"

    def wanted(self, geometry, xp=np):
        return xp.ones(geometry.shape, dtype=bool)

    def constant(self, modality):
        return {value} if modality == "CT" else 0.0


@dataclasses.dataclass(frozen=True)
class Careless(Defacer):
    """All goes."""

    name: ClassVar[str] = "careless"
    mood: str = "bad"

    def propose(self, head, *, key, protected):
        return CarelessPlan()
'''


def install(
    folder: Path,
    code: str,
    *,
    name: str = "careless",
    point: str = "careless = {module}:Careless",
    version: str = "1.0",
    group: str = "defacedask.defacers",
) -> Path:
    """Write a plug-in below a folder; gives the module's file."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = folder / f"{name}-{version}.dist-info"
    facts.mkdir(exist_ok=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (facts / "entry_points.txt").write_text(f"[{group}]\n{point.format(module=name)}\n")
    module = folder / f"{name}.py"
    module.write_text(code)
    return module


#: The real ``defacedask``; what the session knows of a head it and its workers do not look for again.
_PROGRAM = "from support import once; once.start(); from defacedask.cli import main; main()"


def program(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the real ``defacedask`` in a process of its own, with the folder's plug-ins."""
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    own = {
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "DASK_DISTRIBUTED__WORKER__PRELOAD": repr([once.PRELOAD]),
    }
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, *map(str, arguments)],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
    )
