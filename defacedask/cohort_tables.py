"""From the pieces of all cases to the tables of the run: the first time that the whole cohort is in one place.

Distances between faces are computed here, because they need everybody's original as the gallery.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from defacedask.evaluation.identification import Sighting, controls, identify, score
from defacedask.pieces import DONE, FAILED, REFUSED, Piece
from defacedask.report.derive import derive_tables
from defacedask.stages.places import ORIGINAL
from defacedask.store import writing
from defacedask.tables import as_table, write_tables

if TYPE_CHECKING:
    from defacedask.dicom.catalogue import Case, Skipped
    from defacedask.preparing import Settings

__all__ = ["case_rows", "collect", "recognition_rows"]


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
        From all stages of all cases, in any order.
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
    looks, checks = recognition_rows(pieces, patients, settings.tolerance)
    tables = {
        "cases": as_table("cases", case_rows(cases, pieces)),
        "skipped": as_table("skipped", [dataclasses.asdict(skip) for skip in skipped]),
        "recognition": as_table("recognition", looks),
        "controls": as_table("controls", checks),
        "radiomics": as_table("radiomics", rows_of(pieces, "radiomics")),
        "dose": as_table("dose", rows_of(pieces, "dose")),
    }
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


def rows_of(pieces: Iterable[Piece], table: str) -> list[dict[str, Any]]:
    """All rows for one table."""
    return [row for piece in pieces for row in piece.rows.get(table, ())]


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
        notes = [note for piece in own if piece.stage == "ingest" for note in piece.facts.get("notes", ())]
        rows.append(
            {
                "case": case.id,
                "patient": case.patient_id,
                "modality": case.primary.modality,
                "status": status,
                "reason": " ".join(
                    f"{', '.join(n for n in names if n)}: {reason}" if any(names) else reason
                    for reason, names in reasons.items()
                ),
                "peak_rss_mb": max((piece.peak_rss_mb for piece in own), default=float("nan")),
                **seconds,
                "notes": " ".join(notes),
            }
        )
    return rows


def recognition_rows(
    pieces: Iterable[Piece], patients: Mapping[str, str], tolerance: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Distances of every look to the gallery of originals, and the controls of each modality.

    Returns
    -------
    looks, checks
        Rows of the tables ``recognition`` and ``controls``.
    """
    groups: dict[tuple[str, str], list[Sighting]] = defaultdict(list)
    for piece in pieces:
        for look in piece.facts.get("looks", ()) if piece.stage == "faces" and piece.ok else ():
            facts = {
                "case": piece.case,
                "defacer": piece.defacer,
                "modality": look["modality"],
                "recogniser": piece.facts["recogniser"],
                "attack": look["attack"],
                "level": look["level"],
            }
            group = groups[look["modality"], piece.facts["recogniser"]]
            group.append(
                Sighting(patients[piece.case], look["view"], look["encoding"], look["detected"], facts)
            )
    rows: list[dict[str, Any]] = []
    checks: list[dict[str, Any]] = []
    for (modality, recogniser), sightings in groups.items():
        originals = [s for s in sightings if s.facts["defacer"] == ORIGINAL]
        others = [s for s in sightings if s.facts["defacer"] != ORIGINAL]
        rows += identify(score(originals, originals))
        rows += identify(score(others, originals))
        found = controls(originals, tolerance=tolerance)
        calibration = dataclasses.asdict(found.pop("calibration"))
        checks.append(
            {
                "modality": modality,
                "recogniser": recogniser,
                **found,
                "threshold": calibration["threshold"],
                "threshold_fpr": calibration["fpr"],
                "threshold_tpr": calibration["tpr"],
                "auc": calibration["auc"],
                "eer": calibration["eer"],
                "threshold_note": calibration["reason"],
            }
        )
    return rows, checks
