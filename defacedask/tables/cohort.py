"""From the results of all cases to the tables of the run, some cases at a time.

Results stay where the workers kept them. When some cases in a row have finished, a worker makes their part of each
table (`tabulate`); when all have, distances between faces are computed, because they need everybody's original as
the gallery (`defacedask.tables.faces`), and the parts are joined. The client holds no more than one part.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from defacedask.config import option
from defacedask.flow.executors import Executor, HereExecutor
from defacedask.flow.result import DONE, FAILED, REFUSED, Piece, whole
from defacedask.flow.running import result_of
from defacedask.flow.stages.places import ORIGINAL
from defacedask.io.store import writing
from defacedask.phantom.virtual import is_virtual
from defacedask.runs.preparing import KEPT
from defacedask.stamp import package_state
from defacedask.tables.faces import face_tables
from defacedask.tables.files import as_table
from defacedask.tables.lazy import LazyTables
from defacedask.tables.looks import LOOKING, LOOKS, looks_table, sightings
from defacedask.tables.parts import frames, join_parts, write_parts
from defacedask.tables.radiomics_parts import radiomics_tables
from defacedask.whole_files import replacing

if TYPE_CHECKING:
    from defacedask.io.dicom.catalogue import Case, Skipped
    from defacedask.runs.preparing import Settings

__all__ = ["About", "Cohort", "case_rows", "collect", "export_rows", "tabulate"]

#: Tables whose rows the stages make.
MEASURED = ("radiomics", "dose", "geometry", "unmasking")
#: Tables that have a part for every few cases.
PARTED = ("cases", *MEASURED, "exports", "timing")
#: Table of pictures, a line of JSON each.
PICTURES = "pictures"
#: Tables about faces and features, and what was left out.
FURTHER = (
    "recognition",
    "best_attempts",
    "skipped",
    "controls",
    "verification",
    "curves",
    "faces_detected",
    "radiomics_percent",
    "radiomics_summary",
)
#: Cases in a part.
AT_ONCE = 100
#: Of the parts, in the run's folder.
ROWS = "store/rows"


@dataclasses.dataclass(frozen=True)
class About:
    """What the tables say of a case beside its results."""

    id: str
    patient_id: str
    modality: str
    virtual: bool

    @classmethod
    def of(cls, case: Case) -> About:
        """Of a case of a scan."""
        return cls(case.id, case.patient_id, case.primary.modality, is_virtual(case))


class Some:
    """Some cases, for `tabulate`. No dataclass: Dask would look through all it holds for futures.

    Parameters
    ----------
    number : int
        Among the parts.
    cases : sequence of About
    pieces : sequence of Piece
        Whole, or receipts of what is kept.
    defacers : sequence of str
    kept : Path
        Folder of the results.
    rows : mapping, optional
        Case -> its row in ``cases``, where it is not the usual one.
    """

    def __init__(
        self,
        number: int,
        cases: Sequence[About],
        pieces: Sequence[Piece],
        defacers: Sequence[str],
        kept: Path,
        rows: Mapping[str, Mapping[str, Any]],
    ) -> None:
        order = {case.id: k for k, case in enumerate(cases)}
        ranks = {name: k for k, name in enumerate([ORIGINAL, *defacers])}
        self.number, self.cases, self.kept, self.rows = number, cases, kept, rows
        self.pieces = sorted(pieces, key=lambda p: (order[p.case], p.stage, ranks.get(p.defacer, -1)))

    @property
    def name(self) -> str:
        """Of the part: the same for the same results."""
        from defacedask import __version__

        made = [__version__, list(map(vars, self.cases)), list(map(vars, self.pieces)), self.rows]
        digest = hashlib.sha256(json.dumps(made, default=str, sort_keys=True).encode()).hexdigest()
        return f"{self.number:06d}-{digest[:16]}"


def tabulate(some: Some, rows: Path) -> str:
    """Make the part of each table that some cases have; gives its folder, and leaves one that is there as it is.

    Raises
    ------
    StoreError
        If a result that was kept is not there any more.
    """
    out = rows / some.name
    if out.exists():
        return str(out)
    pieces = [whole(some.kept, piece) for piece in some.pieces]
    patients = {case.id: case.patient_id or case.id for case in some.cases}
    tables: dict[str, Any] = {
        "cases": as_table(
            "cases", [some.rows.get(row["case"], row) for row in case_rows(some.cases, pieces)]
        ),
        **{name: as_table(name, [r for p in pieces for r in p.rows.get(name, ())]) for name in MEASURED},
        "exports": as_table("exports", export_rows(pieces)),
        "timing": as_table("timing", timing_rows(pieces)),
    }
    # results that were kept from an earlier version may have it the other way round
    tables["dose"]["difference"] = tables["dose"]["original"] - tables["dose"]["defaced"]
    specs = {
        name: spec
        for piece in pieces
        if piece.stage in LOOKING and piece.ok
        for name, spec in piece.facts.get("recognisers", {}).items()
    }
    tables[LOOKS] = looks_table(sightings(pieces, patients), specs)
    pictures = [
        json.dumps({**picture, "patient": patients[piece.case]})
        for piece in pieces
        for picture in piece.facts.get("pictures", ())
    ]
    tables[PICTURES] = pd.DataFrame({"json": pd.Series(pictures, dtype=object)})
    write_parts(out, tables)
    return str(out)


class Cohort:
    """Collects what became of all cases, and makes the tables of it.

    Parameters
    ----------
    folder : Path
        The run's.
    cases : sequence of str
        Ids of all cases, in the order of the tables: cases finish in any order, and tables must not depend on it.
    settings : Settings
    executor : Executor
        Where parts are made.
    measured : sequence of str
        Tables to write beside those about cases, faces and features.
    """

    def __init__(
        self,
        folder: Path,
        cases: Sequence[str],
        settings: Settings,
        executor: Executor,
        *,
        measured: Sequence[str] = PARTED,
    ) -> None:
        self.folder, self.settings, self.executor, self.measured = folder, settings, executor, measured
        self.rows = folder / ROWS
        self._place = {case: k for k, case in enumerate(cases)}
        self._count = len(cases)
        self._open: dict[int, dict[str, tuple[About, list[Piece]]]] = defaultdict(dict)
        self._told: dict[str, Mapping[str, Any]] = {}
        self._parts: dict[int, tuple[Any, tuple[Any, ...]]] = {}
        self._beside: Any = None

    def add(self, case: About, pieces: Iterable[Piece], row: Mapping[str, Any] | None = None) -> None:
        """One case has finished; ``row`` is its row in ``cases``, where it is not the usual one."""
        number = self._place[case.id] // AT_ONCE
        self._open[number][case.id] = (case, list(pieces))
        if row is not None:
            self._told[case.id] = row
        if len(self._open[number]) == min(AT_ONCE, self._count - number * AT_ONCE):
            self._close(number)

    def _close(self, number: int) -> None:
        some = self._open.pop(number)
        found = [some[case] for case in sorted(some, key=lambda case: self._place[case])]
        part = Some(
            number,
            [about for about, _ in found],
            [piece for _, pieces in found for piece in pieces],
            list(self.settings.defacers),
            self.folder / KEPT,
            {case: self._told.pop(case) for case in some if case in self._told},
        )
        if self._beside is None or isinstance(self._beside, HereExecutor):
            self._beside = self.executor.beside()
        work = (part, self.rows)
        future = self._beside.submit(tabulate, *work, name=("tabulate", f"part {number}", ""), priority=1)
        self._parts[number] = (future, work)
        if len(self._parts) > 2:  # what is sure to be made is let go of
            self._settle(number - 2)

    def _settle(self, number: int) -> None:
        future, work = self._parts.get(number, ("", ()))
        if work:
            self._parts[number] = (result_of(future, tabulate, work), ())

    def parts(self) -> list[Path]:
        """Folders of all parts, in their order, once they are made."""
        for number in sorted(self._open):
            self._close(number)
        for number in self._parts:
            self._settle(number)
        return [Path(self._parts[number][0]) for number in sorted(self._parts)]

    def made(self, skipped: Iterable[Mapping[str, Any]]) -> str:
        """What all tables are made from."""
        facts = [
            [part.name for part in self.parts()],
            list(map(dict, skipped)),
            vars(self.settings),
            [option("recognition"), package_state()],
        ]
        return hashlib.sha256(json.dumps(facts, default=str, sort_keys=True).encode()).hexdigest()

    def known(self) -> LazyTables:
        """The tables that an earlier run left."""
        return LazyTables(self.folder, [*self.measured, *FURTHER])

    def finish(self, skipped: Iterable[Mapping[str, Any]]) -> LazyTables:
        """Make and write all tables, and the list of pictures.

        Parameters
        ----------
        skipped : iterable of mapping
            Rows of the table of that name.
        """
        parts = self.parts()
        faces = face_tables(parts, self.settings, self.executor.beside())
        percent, summary = radiomics_tables(parts)
        small = {
            "skipped": as_table("skipped", skipped),
            **faces.tables,
            "radiomics_percent": percent,
            "radiomics_summary": summary,
        }
        with writing("the list of pictures"):
            _write_pictures(self.folder / "pictures" / "index.json", parts)
        join_parts(
            self.folder,
            {
                **dict.fromkeys(self.measured, parts),
                "recognition": faces.parts,
                "best_attempts": faces.parts,
            },
            small,
        )
        known = {path.name for path in (*parts, *faces.parts)}
        for old in self.rows.iterdir() if self.rows.is_dir() else ():
            if old.name not in known:
                shutil.rmtree(old, ignore_errors=True)
        return self.known()


def _write_pictures(index: Path, parts: Sequence[Path]) -> None:
    with replacing(index) as aside, aside.open("w", encoding="utf-8") as file:
        lines = (line for part in frames(parts, PICTURES) for line in part["json"])
        file.write("[")
        for number, line in enumerate(lines):
            file.write(("," if number else "") + "\n " + line)
        file.write("]")


def collect(
    folder: Path,
    cases: Sequence[Case],
    skipped: Sequence[Skipped],
    pieces: Iterable[Piece],
    settings: Settings,
) -> LazyTables:
    """Make and write all tables of results that are at hand; see `Cohort`."""
    cohort = Cohort(folder, [case.id for case in cases], settings, HereExecutor())
    by_case: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        by_case[piece.case].append(piece)
    for case in cases:
        cohort.add(About.of(case), by_case[case.id])
    return cohort.finish(dataclasses.asdict(skip) for skip in skipped)


def export_rows(pieces: Iterable[Piece]) -> list[dict[str, Any]]:
    """One row a case and defacer: whether it was written, and what is known of what was."""
    return [
        {
            "case": piece.case,
            "defacer": piece.defacer,
            "status": piece.status,
            "reason": piece.reason,
            "instances": sum(piece.facts.get("written", {}).values()),
            "held_back": len(piece.facts.get("held_back", ())),
            "face_moved": piece.facts.get("face_moved"),
            "visible": piece.facts.get("visible"),
            "reversible": piece.facts.get("reversible"),
            "targets": "; ".join(piece.facts.get("targets", ())),
        }
        for piece in pieces
        if piece.stage == "export"
    ]


def timing_rows(pieces: Iterable[Piece]) -> list[dict[str, Any]]:
    """One row a piece that ran: what it took, in this run or in the one that it was kept from."""
    return [
        {
            "case": piece.case,
            "stage": piece.stage,
            "defacer": piece.defacer,
            "status": piece.status,
            "seconds": piece.seconds,
            "peak_rss_mb": piece.peak_rss_mb,
        }
        for piece in pieces
        if not piece.upstream
    ]


def case_rows(cases: Sequence[About], pieces: Iterable[Piece]) -> list[dict[str, Any]]:
    """One row a case: what became of it, why, and what it cost.

    A case is *refused* if nothing could be defaced, *failed* if anything went wrong, else *done*; a defacer that
    refused a case that others did is named in the reason.
    """
    by_case: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        by_case[piece.case].append(piece)
    rows = []
    for case in cases:
        own = by_case[case.id]
        reasons: dict[str, list[str]] = {}
        for piece in own:
            if piece.status != DONE and not piece.upstream:
                reasons.setdefault(piece.reason, []).append(piece.defacer)
        statuses = {piece.status for piece in own}
        nothing = not any(piece.stage == "apply" and piece.ok for piece in own)
        status = FAILED if FAILED in statuses else REFUSED if nothing else DONE
        seconds: dict[str, float] = defaultdict(float)
        for piece in own:
            if not piece.upstream:
                seconds[f"seconds_{piece.stage}"] += piece.seconds
        noted = [piece for stage in ("ingest", "look") for piece in own if piece.stage == stage]
        notes = [note for piece in noted for note in piece.facts.get("notes", ())]
        rows.append(
            {
                "case": case.id,
                "patient": case.patient_id,
                "modality": case.modality,
                "virtual": case.virtual,
                "status": status,
                "reason": " ".join(
                    f"{', '.join(n for n in names if n)}: {reason}" if any(names) else reason
                    for reason, names in reasons.items()
                ),
                "peak_rss_mb": max((piece.peak_rss_mb for piece in own), default=float("nan")),
                **seconds,
                "notes": " ".join(notes),
                **_kept(own),
            }
        )
    return rows


def _kept(pieces: Iterable[Piece]) -> dict[str, Any]:
    """What of the face protected structures leave, by defacer; the worst as a number."""
    plans = [piece.facts.get("plans", {}) for piece in pieces if piece.stage == "look"]
    found = {name: one["remains"] for each in plans for name, one in each.items() if "remains" in one}
    return {
        "face_kept_percent": max((one["percent"] for one in found.values()), default=float("nan")),
        "face_kept": " ".join(f"{name}: {one['sentence']}" for name, one in found.items() if one["sentence"]),
    }
