"""What defacing did to the structures: radiomics, volumes and dose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.stages.layout import one_thread, volume_path
from defacedask.flow.stages.plans import check_planned, load_plan
from defacedask.io.store import CaseStore
from defacedask.volume import real_values

__all__ = ["measure_dose", "measure_geometry", "measure_original", "measure_radiomics"]


def measure_original(
    ingested: TaskResult, planned: TaskResult, *, case: str, settings: Mapping[str, Any]
) -> Outcome:
    """Features of every structure in the image as it came, once for all defacers.

    Returns
    -------
    Outcome
        facts: features (structure set -> one dict a structure).
    """
    from defacedask.costs.radiomics import measure_structures

    store = CaseStore(ingested.facts["store"])
    found = {}
    with one_thread():
        for part in store.structure_sets:
            image = real_values(store.volume(store.structures_image(part)))
            structures = store.structures(part)
            found[part] = measure_structures(image, structures, store.geometry(part), **settings)
    return Outcome(facts={"features": found})


def measure_radiomics(
    ingested: TaskResult,
    planned: TaskResult,
    measured: TaskResult,
    applied: TaskResult,
    *,
    case: str,
    defacer: str,
    settings: Mapping[str, Any],
) -> Outcome:
    """Features of every structure, original against defaced; only the box of all structures is read."""
    from defacedask.costs.radiomics import compare_structures

    store = CaseStore(ingested.facts["store"])
    rows: list[dict[str, Any]] = []
    with one_thread():
        for part in store.structure_sets:
            path = store.structures_image(part)
            if path not in applied.facts["changed"]:
                continue  # an arm need not give back all images
            original = real_values(store.volume(path))
            defaced = real_values(store.volume(volume_path(defacer, path)))
            known = measured.facts["features"][part]
            grid, structures = store.geometry(part), store.structures(part)
            found = compare_structures(original, defaced, structures, grid, known=known, **settings)
            about = {"case": case, "defacer": defacer, "modality": original.attrs["modality"]}
            rows.extend({**about, **row, "structure_set": part.split("/")[-1]} for row in found)
    return Outcome(rows={"radiomics": rows})


def measure_geometry(
    ingested: TaskResult, planned: TaskResult, *, case: str, defacer: str, plans: str
) -> Outcome:
    """Volume of every structure, and the part of it that the plan may change."""
    from defacedask.costs.overlap import compare_volumes

    check_planned(planned, defacer)
    plan = load_plan(plans, case, defacer)
    store = CaseStore(ingested.facts["store"])
    rows: list[dict[str, Any]] = []
    for part in store.structure_sets:
        modality = store.volume(store.structures_image(part)).attrs["modality"]
        about = {"case": case, "defacer": defacer, "modality": modality}
        found = compare_volumes(store.structures(part), store.geometry(part), plan)
        rows.extend({**about, **row, "structure_set": part.split("/")[-1]} for row in found)
    return Outcome(rows={"geometry": rows})


def measure_dose(
    ingested: TaskResult, planned: TaskResult, applied: TaskResult, *, case: str, defacer: str
) -> Outcome:
    """Dose of every structure, original grid against defaced grid."""
    from defacedask.costs.dose import compare_dose

    store = CaseStore(ingested.facts["store"])
    rows: list[dict[str, Any]] = []
    with one_thread():
        for dose in store.doses:
            if dose not in applied.facts["changed"]:
                continue
            original = real_values(store.volume(dose), dtype="float64").load()
            defaced = real_values(store.volume(volume_path(defacer, dose)), dtype="float64").load()
            for part in store.structure_sets:
                grid = store.geometry(part)
                found = compare_dose(original, defaced, store.structures(part), grid)
                about = {"case": case, "defacer": defacer, "dose": dose.split("/")[-1]}
                rows.extend({**about, **row, "structure_set": part.split("/")[-1]} for row in found)
    return Outcome(rows={"dose": rows})
