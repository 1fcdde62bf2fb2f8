"""Can the face still be recognised: skin surface, pictures from locked cameras, detection and encoding.

Level, pose, crop and what is dropped (couch, headrest) are decided on the original and used for its defaced
versions unchanged, so that two pictures differ by the defacing alone. Distances are computed when the whole
cohort's originals are known (see `defacedask.cohort_tables`); a piece carries encodings, which are biometric
data and stay in the store.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.evaluation.attack_names import ATTACK_SETS, BODY
from defacedask.evaluation.examination import Examination, Shown, examiner_for
from defacedask.evaluation.unmasking_judged import control_shares, judged
from defacedask.flow.result import Outcome, Piece
from defacedask.stages.objects import body_in, shown_objects
from defacedask.stages.pictures import keep_pictures
from defacedask.stages.places import loaded, one_thread, volume_path
from defacedask.stages.plans import load_plan
from defacedask.store import CaseStore
from defacedask.volume import geometry_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["examination_of", "judge_faces", "recognisers_of"]

#: The control of which nothing was taken: attacks on it have nothing to find that a plain look does not.
CONTROL = "none"


def examination_of(settings: Mapping[str, Any], defacer: str = "") -> Examination:
    """How one defacer's results are looked at."""
    chosen = Examination.of(settings)
    if defacer != CONTROL:
        return chosen
    kept = tuple(a for a in chosen.attacks if a in ATTACK_SETS["basic"] or a not in _made())
    return dataclasses.replace(chosen, attacks=kept)


def _made() -> set[str]:
    from defacedask.evaluation.attacks import ATTACKS

    return set(ATTACKS)


def recognisers_of(settings: Mapping[str, Any]) -> list[Any]:
    """Recognisers that a stage's settings name."""
    from defacedask.evaluation.recognition import open_recognisers

    return open_recognisers(
        settings["recognisers"],
        allow_upload=settings.get("allow_upload", False),
        folder=settings.get("face_folder", ""),
        per_second=settings.get("per_second", 0.0),
    )


def _head_of(
    volume: xr.DataArray, path: str, level: float, pose: np.ndarray, drop: np.ndarray | None
) -> Shown:
    """The head's box of an image, of which no other part is read or brought to real values."""
    from defacedask.evaluation.surface import HEAD_BOX, box_in

    grid = geometry_of(volume)
    box = box_in(grid, pose, HEAD_BOX)
    values = loaded(volume[box]).values
    part = grid.block([s.start for s in box], [s.stop for s in box])
    return Shown(path, volume.attrs["modality"], values, part, level, None if drop is None else drop[box] > 0)


def judge_faces(
    ingested: Piece,
    looked: Piece,
    *before: Piece,
    case: str,
    defacer: str,
    settings: Mapping[str, Any],
    plans: str = "",
    pictures: str = "",
) -> Outcome:
    """Render one case as one defacer left it (or as it came) and let the recognisers look.

    Parameters
    ----------
    *before : Piece
        For a defacer: the same stage on the original, then `apply`.
    settings : mapping
        recognisers, allow_upload, face_folder, per_second, and the fields of `Examination`.
    plans : str
        Folder of the plans: the body's contour and the dose grid are cut by them.
    pictures : str
        Folder for pictures, or "".

    Returns
    -------
    Outcome
        facts: looks (see `defacedask.evaluation.looking`), levels, pictures, recognisers.
    """
    from defacedask.evaluation.render import skin_level

    own = before[0] if before else None
    store = CaseStore(ingested.facts["store"])
    pose = np.array(looked.facts["pose"])
    to_template = np.array(looked.facts["to_template"])
    recognisers = recognisers_of(settings)
    examination = examination_of(settings, defacer)
    examiner = examiner_for(examination, recognisers, pose, own.facts["looks"] if own else ())
    levels: dict[str, float] = {}
    kept: list[dict[str, Any]] = []
    controls: dict[str, dict[str, float]] = own.facts.get("unmasking_controls", {}) if own else {}
    rows: list[dict[str, Any]] = []
    bodies: dict[str, np.ndarray | None] = {}
    changed = before[1].facts["changed"] if own else {}
    for path in store.images:
        with one_thread():
            stored = store.volume(volume_path(defacer, path))
            modality = stored.attrs["modality"]
            if not examination.wants(modality):
                continue
            unchanged = path in changed and not changed[path]["voxels"]
            if own and unchanged and not pictures and not examination.attempts(modality):
                levels[path] = float(own.facts["levels"][path])
                examiner.repeat(path)
                continue
            # the pose and the couch were found on the image that plans were made on
            drop = store.volume(f"head/{path}").load().values if path == looked.facts["image"] else None
            if own is None:
                levels[path] = float(
                    skin_level(modality, None if modality == "CT" else loaded(stored).values)
                )
            else:
                levels[path] = float(own.facts["levels"][path])
                if BODY in examination.attacks:
                    stored = stored.load()
                    bodies[path] = body_in(stored, drop)
            shown = _head_of(stored, path, levels[path], pose, drop)
        if own:
            # attempts are made once: to be looked at, and to be judged
            target = examination.target(shown, pose, to_template) if examination.judges(modality) else None
            surface = examination.defaced(examiner, shown, own.facts["looks"], to_template, target)
        else:
            surface = examination.original(examiner, shown)
            levels[path] = next(look["level"] for look in examiner.looks if look["path"] == path)
            shown = dataclasses.replace(shown, level=levels[path])
            target = examination.target(shown, pose, to_template) if examination.judges(modality) else None
        if target is not None:
            if own is None:
                controls[path] = control_shares(target)
            elif controls.get(path):
                with one_thread():
                    source = _head_of(store.volume(path), path, levels[path], pose, drop)
                found = judged(examination.target(source, pose, to_template), target, controls[path])
                rows += [{"case": case, "defacer": defacer, **row} for row in found]
        if pictures:
            about = {"folder": pictures, "case": case, "defacer": defacer, "modality": modality}
            kept += keep_pictures(surface, pose, examination.size, **about)
    plan = load_plan(plans, case, defacer) if own else None
    known = own.facts["levels"] if own else {}
    for thing in shown_objects(store, defacer, plan, examination.attacks, known, bodies):
        levels[thing.path] = thing.level
        examination.plain(examiner, thing, guide=looked.facts["image"])
    return Outcome(
        facts={
            "looks": examiner.looks,
            "levels": levels,
            "unmasking_controls": controls if own is None else {},
            "pictures": kept,
            "recognisers": {
                one.name: spec for one, spec in zip(recognisers, settings["recognisers"], strict=True)
            },
        },
        rows={"unmasking": rows},
    )
