"""DICOM into the case's store."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from defacedask.anatomy.structure_names import standard_names
from defacedask.errors import DefacedaskError
from defacedask.flow.result import Outcome
from defacedask.flow.stages.layout import one_thread, store_path
from defacedask.io.dicom.model import image_of
from defacedask.io.store import CaseStore, create_case, input_key
from defacedask.volume import geometry_of, placed_anew

if TYPE_CHECKING:
    from defacedask.io.dicom.catalogue import Case

__all__ = ["case_key", "ingest", "input_state"]


def ingest(*, case: Mapping[str, Any], root: str) -> Outcome:
    """Read every object of a case into its store.

    Parameters
    ----------
    case : dict
        `Case.to_dict`.
    root : str
        Folder or URL of the stores.

    Returns
    -------
    Outcome
        facts: images, structure_sets, doses (paths), notes (what could not be read, one sentence each).
    """
    from defacedask.io.dicom.catalogue import Case
    from defacedask.io.dicom.dose import read_dose
    from defacedask.io.dicom.image import read_image
    from defacedask.io.dicom.registration import moved, own_geometry
    from defacedask.io.dicom.structures import read_structures

    it = Case.from_dict(dict(case))
    url = store_path(root, it.id)
    key = case_key(it)
    try:
        found = CaseStore(url)
        if found.key == key:
            return Outcome(facts=_store_facts(found))
    except DefacedaskError:
        pass
    notes: list[str] = []
    unread: list[dict[str, Any]] = []
    left: list[dict[str, str]] = []  # series that are not in the store
    primary = it.primary
    facts: dict[str, Any] = {
        "case": it.id,
        "patient": it.patient_id,
        "frame_of_reference": it.frame_of_reference,
    }
    paths: dict[str, str] = {}
    with create_case(url, key=key, facts=facts) as writer, one_thread():
        for series in sorted(it.images, key=lambda s: s is not primary):
            name = f"images/{_free_name(series.modality, paths)}"
            try:
                volume = read_image(series)
            except DefacedaskError as error:
                if series is primary:
                    raise
                notes.append(
                    f"{series.modality} series {series.description or series.uid} was not read: {error}"
                )
                left.append({"series": series.key, "reason": str(error)})
                continue
            if "note" in volume.attrs:
                notes.append(f"{series.modality} {series.description}: {volume.attrs['note']}.")
            writer.volume(name, volume.assign_attrs(series_uid=series.uid, description=series.description))
            paths[name] = series.key
            grid = geometry_of(volume)
            for part in it.structures:
                if image_of(part, it) is not series:
                    continue
                try:
                    # contours are in the image's own frame, wherever a registration puts both
                    structures = read_structures(part, own_geometry(series))
                except DefacedaskError as error:
                    notes.append(f"structure set {part.description or part.uid} was not read: {error}")
                    names = [
                        *part.facts.get("structures", ()),
                        *standard_names(part.facts.get("structures", ())),
                    ]
                    unread.append({"names": names, "reason": str(error)})
                    continue
                label = f"structures/{_free_name('RTSTRUCT', paths)}"
                writer.structures(label, structures, grid, name)
                paths[label] = part.uid
                notes.extend(f"{s.original_name}: {w}" for s in structures for w in s.warnings)
        for part in it.doses:
            try:
                dose = read_dose(part)
            except DefacedaskError as error:
                notes.append(f"dose {part.description or part.uid} was not read: {error}")
                left.append({"series": part.uid, "reason": str(error)})
                continue
            place = moved(geometry_of(dose), part.facts)
            if not _same_frame(place.frame_of_reference, it.frame_of_reference):
                # a plan would cut it at another place; what is not in the store is neither measured nor passed on
                why = "it lies in another frame of reference than the image, and no registration relates the two"
                notes.append(f"dose {part.description or part.uid} was left out: {why}.")
                left.append({"series": part.uid, "reason": why})
                continue
            dose = placed_anew(dose, place)
            label = f"doses/{_free_name('RTDOSE', paths)}"
            writer.volume(label, dose.assign_attrs(series_uid=part.uid))
            paths[label] = part.uid
        # the order in which they were read: the image that plans are made on comes first
        facts["images"] = [p.split("/")[1] for p in paths if p.startswith("images/")]
        facts["notes"] = notes
        facts["unread_structures"] = unread
        facts["left_out"] = left
    return Outcome(facts=_store_facts(CaseStore(url)))


def case_key(case: Case) -> str:
    """`input_key` of every file of a case, and of where registrations put them."""
    parts = (*case.images, *case.structures, *case.doses)
    key = input_key([name for series in parts for name in series.files])
    places = [(series.key, series.facts["registered"]) for series in parts if "registered" in series.facts]
    if not places:
        return key
    return hashlib.sha256(json.dumps([key, places], sort_keys=True).encode()).hexdigest()


def input_state(case: Case) -> str:
    """`case_key`, or where a file is gone something that no finished result has: the stage says which file."""
    try:
        return case_key(case)
    except OSError:
        return secrets.token_hex(8)


def _store_facts(store: CaseStore) -> dict[str, Any]:
    return {
        "store": store.url,
        "images": store.images,
        "structure_sets": store.structure_sets,
        "doses": store.doses,
        "notes": store.facts.get("notes", []),
        "input_key": store.key,
    }


def _same_frame(one: str, other: str) -> bool:
    """Whether two frames of reference may be one; what names none is taken at its word."""
    return not one or not other or one == other


def _free_name(kind: str, taken: Mapping[str, str]) -> str:
    names = {path.split("/")[1] for path in taken}
    number, name = 1, kind
    while name in names:
        number += 1
        name = f"{kind}-{number}"
    return name
