"""Plug-ins on disk, installed as pip would: a module and the metadata of its distribution in a folder on the path."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import dask

from support import forked, once

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


def _surroundings(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Path of modules and environment of a program that has the folder's plug-ins."""
    path = [str(folder), *filter(None, sys.path)]
    own = {
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "DASK_DISTRIBUTED__WORKER__PRELOAD": repr([once.PRELOAD]),
    }
    return path, {**os.environ, **own}


def started(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the real ``defacedask`` as a shell would, with the folder's plug-ins."""
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, *map(str, arguments)],
        env=_surroundings(folder)[1],
        capture_output=True,
        text=True,
        check=False,
    )


def program(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The same in a process that need not import everything: see `support.forked`."""
    with tempfile.TemporaryDirectory() as said:
        texts = [Path(said, name) for name in ("out", "err")]
        given = (*_surroundings(folder), [str(one) for one in arguments], texts)
        process = forked.context().Process(target=_forked, args=given)
        process.start()
        process.join()
        code = process.exitcode
        out, err = (text.read_text() for text in texts)
    return subprocess.CompletedProcess(arguments, 0 if code is None else code, out, err)


def _forked(path: list[str], environment: dict[str, str], arguments: list[str], texts: list[Path]) -> None:
    """What a started Python does by itself, and then the program."""
    for number, text in enumerate(texts, 1):
        os.dup2(os.open(text, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path
    sys.argv[1:] = arguments
    sys.dont_write_bytecode = True
    dask.config.refresh()
    once.start()
    from defacedask.cli import main

    main()
