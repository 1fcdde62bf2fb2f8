"""Which row a case gets that kills its process, how long that takes, and what the others lose.

    uv run python -m benchmarks.poisons --out FOLDER [--cases 8] [--workers 2] [--patience 0.01]

Virtual patients, a real study on a scheduler and workers that are processes of their own, and a plug-in defacer that
defaces as quickshear does but for four of the patients: it aborts, reads from address 0, loops for ever (without and
with the interpreter's lock: a regular expression that never ends), or asks for memory without end. A second study,
of quickshear in its place, is what the others are compared with.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

POISONS = ("abort", "segfault", "loop", "locked", "memory")
#: Beginnings of columns that no two runs share, or that tell of the gallery, in which the poisonous cases lack.
APART = ("seconds", "peak_rss", "reason", "rank_of_own", "gallery_size", "nearest_other")
PLUG_IN = '''
import ctypes, dataclasses, json, os, re
from typing import ClassVar

from defacedask.defacers.quickshear import Quickshear, QuickshearPlan


@dataclasses.dataclass(frozen=True, eq=False)
class PoisonousPlan(QuickshearPlan):
    defacer: ClassVar[str] = "poisonous"


@dataclasses.dataclass(frozen=True)
class Poisonous(Quickshear):
    """quickshear, or the end of the process."""

    name: ClassVar[str] = "poisonous"

    def propose(self, head, *, key, protected):
        how = json.load(open(os.environ["POISONS"])).get(head.geometry.frame_of_reference)
        if how == "abort":
            os.abort()
        if how == "segfault":
            ctypes.string_at(0)
        if how == "loop":
            while True:
                pass
        if how == "locked":
            re.match("(a*)*b", "a" * 64)
        if how == "memory":
            kept = []
            while True:
                kept.append(b"x" * 50_000_000)
        plan = super().propose(head, key=key, protected=protected)
        return PoisonousPlan(**{f.name: getattr(plan, f.name) for f in dataclasses.fields(plan) if f.init})
'''


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--poisons", default=",".join(POISONS), help="with commas, in the order of the cases")
    parser.add_argument("--patience", default="0.01", help="of a stage's two hours")
    options = parser.parse_args(arguments)
    out: Path = options.out
    patients = out / "patients"
    made = ["--subjects", str(options.cases), "--size", "coarse", "--modality", "CT"]
    _program("phantom", *made, "--out", str(patients))
    poisons = _poison(patients, out, options.poisons.split(","))
    install(out / "plug-in")
    env = {"POISONS": str(out / "poisons.json"), "DASK_DEFACEDASK__CLUSTER__PATIENCE": options.patience}
    env |= {"PYTHONPATH": os.pathsep.join([str(out / "plug-in"), str(Path.cwd())])}
    took = {}
    for name, given in (("clean", "{}"), ("poisoned", json.dumps(poisons))):
        (out / "poisons.json").write_text(given)
        begun = time.monotonic()
        study = ["study", str(patients), "--out", str(out / name), "--seed", "1", "--attacks", "basic"]
        study += [
            "--defacers",
            "poisonous",
            "--no-pictures",
            "--no-export",
            "--workers",
            str(options.workers),
        ]
        status = _program(*study, check=False, **env)
        took[name] = time.monotonic() - begun
        print(f"{name}: {took[name]:.0f} s, exit {status}")
    tell(out, poisons)


def _program(*words: str, check: bool = True, **env: str) -> int:
    command = [sys.executable, "-m", "defacedask", *words]
    return subprocess.run(
        command, env={**os.environ, **env}, check=check, stdout=subprocess.DEVNULL
    ).returncode


def _poison(patients: Path, out: Path, names: Sequence[str]) -> dict[str, str]:
    """Frame of reference -> what happens to its case."""
    from defacedask.io.dicom.catalogue import scan

    frames = {case.id: case.frame_of_reference for case in scan(patients).cases}
    chosen = sorted(frames)[1 : 1 + len(names)]
    (out / "who.json").write_text(json.dumps(dict(zip(chosen, names, strict=True))))
    return {frames[case]: how for case, how in zip(chosen, names, strict=True)}


def install(folder: Path) -> None:
    """The plug-in, as pip leaves one."""
    facts = folder / "poisonous-1.0.dist-info"
    facts.mkdir(parents=True, exist_ok=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: poisonous\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[defacedask.defacers]\npoisonous = poisonous:Poisonous\n")
    (folder / "poisonous.py").write_text(PLUG_IN)


def tell(out: Path, poisons: dict[str, str]) -> None:
    """One line a poison, and the rows of all others against the clean run."""
    import pandas as pd

    who = json.loads((out / "who.json").read_text())
    cases = pd.read_csv(out / "poisoned" / "tables" / "cases.csv").set_index("case")
    print("| poison | its row |\n| --- | --- |")
    for case, how in who.items():
        print(f"| {how} | {cases.loc[case, 'status']}: {cases.loc[case, 'reason']} |")
    for table in ("cases", "radiomics", "dose", "geometry", "detection", "recognition"):
        files = [out / run / "tables" / f"{table}.csv" for run in ("clean", "poisoned")]
        if not all(file.exists() for file in files):
            continue
        clean, poisoned = (pd.read_csv(file) for file in files)
        clean, poisoned = (one[~one["case"].isin(who)].reset_index(drop=True) for one in (clean, poisoned))
        left_out = [name for name in clean if name.startswith(APART)]
        same = clean.drop(columns=left_out).equals(poisoned.drop(columns=left_out))
        print(f"{table}: {len(clean)} rows of the others, {'equal' if same else 'DIFFERENT'}")


if __name__ == "__main__":
    main()
