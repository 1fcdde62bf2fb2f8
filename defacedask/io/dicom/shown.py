"""How series, cases and scans show themselves: their tables at a prompt and in a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from defacedask.showing import counted

if TYPE_CHECKING:
    from defacedask.io.dicom.model import Case, Scan, Series

__all__ = ["case_table", "scan_table", "size_of", "what_is_in"]


def size_of(series: Series) -> str:
    """Voxels and spacing of an image, such as ``60 x 512 x 512 of 2.5 x 1 x 1 mm``."""
    if series.geometry is None:
        return ""
    from defacedask.geometry import Geometry

    grid = Geometry.from_dict(series.geometry)
    return f"{' x '.join(map(str, grid.shape))} of {' x '.join(f'{mm:.3g}' for mm in grid.spacing)} mm"


def what_is_in(case: Case) -> str:
    """Modalities of the images of a case, such as ``CT, 2 MR``."""
    kinds = Counter(series.modality for series in case.images)
    return ", ".join(kind if n == 1 else f"{n} {kind}" for kind, n in sorted(kinds.items()))


def case_table(case: Case) -> tuple[Sequence[str], Sequence[Sequence[Any]], Sequence[str]]:
    """Table of the series of a case."""
    rows = [
        (s.modality, s.description, size_of(s) or _names(s), len(s.files), _flags(s)) for s in case.series
    ]
    return ("series", "description", "what", "files", ""), rows, ()


def _names(series: Series) -> str:
    names = series.facts.get("structures", ())
    return f"{counted(len(names), 'structure')}: {', '.join(names)}" if names else ""


def _flags(series: Series) -> str:
    return ", ".join(
        word
        for fact, word in (("registered", "registered"), ("already_defaced", "already defaced"))
        if fact in series.facts
    )


def scan_table(scan: Scan) -> tuple[Sequence[str], Sequence[Sequence[Any]], Sequence[str]]:
    """Table of the cases of a scan; what was skipped, by its reason."""
    rows = [
        (
            case.id,
            case.patient_id,
            what_is_in(case),
            size_of(case.primary),
            sum(len(s.facts.get("structures", ())) for s in case.structures),
            len(case.doses),
        )
        for case in scan.cases
    ]
    why = Counter(skip.reason for skip in scan.skipped).most_common()
    notes = [f"skipped {n}: {reason}" for reason, n in why[:3]]
    notes += [f"and for {counted(len(why) - 3, 'other reason')} (see .skipped)"] if len(why) > 3 else []
    notes += [f"note: {note}" for note in scan.notes[:3]]
    notes += [f"and {counted(len(scan.notes) - 3, 'more note')} (see .notes)"] if len(scan.notes) > 3 else []
    return ("case", "patient", "images", "planned on", "structures", "doses"), rows, notes
