"""Can the face still be recognised: skin surface, pictures from locked cameras, detection and encoding.

Level, pose, crop and what is dropped (couch, headrest) are decided on the original and used for its defaced
versions unchanged, so that two pictures differ by the defacing alone. Distances are computed when the whole
cohort's originals are known (see `defacedask.tables.cohort`); a result carries encodings, which are biometric
data and stay in the store.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.anatomy.faceless import Faceless
from defacedask.attacks import ATTACK_SETS, get_attack
from defacedask.attacks.average_face import average_looks
from defacedask.attacks.deblurring_judged import deblurring_control
from defacedask.attacks.dose_face import dose_looks
from defacedask.attacks.enrolment import enrol
from defacedask.attacks.examination import Examination, Shown, examiner_for
from defacedask.attacks.names import BODY, ENROLMENT, FILLED, INVERSION
from defacedask.attacks.synthetic.judged import controls_of, judged_synthetic
from defacedask.attacks.unmasking_judged import control_shares, judged
from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.stages.arm_given import given_objects
from defacedask.flow.stages.body_slices import body_in
from defacedask.flow.stages.heads import couch, shown_head
from defacedask.flow.stages.layout import ORIGINAL, loaded, one_thread, volume_path
from defacedask.flow.stages.objects import shown_objects
from defacedask.flow.stages.pictures import keep_pictures
from defacedask.flow.stages.plans import load_plan
from defacedask.io.store import CaseStore

if TYPE_CHECKING:
    from defacedask.attacks.target import Target
    from defacedask.faces.looking import Examiner

__all__ = ["examination_of", "judge_faces", "recognisers_of"]

#: The control of which nothing was taken: attacks on it have nothing to find that a plain look does not.
CONTROL = "none"


def examination_of(settings: Mapping[str, Any], defacer: str = "") -> Examination:
    """How one defacer's results are looked at."""
    chosen = Examination.of(settings)
    if defacer != CONTROL:
        return chosen
    kept = tuple(
        a for a in chosen.attacks if a in ATTACK_SETS["basic"] or not (get_attack(a).makes or a == INVERSION)
    )
    return dataclasses.replace(chosen, attacks=kept)


def recognisers_of(settings: Mapping[str, Any]) -> list[Any]:
    """Recognisers that a stage's settings name."""
    from defacedask.faces.recognition import open_recognisers

    return open_recognisers(
        settings["recognisers"],
        allow_upload=settings.get("allow_upload", False),
        folder=settings.get("face_folder", ""),
        per_second=settings.get("per_second", 0.0),
    )


@dataclasses.dataclass(eq=False)
class _Job:
    """One case as one defacer left it, on its way before the recognisers."""

    store: CaseStore
    case: str
    defacer: str
    examination: Examination
    examiner: Examiner
    pose: np.ndarray
    to_template: np.ndarray
    #: Path of the image that pose and couch were found on.
    guide: str
    #: Facts of the original; None for the original itself.
    own: Mapping[str, Any] | None
    #: Path -> what `apply` says of it.
    changed: Mapping[str, Any]
    pictures: str
    #: Structure sets that an arm gave back; None for all others.
    outlines: Collection[str] | None = None
    levels: dict[str, float] = dataclasses.field(default_factory=dict)
    kept: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    rows: dict[str, list[dict[str, Any]]] = dataclasses.field(
        default_factory=lambda: {"unmasking": [], "synthetic": [], "deblurring": []}
    )
    enrolled: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    planted: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    controls: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    synthetic_controls: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    #: What the head has of a face's front, where that is known.
    front: Faceless | None = None
    bodies: dict[str, np.ndarray | None] = dataclasses.field(default_factory=dict)

    def image(self, path: str) -> None:
        """Look at an image, if the examination wants it."""
        if self.own is not None and path not in self.changed:
            return  # an arm need not give back all images
        with one_thread():
            volume = self.store.volume(volume_path(self.defacer, path))
        modality = volume.attrs["modality"]
        if not self.examination.wants(modality):
            return
        if self.own is None:
            self._original(path, modality, self._head(path))
        else:
            self.levels[path] = float(self.own["levels"][path])
            if not (self._unchanged(path, modality) and self.examiner.repeat(path)):
                self._defaced(path, modality, self._head(path))

    def objects(self, plans: str) -> None:
        """Look at contours and doses."""
        known = self.own["levels"] if self.own else {}
        attacks = self.examination.attacks
        if self.outlines is not None:  # an arm has no plan: what it gave back is looked at
            given = (self.changed, self.outlines)
            things = given_objects(self.store, self.defacer, *given, attacks, known)
        else:
            plan = load_plan(plans, self.case, self.defacer) if self.own else None
            things = shown_objects(self.store, self.defacer, plan, attacks, known, self.bodies)
        for thing in things:
            self.levels[thing.path] = thing.level
            self.examination.plain(self.examiner, thing, guide=self.guide)
            if self.own is None and thing.modality == "RTDOSE" and self.guide in self.levels:
                about = self._head(self.guide), thing, self.examiner.looks
                eyes = self.examiner.recognisers
                self.planted += dose_looks(self.examination, eyes, self.pose, self.to_template, *about)

    def _unchanged(self, path: str, modality: str) -> bool:
        """Whether nothing more is to be seen than in the original."""
        same = path in self.changed and not self.changed[path]["voxels"]
        return same and not self.pictures and not self.examination.attempts(modality)

    def _head(self, path: str, defacer: str = "") -> Shown:
        """The head's box of an image; its level is found with the first."""
        from defacedask.faces.render import skin_level

        defacer = defacer or self.defacer
        with one_thread():
            volume = self.store.volume(volume_path(defacer, path))
            if path not in self.levels:
                whole = None if volume.attrs["modality"] == "CT" else loaded(volume).values
                self.levels[path] = float(skin_level(volume.attrs["modality"], whole))
            if self.own and defacer == self.defacer and BODY in self.examination.attacks:
                self.bodies[path] = body_in(volume, couch(self.store, path, self.guide))
        return shown_head(self.store, path, defacer, self.pose, self.levels[path], self.guide)

    def _original(self, path: str, modality: str, shown: Shown) -> None:
        surface = self.examination.original(self.examiner, shown)
        level = next(look["level"] for look in self.examiner.looks if look["path"] == path)
        self.levels[path] = level
        self._keep(surface, modality)
        del surface
        shown = dataclasses.replace(shown, level=level)
        if ENROLMENT in self.examination.attacks and modality in self.examination.modalities:
            self.enrolled += enrol(self.examination, self.examiner, shown)
        filled = FILLED in self.examination.attempts(modality)
        sharpens = self.examination.sharpens(modality)
        if not (filled or sharpens or self._judged(modality)):
            return
        target = self._target(shown)
        del shown  # its room is needed
        if filled:
            self.examiner.looks += average_looks(self.examination, self.examiner, target, path)
        if self.examination.judges(modality):
            self.controls[path] = control_shares(target)
        if self.examination.seeks(modality):
            self.synthetic_controls[path] = controls_of(target)
        if sharpens and (row := deblurring_control(target)):
            self.rows["deblurring"].append({"case": self.case, **row})

    def _defaced(self, path: str, modality: str, shown: Shown) -> None:
        assert self.own is not None
        # attempts are made once: to be looked at, and to be judged
        target = self._target(shown) if self._judged(modality) else None
        surface = self.examination.defaced(self.examiner, shown, self.own["looks"], self.to_template, target)
        self._keep(surface, modality)
        controls, seeking = (
            self.own.get(name, {}).get(path) for name in ("unmasking_controls", "synthetic_controls")
        )
        if target is not None and (controls or seeking):
            del surface, shown
            original = self._target(self._head(path, ORIGINAL))
            found = {
                "unmasking": judged(original, target, controls, self.front) if controls else [],
                "synthetic": judged_synthetic(original, target, seeking) if seeking else [],
            }
            for name, rows in found.items():
                self.rows[name] += [{"case": self.case, "defacer": self.defacer, **row} for row in rows]

    def _judged(self, modality: str) -> bool:
        return self.examination.judges(modality) or self.examination.seeks(modality)

    def _target(self, shown: Shown) -> Target:
        return self.examination.target(shown, self.pose, self.to_template)

    def _keep(self, surface: Any, modality: str) -> None:
        if self.pictures:
            about = {"case": self.case, "defacer": self.defacer, "modality": modality}
            size = self.examination.size
            self.kept += keep_pictures(surface, self.pose, size, folder=self.pictures, **about)


def judge_faces(
    ingested: TaskResult,
    planned: TaskResult,
    *before: TaskResult,
    case: str,
    defacer: str,
    settings: Mapping[str, Any],
    plans: str = "",
    pictures: str = "",
) -> Outcome:
    """Render one case as one defacer left it (or as it came) and let the recognisers look.

    Parameters
    ----------
    *before : TaskResult
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
        facts: looks (see `defacedask.faces.looking`), enrolled (looks of an original that are for the gallery alone),
        planted (looks at the control of its dose, `defacedask.attacks.dose_face`), levels, pictures, recognisers.
    """
    own = before[0].facts if before else None
    pose = np.array(planned.facts["pose"])
    recognisers = recognisers_of(settings)
    examination = examination_of(settings, defacer)
    job = _Job(
        CaseStore(ingested.facts["store"]),
        case,
        defacer,
        examination,
        examiner_for(examination, recognisers, pose, own["looks"] if own else ()),
        pose,
        np.array(planned.facts["to_template"]),
        planned.facts["image"],
        own,
        before[1].facts["changed"] if own else {},
        pictures,
        before[1].facts.get("outlines") if own else None,
        front=Faceless(**planned.facts["front"]) if "front" in planned.facts else None,
    )
    for path in job.store.images:
        job.image(path)
    job.objects(plans)
    return Outcome(
        facts={
            "looks": job.examiner.looks,
            "enrolled": job.enrolled,
            "planted": job.planted,
            "levels": job.levels,
            "unmasking_controls": job.controls,
            "synthetic_controls": job.synthetic_controls,
            "pictures": job.kept,
            "recognisers": {
                one.name: spec for one, spec in zip(recognisers, settings["recognisers"], strict=True)
            },
        },
        rows=job.rows,
    )
