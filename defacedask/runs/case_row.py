"""One row a case of what `deface` came to, whichever way it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from defacedask.io.dicom.model import Case

__all__ = ["case_row"]


def case_row(case: Case, status: str, reason: str, **known: Any) -> dict[str, Any]:
    """Row of a case; what is not known of it has the value of a case of which nothing was written.

    Parameters
    ----------
    case : Case
    status, reason : str
    **known
        written (modality -> instances), held_back, notes, plan (its summary), face_moved (fraction of the face's
        skin), visible (the face is left), reversible (it is covered, not removed), targets (what was clipped of
        target volumes), not_to_be_analysed (structures that the region reaches into), new_patient_id, seconds.
    """
    row: dict[str, Any] = {
        "case": case.id,
        "patient": case.patient_id,
        "status": status,
        "reason": reason,
        "written": {},
        "held_back": [],
        "notes": [],
        "plan": {},
        "face_moved": None,
        "visible": False,
        "reversible": False,
        "targets": [],
        "not_to_be_analysed": [],
        "new_patient_id": "",
        "seconds": 0.0,
    }
    if strange := sorted(known.keys() - row.keys()):
        raise TypeError(f"a row has no {', '.join(strange)}")
    return row | known
