"""Controls of the dose grid as an attack: whether there is dose at the face, and whether a face shows where there is.

A dose grid shows a face only where the dose reaches one. Of a treatment of the throat it ends below the eyes, and
then that nobody is recognised in it says nothing about the defacer. So each grid is asked where it follows the skin,
and the attack has its positive control on a dose that is planted: it reaches all of the head, on the same grid and
contoured at the same level.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.examination import Examination, Shown, examiner_for
from defacedask.attacks.inversion.maps import HEIGHTS, DepthMaps, face_rays, ray_scale
from defacedask.attacks.names import DOSE_AT_FACE
from defacedask.attacks.target import Target
from defacedask.faces.recognition import compares
from defacedask.modality import air_of

if TYPE_CHECKING:
    from defacedask.faces.recognition import Recogniser

__all__ = [
    "AT_FACE",
    "LEAST_AT_FACE",
    "NOT_AT_FACE",
    "dose_looks",
    "planted_dose",
    "share_at_face",
]

#: Variants of `DOSE_AT_FACE`: whether the patient's own dose is at the face.
AT_FACE, NOT_AT_FACE = "own dose at the face, too", "own dose not at the face"
#: Share of the skin from the brow to the mouth that a dose must follow to show a face. Of 44 planning CTs of head and
#: neck none has more than 0.76, all end below the brow, and those looked at show no face; planted ones have 0.95.
LEAST_AT_FACE = 0.85
#: S in the average's space, mm: from the mouth to the glabella, where detectors and recognisers look.
FROM, TO = -95.0, -15.0
#: mm from the skin within which the surface of a dose follows it; and the same in steps of its grid, where those are
#: wide: a grid of 5 mm ends up to a step before or behind the skin.
NEAR, STEPS = 6.0, 1.25


def share_at_face(image: Shown, dose: Shown, to_template: np.ndarray) -> float:
    """Share of the skin from brow to mouth that the surface of a dose follows, 0..1; NaN where no skin is in view.

    Parameters
    ----------
    image : Shown
        Of the original, with its level.
    dose : Shown
        At the level that it is contoured at.
    to_template : (4, 4) array
        World LPS mm to the average's space.
    """
    skin, surface = (_skin(one, to_template) for one in (image, dose))
    rows = (HEIGHTS >= FROM) & (HEIGHTS <= TO)
    there = face_rays() & rows[:, None] & ~np.isnan(skin)
    if not there.any():
        return float("nan")
    near = max(NEAR, STEPS * max(dose.geometry.spacing))
    with np.errstate(invalid="ignore"):  # where there is no dose, there is no surface
        follows = np.abs(skin - surface) * ray_scale(to_template) <= near
    return float(follows[there].mean())


def _skin(shown: Shown, to_template: np.ndarray) -> np.ndarray:
    # beyond a dose there is none, as beyond an MR's signal
    modality = "MR" if shown.modality == "RTDOSE" else shown.modality
    values = _body_alone(shown)
    return DepthMaps.of(Target(values, shown.geometry, modality, shown.level, to_template)).skin


def _body_alone(shown: Shown) -> np.ndarray:
    values = np.asarray(shown.values, np.float32)
    return values if shown.drop is None else np.where(shown.drop, np.float32(air_of(shown.modality)), values)


def planted_dose(image: Shown, dose: Shown) -> Shown:
    """A dose that fills all of the head, on the grid of another and as high as its largest.

    Parameters
    ----------
    image : Shown
        Of the original, with its level.
    dose : Shown
        Whose grid and level are taken.
    """
    from defacedask.anatomy.grid import resample

    air = float(air_of(image.modality))
    near = resample(_body_alone(image), image.geometry, dose.geometry, outside=air)
    most = np.float32(np.max(dose.values, initial=0.0))
    return dataclasses.replace(dose, values=(near >= image.level) * most, unchanged=False)


def dose_looks(
    examination: Examination,
    recognisers: Sequence[Recogniser],
    pose: np.ndarray,
    to_template: np.ndarray,
    image: Shown,
    dose: Shown,
    known: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Looks at `planted_dose` from the plain views; their variant says whether the patient's own is at the face.

    Parameters
    ----------
    examination : Examination
    recognisers : sequence of Recogniser
        A service is not asked: it is asked no more than it must be.
    pose, to_template : (4, 4) arrays
        World LPS mm to the head's frame, and to the average's space.
    image, dose : Shown
        Of the original.
    known : sequence of looks
        At the original's images, which say where the face is if none is detected in the dose.
    """
    eyes = [one for one in recognisers if compares(one) and not one.remote]
    if not eyes:
        return []
    examiner = examiner_for(examination, eyes, pose)
    examiner.looks += [dict(look) for look in known if look["path"] == image.path]
    before = len(examiner.looks)
    examination.plain(examiner, planted_dose(image, dose), guide=image.path)
    at_face = share_at_face(image, dose, to_template) >= LEAST_AT_FACE
    about = {"attack": DOSE_AT_FACE, "variant": AT_FACE if at_face else NOT_AT_FACE}
    return [{**look, **about} for look in examiner.looks[before:]]
