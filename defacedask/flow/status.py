"""How far a run is, from what it leaves behind: nothing is written, locked or asked of a cluster."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from defacedask.errors import InputError
from defacedask.flow.lock import LOCK, NOTE

__all__ = ["Status", "status_of"]

#: Results that came within so many seconds tell the rate.
LATELY = 600.0
#: A result's status stands before its facts, however long these are.
HEAD = 2000
_FIELD = re.compile(r'"(stage|status)": "([a-z_]+)"')
_SECONDS = re.compile(r'"seconds": ([0-9.e-]+)')


@dataclasses.dataclass
class Status:
    """What is known of a run.

    Attributes
    ----------
    folder : Path
        That holds its results.
    command : str
    state : str
        ``running``, ``finished``, ``stopped`` (an error or a signal ended it), ``dead`` (its process is gone), or
        ``unknown`` (it ran on another machine and has not ended).
    cases : int
        That it is to do.
    begun : int
        Cases of which there is a result.
    results : dict
        Stage -> status -> how many, of this and earlier runs.
    running : list of (stage, case, seconds)
        What has begun and has no result yet; longest first.
    lately : int
        Results within the last ten minutes.
    last : float or None
        Seconds since the last result.
    seconds : dict
        Stage -> seconds that its results took, of this and earlier runs.
    """

    folder: Path
    command: str
    state: str
    cases: int
    begun: int = 0
    results: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    running: list[tuple[str, str, float]] = dataclasses.field(default_factory=list)
    lately: int = 0
    last: float | None = None
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def left(self) -> float | None:
        """Seconds until all cases are done, at the rate of the last ten minutes; None where nothing tells.

        Where every case has results of an earlier run, they do not tell how many more this one makes.
        """
        done = sum(sum(counts.values()) for counts in self.results.values())
        if self.state not in ("running", "unknown") or not self.lately or not self.begun:
            return None
        more = max(done / self.begun * self.cases - done, 0.0)
        return None if self.running and not more else more * LATELY / self.lately

    @property
    def hours_a_thousand(self) -> float | None:
        """Hours of one worker that 1,000 cases take; None before the first result."""
        return sum(self.seconds.values()) / self.begun * 1000 / 3600 if self.begun else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            **dataclasses.asdict(self),
            "folder": str(self.folder),
            "left": self.left,
            "hours_a_thousand": self.hours_a_thousand,
        }


def status_of(out: str | Path) -> Status:
    """Read how far a run is.

    Parameters
    ----------
    out : path
        Output folder of `study`, `attack` or `deface`; or, where the output is an address, the folder that stands
        for it or for ``--work`` here (``FOLDER.work``, ``RUN.local``).

    Raises
    ------
    InputError
        If no run left anything there.
    """
    folder = _folder_of(Path(out))
    note = _json(folder / NOTE)
    found = Status(folder, str(note.get("command", "")), _state(folder, note), int(note.get("cases", 0)))
    now = time.time()
    results: dict[str, Counter[str]] = {}
    seconds: defaultdict[str, float] = defaultdict(float)
    cases = set()
    for path, since in _files(folder / "results"):
        if path.suffix == ".begun":
            stage = path.stem
            # another sign is of a run before this one, which died there
            mine = str(_json(path).get("token", "")).startswith(str(note.get("token", "")))
            if found.state in ("running", "unknown") and mine:
                found.running.append((stage, path.parent.name, now - since))
            continue
        fields = _fields(path)
        if "status" not in fields:
            continue
        cases.add(path.parent.name)
        stage = fields.get("stage", path.stem)
        results.setdefault(stage, Counter())[fields["status"]] += 1
        seconds[stage] += float(fields.get("seconds", 0.0))
        found.lately += now - since <= LATELY
        found.last = min(found.last if found.last is not None else now - since, now - since)
    found.begun = len(cases)
    found.seconds = {stage: round(spent, 3) for stage, spent in seconds.items()}
    found.results = {stage: dict(counts) for stage, counts in results.items()}
    found.running.sort(key=lambda one: -one[2])
    return found


def _folder_of(out: Path) -> Path:
    for folder in (out / "store", out.with_name(f"{out.name}.work"), out, out / "out" / "store"):
        if (folder / NOTE).exists():
            return folder
    raise InputError(f"no run of study, attack or deface left anything in {out}.", "Name its output folder.")


def _state(folder: Path, note: dict[str, Any]) -> str:
    if "ended" in note:
        return "finished" if note.get("well") else "stopped"
    try:
        who = (folder / LOCK).read_text(encoding="utf-8")
    except OSError:
        return "dead"
    match = re.fullmatch(r"process (\d+) on (.+)", who.strip())
    if not match or match[2] != socket.gethostname():
        return "unknown"
    try:
        os.kill(int(match[1]), 0)
    except ProcessLookupError:
        return "dead"
    except PermissionError:
        pass
    return "running"


def _files(folder: Path) -> Iterator[tuple[Path, float]]:
    """Results and signs of begun stages, with the time at which they were written."""
    if not folder.is_dir():
        return
    for case in os.scandir(folder):
        if not case.is_dir():
            continue
        for entry in os.scandir(case.path):
            if entry.name.endswith((".json", ".begun")) and not entry.name.startswith("."):
                try:
                    yield Path(entry.path), entry.stat().st_mtime
                except FileNotFoundError:
                    continue  # its stage has just finished


def _fields(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            # facts may have such fields of their own: the first is the result's
            head = file.read(HEAD)
            took = _SECONDS.search(head)
            return dict(reversed(_FIELD.findall(head))) | ({"seconds": took[1]} if took else {})
    except OSError:
        return {}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
