"""From the pieces of all cases to the tables of the run: the first time that the whole cohort is in one place.

Distances between faces are computed now (`defacedask.tables.faces`), because they need everybody's original as the
gallery.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from defacedask.errors import StoreError
from defacedask.faces.galleries import ORIGINALS, SECOND_SCAN, gallery_of_photographs
from defacedask.faces.recognition import distance_of, open_recogniser
from defacedask.flow.result import DONE, FAILED, REFUSED, Piece, load
from defacedask.flow.stages.places import ORIGINAL
from defacedask.io.store import writing
from defacedask.phantom.virtual import is_virtual
from defacedask.runs.preparing import KEPT
from defacedask.tables.derive import derive_tables
from defacedask.tables.faces import LOOKING, face_tables, sightings
from defacedask.tables.files import as_table, write_tables

if TYPE_CHECKING:
    from defacedask.io.dicom.catalogue import Case, Skipped
    from defacedask.runs.preparing import Settings

__all__ = ["case_rows", "collect", "face_rows", "slim"]

#: Tables whose rows the stages make.
MEASURED = ("radiomics", "dose", "geometry", "unmasking")
#: Facts of results that the tables are made from.
NEEDED = (
    "looks",
    "notes",
    "pictures",
    "plans",
    "recogniser",
    "recognisers",
    "written",
    "held_back",
    "face_moved",
    "visible",
    "reversible",
    "targets",
)
#: Results whose rows are read at once.
AT_ONCE = 500


def collect(
    folder: Path,
    cases: Sequence[Case],
    skipped: Sequence[Skipped],
    pieces: Sequence[Piece],
    settings: Settings,
) -> dict[str, pd.DataFrame]:
    """Make and write all tables, and the list of pictures.

    Parameters
    ----------
    folder : Path
        The run's.
    cases, skipped : sequences
        From the scan.
    pieces : sequence of Piece
        From all stages of all cases, in any order; as they are, or `slim`.
    settings : Settings

    Returns
    -------
    dict
        Table name -> DataFrame, as written.
    """
    # cases finish in any order; tables must not depend on it
    order = {case.id: k for k, case in enumerate(cases)}
    ranks = {name: k for k, name in enumerate([ORIGINAL, *settings.defacers])}
    pieces = sorted(pieces, key=lambda p: (order[p.case], p.stage, ranks.get(p.defacer, -1)))
    patients = {case.id: case.patient_id or case.id for case in cases}
    faces = face_rows(pieces, patients, settings)
    tables = {
        "cases": as_table("cases", case_rows(cases, pieces)),
        "skipped": as_table("skipped", [dataclasses.asdict(skip) for skip in skipped]),
        **{name: as_table(name, rows) for name, rows in faces.items()},
        **{name: table_of(folder / KEPT, pieces, name) for name in MEASURED},
        "exports": as_table("exports", export_rows(pieces)),
        "timing": as_table("timing", timing_rows(pieces)),
    }
    # results that were kept from an earlier version may have it the other way round
    tables["dose"]["difference"] = tables["dose"]["original"] - tables["dose"]["defaced"]
    tables |= derive_tables(tables, settings.tolerance)
    pictures = [
        {**picture, "patient": patients[piece.case]}
        for piece in pieces
        for picture in piece.facts.get("pictures", ())
    ]
    with writing("the list of pictures"):
        index = folder / "pictures" / "index.json"
        partial = index.with_suffix(".partial")
        partial.write_text(json.dumps(pictures, indent=1), encoding="utf-8")
        partial.replace(index)
    write_tables(folder, tables)
    return tables


def slim(piece: Piece) -> Piece:
    """What of a result is needed for the tables; its rows stay on disk, only which tables they are for is kept.

    A client that held the results of a cohort as they are would need megabytes a case.
    """
    facts: dict[str, Any] = {name: piece.facts[name] for name in NEEDED if name in piece.facts}
    if "looks" in facts:
        facts["looks"] = [{**look, "encoding": _compact(look["encoding"])} for look in facts["looks"]]
    if "held_back" in facts:  # of a whole image it names every file
        facts["held_back"] = [None] * len(facts["held_back"])
    if "plans" in facts:
        facts["plans"] = {
            name: {"remains": one["remains"]} for name, one in facts["plans"].items() if "remains" in one
        }
    return dataclasses.replace(piece, facts=facts, rows={table: [] for table in piece.rows})


def _compact(encoding: Any) -> Any:
    # a service's encodings are not numbers
    numbers = isinstance(encoding, list) and all(isinstance(value, float) for value in encoding)
    return np.asarray(encoding) if numbers else encoding


def table_of(kept: Path, pieces: Iterable[Piece], table: str) -> pd.DataFrame:
    """Rows of all results for one table, some results at a time.

    Raises
    ------
    StoreError
        If rows that were made are not there any more.
    """
    told = [piece for piece in pieces if table in piece.rows]
    parts = []
    for first in range(0, len(told), AT_ONCE):
        rows = [row for piece in told[first : first + AT_ONCE] for row in _rows(kept, piece, table)]
        parts.append(as_table(table, rows))
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else as_table(table, [])


def _rows(kept: Path, piece: Piece, table: str) -> list[dict[str, Any]]:
    if piece.rows[table]:
        return piece.rows[table]
    found = load(kept, piece)
    if found is None:
        raise StoreError(
            f"the record of {piece.stage} of {piece.case} has gone, or changed, while the run was at work.",
            "Run the same command again.",
        )
    return found.rows.get(table, [])


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


def case_rows(cases: Sequence[Case], pieces: Iterable[Piece]) -> list[dict[str, Any]]:
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
                "modality": case.primary.modality,
                "virtual": is_virtual(case),
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


def face_rows(
    pieces: Sequence[Piece], patients: Mapping[str, str], settings: Settings
) -> dict[str, list[dict[str, Any]]]:
    """Rows of `defacedask.tables.faces.face_tables`."""
    looking = [piece for piece in pieces if piece.stage in LOOKING and piece.ok]
    persons = [patients[piece.case] for piece in looking]
    specs = {name: spec for piece in looking for name, spec in piece.facts.get("recognisers", {}).items()}
    options: dict[str, Any] = {"allow_upload": bool(settings.faces.get("allow_upload"))}
    if options["allow_upload"]:
        options |= {"folder": settings.faces["face_folder"], "per_second": settings.faces["per_second"]}

    @functools.cache
    def recogniser(name: str) -> Any:
        return open_recogniser(specs.get(name, name), **options)

    return face_tables(
        sightings(pieces, patients),
        settings.tolerance,
        gallery=settings.gallery,
        photographs=None
        if settings.gallery in (ORIGINALS, SECOND_SCAN)
        else lambda name: gallery_of_photographs(settings.gallery, persons, recogniser(name)),
        distance=lambda name: distance_of(recogniser(name)),
    )
