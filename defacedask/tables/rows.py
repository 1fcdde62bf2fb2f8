"""Rows of the tables ``cases``, ``exports`` and ``timing``: what became of each case, and what it took."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from defacedask.flow.result import DONE, FAILED, REFUSED, TaskResult
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


def export_rows(results: Iterable[TaskResult]) -> list[dict[str, Any]]:
    """One row a case and defacer: whether it was written, and what is known of what was."""
    return [
        {
            "case": result.case,
            "defacer": result.defacer,
            "status": result.status,
            "reason": result.reason,
            "instances": sum(result.facts.get("written", {}).values()),
            "held_back": len(result.facts.get("held_back", ())),
            "face_moved": result.facts.get("face_moved"),
            "visible": result.facts.get("visible"),
            "reversible": result.facts.get("reversible"),
            "recognised": result.facts.get("recognised"),
            "targets": "; ".join(result.facts.get("targets", ())),
        }
        for result in results
        if result.stage == EXPORT
    ]


def timing_rows(results: Iterable[TaskResult]) -> list[dict[str, Any]]:
    """One row a result that ran: what it took, in this run or in the one that it was kept from."""
    return [
        {
            "case": result.case,
            "stage": result.stage,
            "defacer": result.defacer,
            "status": result.status,
            "seconds": result.seconds,
            "peak_rss_mb": result.peak_rss_mb,
        }
        for result in results
        if not result.upstream
    ]


def case_rows(cases: Sequence[About], results: Iterable[TaskResult]) -> list[dict[str, Any]]:
    """One row a case: what became of it, why, and what it cost; exports are not looked at, see `with_exports`.

    A case is *refused* if nothing could be defaced, *failed* if anything went wrong, else *done*; a defacer that
    refused a case that others did is named in the reason.
    """
    by_case: dict[str, list[TaskResult]] = defaultdict(list)
    for result in results:
        if result.stage != EXPORT:
            by_case[result.case].append(result)
    rows = []
    for case in cases:
        own = by_case[case.id]
        statuses = {result.status for result in own}
        nothing = not any(result.stage == "apply" and result.ok for result in own)
        status = FAILED if FAILED in statuses else REFUSED if nothing else DONE
        seconds: dict[str, float] = defaultdict(float)
        for result in own:
            if not result.upstream:
                seconds[f"seconds_{result.stage}"] += result.seconds
        noted = [result for stage in ("ingest", "plan", "apply") for result in own if result.stage == stage]
        notes = [note for result in noted for note in result.facts.get("notes", ())]
        # the head need not be found in the case's first image
        shown: dict[str, str] = next(
            (r.facts["shown"] for r in own if r.stage == "plan" and "shown" in r.facts), {}
        )
        rows.append(
            {
                "case": case.id,
                "patient": case.patient_id,
                "modality": shown.get("modality", case.modality),
                "virtual": case.virtual,
                "sex": case.sex,
                "age": case.age,
                "sequence": shown.get("sequence", case.sequence),
                "status": status,
                "reason": _reasons(own),
                "peak_rss_mb": max((result.peak_rss_mb for result in own), default=float("nan")),
                **seconds,
                "notes": " ".join(notes),
                **_kept(own),
            }
        )
    return rows


def with_exports(cases: pd.DataFrame, results: Iterable[TaskResult]) -> pd.DataFrame:
    """The table ``cases`` with what became of the exports: files are written when the tables have been judged.

    Parameters
    ----------
    cases : DataFrame
        Of some cases, without these exports.
    results : iterable of TaskResult
        Of any stage; of the exports of cases of the table, each is counted once.

    Returns
    -------
    DataFrame
        A case of which an export failed is *failed*; reasons, seconds and the peak are those of all its results.
    """
    by_case: dict[str, list[TaskResult]] = defaultdict(list)
    for result in results:
        if result.stage == EXPORT:
            by_case[result.case].append(result)
    out, seconds = cases.copy(), f"seconds_{EXPORT}"
    place = {case: k for k, case in zip(out.index, out["case"], strict=True)}
    for case, own in by_case.items():
        row = place[case]
        if any(result.status == FAILED for result in own):
            out.loc[row, "status"] = FAILED
        out.loc[row, "reason"] = " ".join(filter(None, [str(out.loc[row, "reason"]), _reasons(own)]))
        peak = max(result.peak_rss_mb for result in own)
        out.loc[row, "peak_rss_mb"] = np.fmax(out.loc[row, "peak_rss_mb"], peak)
        ran = [result.seconds for result in own if not result.upstream]
        if ran and seconds not in out.columns:
            out[seconds] = float("nan")
        if ran:
            out.loc[row, seconds] = np.nansum([out.loc[row, seconds], *ran])
    return out


def _reasons(results: Iterable[TaskResult]) -> str:
    """Why results are not done, each reason once, with the defacers that it is about."""
    found: dict[str, list[str]] = {}
    for result in results:
        if result.status != DONE and not result.upstream:
            found.setdefault(result.reason, []).append(result.defacer)
    return " ".join(
        f"{', '.join(n for n in names if n)}: {reason}" if any(names) else reason
        for reason, names in found.items()
    )


def _kept(results: Iterable[TaskResult]) -> dict[str, Any]:
    """What of the face protected structures leave, by defacer; the worst as a number."""
    plans = [result.facts.get("plans", {}) for result in results if result.stage == "plan"]
    found = {name: one["remains"] for each in plans for name, one in each.items() if "remains" in one}
    return {
        "face_kept_percent": max((one["percent"] for one in found.values()), default=float("nan")),
        "face_kept": " ".join(f"{name}: {one['sentence']}" for name, one in found.items() if one["sentence"]),
    }
