"""Many renders of an original, for whoever enrols a person: views, skin levels, lights, and greyscale.

What is published on recognising scanned faces (Mazura and others, J Digit Imaging 2012; Schwarz and others, N Engl J
Med 2019, NeuroImage 2021) does not compare one picture with one picture: a person is enrolled with many, and a
classifier is trained on them. These pictures go to the gallery only (`defacedask.faces.enrolment`). None of their
views is one of the plain views, so that an original at a plain view is an unseen picture of an enrolled person.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.names import ENROLMENT
from defacedask.faces.recognition import compares
from defacedask.faces.views import View, view_grid
from defacedask.modality import modality_of

if TYPE_CHECKING:
    from defacedask.attacks.examination import Examination, Shown
    from defacedask.faces.looking import Examiner

__all__ = ["GREY", "LIGHTS", "enrol", "enrolment_levels", "enrolment_views"]

#: Degrees around the plain views' middle: to both sides, and up and down.
_AROUND = (
    (-20.0, 0.0),
    (-10.0, -7.5),
    (-10.0, 7.5),
    (0.0, -5.0),
    (0.0, 5.0),
    (10.0, -7.5),
    (10.0, 7.5),
    (20.0, 0.0),
)
#: Two lights: the plain views', and one with deeper shadows.
LIGHTS = ("studio", "side")
#: Variant of pictures without colour.
GREY = "grey"


def enrolment_views(examination: Examination) -> tuple[View, ...]:
    """Eight directions about the middle of the plain views, in two lights; no plain view is among them."""
    yaw, pitch = (float(np.mean(some)) for some in (examination.yaws, examination.pitches))
    plain = {(view.yaw, view.pitch) for view in examination.views}
    found = []
    for dy, dp in _AROUND:
        at = (yaw + dy, pitch + dp)
        # a degree aside is another picture
        found.append(at if at not in plain else (at[0] + 1.0, at[1] + 1.0))
    return tuple(view for light in LIGHTS for y, p in found for view in view_grid([y], [p], [light]))


def enrolment_levels(modality: str, level: float) -> tuple[float, float]:
    """The usual skin level, and one halfway to the first of those that an attacker also tries."""
    return level, 0.5 * (level + modality_of(modality).attack_levels(level)[0])


def enrol(examination: Examination, examiner: Examiner, shown: Shown) -> list[dict[str, Any]]:
    """Looks at an original for the gallery: 32 renders, and half of them once more in grey.

    Parameters
    ----------
    examination : Examination
    examiner : Examiner
        Of the original: its recognisers, pose and size are used; its looks are left as they are.
    shown : Shown
        The original at its level.

    Returns
    -------
    list of dict
        As `defacedask.faces.looking.Examiner.looks`, of faces that were found alone; encodings are rounded to six
        places. Of a service, which is asked no more than it must be, there are none.
    """
    from defacedask.faces.looking import Examiner
    from defacedask.faces.render import render_views

    eyes = [one for one in examiner.recognisers if compares(one) and not one.remote]
    if not eyes:
        return []
    one = Examiner(eyes, examiner.pose, size=examination.size, forced=False)
    views = enrolment_views(examination)
    for level in enrolment_levels(shown.modality, shown.level):
        surface = examination.surface(dataclasses.replace(shown, level=level), examiner.pose)
        pictures = render_views(surface, examiner.pose, views, size=examination.size)
        about: dict[str, Any] = {
            "path": shown.path,
            "modality": shown.modality,
            "level": level,
            "attack": ENROLMENT,
        }
        one.show(pictures, [view.name for view in views], **about)
        grey = [
            (view.name, _grey(p)) for view, p in zip(views, pictures, strict=True) if view.light == LIGHTS[0]
        ]
        one.show([picture for _, picture in grey], [name for name, _ in grey], **about, variant=GREY)
    return [_short(look) for look in one.looks if look["encoding"] is not None]


def _grey(picture: np.ndarray) -> np.ndarray:
    """Luma of an RGB picture (ITU-R BT.601), in all three channels."""
    luma = picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.repeat(np.rint(luma).astype(np.uint8)[..., None], 3, axis=2)


def _short(look: dict[str, Any]) -> dict[str, Any]:
    code = look["encoding"]
    if isinstance(code, list):
        code = np.asarray(code).round(6).tolist()
    return {**look, "encoding": code, "box": None, "landmarks": None}
