"""What defacing did to the structures: radiomics and dose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from defacedask.pieces import Outcome, Piece
from defacedask.stages.places import loaded, one_thread, volume_path
from defacedask.store import CaseStore

__all__ = ["measure_dose", "measure_radiomics"]


def measure_radiomics(
    ingested: Piece, looked: Piece, applied: Piece, *, case: str, defacer: str, settings: Mapping[str, Any]
) -> Outcome:
    """First-order features of every structure, original against defaced."""
    from defacedask.evaluation.radiomics import compare_structures

    store = CaseStore(ingested.facts["store"])
    rows: list[dict[str, Any]] = []
    with one_thread():
        for part in store.structure_sets:
            path = store.structures_image(part)
            original = loaded(store.volume(path))
            defaced = loaded(store.volume(volume_path(defacer, path)))
            found = compare_structures(original, defaced, store.structures(part), **settings)
            modality = original.attrs["modality"]
            rows.extend({"case": case, "defacer": defacer, "modality": modality, **row} for row in found)
    return Outcome(rows={"radiomics": rows})


def measure_dose(ingested: Piece, looked: Piece, applied: Piece, *, case: str, defacer: str) -> Outcome:
    """Dose of every structure, original grid against defaced grid."""
    from defacedask.evaluation.dose import compare_dose

    store = CaseStore(ingested.facts["store"])
    rows: list[dict[str, Any]] = []
    with one_thread():
        for dose in store.doses:
            original = loaded(store.volume(dose))
            defaced = loaded(store.volume(volume_path(defacer, dose)))
            for part in store.structure_sets:
                grid = store.geometry(part)
                found = compare_dose(original, defaced, store.structures(part), grid)
                rows.extend({"case": case, "defacer": defacer, **row} for row in found)
    return Outcome(rows={"dose": rows})
