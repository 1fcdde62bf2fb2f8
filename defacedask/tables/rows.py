"""Rows of the tables ``cases``, ``exports`` and ``timing``: what became of each case, and what it took."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from defacedask.flow.result import DONE, FAILED, REFUSED, Piece
from defacedask.io.dicom.about import sequence_of
from defacedask.phantom.virtual import is_virtual

if TYPE_CHECKING:
    from defacedask.io.dicom.catalogue import Case

__all__ = ["About", "case_rows", "export_rows", "timing_rows", "with_exports"]

#: Stage that writes files.
EXPORT = "export"


@dataclasses.dataclass(frozen=True)
class About:
    """What the tables say of a case beside its results."""

    id: str
    patient_id: str
    modality: str
    virtual: bool
    sex: str = ""
    age: float | None = None
    sequence: str = ""

    @classmethod
    def of(cls, case: Case) -> About:
        """Of a case of a scan."""
        one = case.primary
        ages = [image.facts["age"] for image in case.images if image.facts.get("age") is not None]
        return cls(
            case.id,
            case.patient_id,
            one.modality,
            is_virtual(case),
            next((image.facts["sex"] for image in case.images if image.facts.get("sex")), ""),
            ages[0] if ages else None,
            sequence_of(one.description) if one.modality == "MR" else "",
        )


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
            "recognised": piece.facts.get("recognised"),
            "targets": "; ".join(piece.facts.get("targets", ())),
        }
        for piece in pieces
        if piece.stage == EXPORT
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
    """One row a case: what became of it, why, and what it cost; exports are not looked at, see `with_exports`.

    A case is *refused* if nothing could be defaced, *failed* if anything went wrong, else *done*; a defacer that
    refused a case that others did is named in the reason.
    """
    by_case: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        if piece.stage != EXPORT:
            by_case[piece.case].append(piece)
    rows = []
    for case in cases:
        own = by_case[case.id]
        statuses = {piece.status for piece in own}
        nothing = not any(piece.stage == "apply" and piece.ok for piece in own)
        status = FAILED if FAILED in statuses else REFUSED if nothing else DONE
        seconds: dict[str, float] = defaultdict(float)
        for piece in own:
            if not piece.upstream:
                seconds[f"seconds_{piece.stage}"] += piece.seconds
        noted = [piece for stage in ("ingest", "look", "apply") for piece in own if piece.stage == stage]
        notes = [note for piece in noted for note in piece.facts.get("notes", ())]
        rows.append(
            {
                "case": case.id,
                "patient": case.patient_id,
                "modality": case.modality,
                "virtual": case.virtual,
                "sex": case.sex,
                "age": case.age,
                "sequence": case.sequence,
                "status": status,
                "reason": _reasons(own),
                "peak_rss_mb": max((piece.peak_rss_mb for piece in own), default=float("nan")),
                **seconds,
                "notes": " ".join(notes),
                **_kept(own),
            }
        )
    return rows


def with_exports(cases: pd.DataFrame, pieces: Iterable[Piece]) -> pd.DataFrame:
    """The table ``cases`` with what became of the exports: files are written when the tables have been judged.

    Parameters
    ----------
    cases : DataFrame
        Of some cases, without these exports.
    pieces : iterable of Piece
        Of any stage; of the exports of cases of the table, each is counted once.

    Returns
    -------
    DataFrame
        A case of which an export failed is *failed*; reasons, seconds and the peak are those of all its pieces.
    """
    by_case: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        if piece.stage == EXPORT:
            by_case[piece.case].append(piece)
    out, seconds = cases.copy(), f"seconds_{EXPORT}"
    place = {case: k for k, case in zip(out.index, out["case"], strict=True)}
    for case, own in by_case.items():
        row = place[case]
        if any(piece.status == FAILED for piece in own):
            out.loc[row, "status"] = FAILED
        out.loc[row, "reason"] = " ".join(filter(None, [str(out.loc[row, "reason"]), _reasons(own)]))
        peak = max(piece.peak_rss_mb for piece in own)
        out.loc[row, "peak_rss_mb"] = np.fmax(out.loc[row, "peak_rss_mb"], peak)
        ran = [piece.seconds for piece in own if not piece.upstream]
        if ran and seconds not in out.columns:
            out[seconds] = float("nan")
        if ran:
            out.loc[row, seconds] = np.nansum([out.loc[row, seconds], *ran])
    return out


def _reasons(pieces: Iterable[Piece]) -> str:
    """Why pieces are not done, each reason once, with the defacers that it is about."""
    found: dict[str, list[str]] = {}
    for piece in pieces:
        if piece.status != DONE and not piece.upstream:
            found.setdefault(piece.reason, []).append(piece.defacer)
    return " ".join(
        f"{', '.join(n for n in names if n)}: {reason}" if any(names) else reason
        for reason, names in found.items()
    )


def _kept(pieces: Iterable[Piece]) -> dict[str, Any]:
    """What of the face protected structures leave, by defacer; the worst as a number."""
    plans = [piece.facts.get("plans", {}) for piece in pieces if piece.stage == "look"]
    found = {name: one["remains"] for each in plans for name, one in each.items() if "remains" in one}
    return {
        "face_kept_percent": max((one["percent"] for one in found.values()), default=float("nan")),
        "face_kept": " ".join(f"{name}: {one['sentence']}" for name, one in found.items() if one["sentence"]),
    }
