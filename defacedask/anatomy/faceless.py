"""Is the face of an image missing already? Told from the image alone, by how far behind the average its front lies.

A face that was cut away, blanked or sheared leaves a front that lies well behind where the average head has eyes,
nose and mouth. A living face of any shape stays close to the average, once the average has the head's size.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from defacedask.errors import RefusedError
from defacedask.geometry import Geometry

if TYPE_CHECKING:
    from defacedask.anatomy.head import Head

__all__ = ["BEHIND_MM", "MOST_BEHIND", "Faceless", "front_of_face"]

#: mm behind the average's skin from which a place of the face counts as missing.
BEHIND_MM = 12.0
#: Part of the face in view that may be missing.
MOST_BEHIND = 0.4
#: Part that is said, though it is too little to refuse the case: whole faces lack 0.09 at most, real heads whose
#: upper face had been cut away 0.12 to 0.36.
PARTLY_BEHIND = 0.2
#: mm to either side of the midline that are looked at, and mm of margin to the ends of the face.
HALF_WIDTH, STEP = 36.0, 2.0
#: Part of the face that must be in view to say anything.
LEAST_IN_VIEW = 0.3


@dataclasses.dataclass(frozen=True)
class Faceless:
    """What is there of a face's front.

    Attributes
    ----------
    in_view : float
        Part of the average's face, from brow to chin, that lies in the field of view.
    behind : float
        Part of that where the patient's front lies 12 mm or more behind the average's, or where there is none.
    median_mm : float
        Median distance of the patient's front behind the average's, mm (negative: in front of it).
    """

    in_view: float
    behind: float
    median_mm: float

    @property
    def missing(self) -> bool:
        """Whether the face is evidently missing."""
        return self.in_view >= LEAST_IN_VIEW and self.behind > MOST_BEHIND

    @property
    def partly(self) -> bool:
        """Whether a part of the face is missing, but not so much that the case would be refused."""
        return self.in_view >= LEAST_IN_VIEW and PARTLY_BEHIND < self.behind <= MOST_BEHIND

    @property
    def sentence(self) -> str:
        """What is missing."""
        return (
            f"{'a part of its face' if self.partly else 'its face'} is missing already: {100 * self.behind:.0f} % of "
            f"the front between brow and chin lies {BEHIND_MM:g} mm or more behind that of the average head (median "
            f"{self.median_mm:.0f} mm), as after defacing"
        )

    def require(self) -> None:
        """Refuse a case whose face is missing.

        Raises
        ------
        RefusedError
        """
        if self.missing:
            raise RefusedError(
                f"{self.sentence}.",
                "Give the image as it was before defacing, or leave it out.",
            )


def front_of_face(head: Head) -> Faceless:
    """Compare the front of a head with the average's, through the head's affine.

    Parameters
    ----------
    head : Head
        Of the image as it came; its registration is used, and nothing of any plan.

    Returns
    -------
    Faceless
    """
    from defacedask.anatomy.grid import resample

    atlas, marks = head.atlas, head.atlas.landmarks
    low = np.array([-HALF_WIDTH, marks["nose_tip"][1] - 40.0, marks["menton"][2] + 8.0])
    high = np.array([HALF_WIDTH, marks["tragion_left"][1], marks["brow_left"][2]])
    shape = np.ceil((high - low) / STEP).astype(int)[::-1]
    box = Geometry.from_spacing(shape.tolist(), (STEP,) * 3, low)
    back = np.linalg.inv(head.to_template)
    body = resample(head.body, head.grid, box, matrix=back, nearest=True)
    average = resample(atlas.body, atlas.grid, box, nearest=True)
    first, there = average.argmax(axis=1), average.any(axis=1)
    # what lies outside the field of view is not missing: it was never taken
    k, i = np.nonzero(there)
    skin = box.to_world(np.stack([k, first[k, i], i], axis=-1))
    inside = np.ones(len(skin), bool)
    for away in (0.0, BEHIND_MM):
        points = (skin + np.array([0.0, away, 0.0])) @ back[:3, :3].T + back[:3, 3]
        index = head.geometry.to_index(points)
        inside &= ((index > 0.0) & (index < np.array(head.geometry.shape) - 1.0)).all(axis=-1)
    if not inside.any():
        return Faceless(0.0, 0.0, 0.0)
    k, i = k[inside], i[inside]
    front = np.where(body.any(axis=1), body.argmax(axis=1), box.shape[1])
    behind = (front[k, i] - first[k, i]) * STEP
    return Faceless(float(inside.mean()), float((behind >= BEHIND_MM).mean()), float(np.median(behind)))
