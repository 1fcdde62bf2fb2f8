"""What of the face stays because structures are protected: a figure and the names of the parts, for every plan.

Measured on the head's working grid, in a shell of one voxel around the skin from brow to chin: it sees both what is
taken off the skin and what is laid on it. A structure that lies deeper may stay in the picture, but shows no face.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from defacedask.anatomy.head import Head
    from defacedask.defacers.base import Plan

__all__ = ["FLAGGED", "PARTS", "Remains", "remains"]

#: Percent of the face's skin from which a case is flagged.
FLAGGED = 1.0
#: mm around a landmark that stand for its part; a part remains if half of it does.
AROUND = 12.0
#: Parts of the face and the landmarks they are told by.
PARTS = {
    "forehead": ("glabella",),
    "right brow": ("brow_right",),
    "left brow": ("brow_left",),
    "right eye": ("eye_right",),
    "left eye": ("eye_left",),
    "nose": ("nasion", "nose_tip", "subnasale"),
    "right cheek": ("cheek_right",),
    "left cheek": ("cheek_left",),
    "mouth": ("stomion", "cheilion_left", "cheilion_right"),
    "chin": ("pogonion", "menton"),
}


@dataclasses.dataclass(frozen=True)
class Remains:
    """What protection leaves of a face.

    Attributes
    ----------
    percent : float
        Of the face's skin that the defacer would have changed, how much it leaves because of protection; 0 if it
        would have changed none.
    by : dict of str to float
        The same for each protected structure that leaves any; they may overlap.
    parts : tuple of str
        Parts of the face of which at least half stays.
    """

    percent: float = 0.0
    by: dict[str, float] = dataclasses.field(default_factory=dict)
    parts: tuple[str, ...] = ()

    @property
    def flagged(self) -> bool:
        """Whether a person must be told."""
        return self.percent >= FLAGGED

    @property
    def sentence(self) -> str:
        """For the tables and the report; empty if nothing is to be told."""
        if not self.flagged:
            return ""
        most = sorted(self.by, key=lambda name: -self.by[name])
        names = ", ".join(most[:3]) + (f" and {len(most) - 3} more" if len(most) > 3 else "")
        seen = f"; visible: {', '.join(self.parts)}" if self.parts else ""
        return f"{self.percent:.0f} % of the face's skin stays because {names} is protected{seen}."

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "percent": round(self.percent, 2),
            "by": {name: round(value, 2) for name, value in self.by.items()},
            "parts": list(self.parts),
            "flagged": self.flagged,
            "sentence": self.sentence,
        }


def remains(plan: Plan, head: Head) -> tuple[Plan, Remains]:
    """Measure what protection leaves of the face.

    Parameters
    ----------
    plan : Plan
        Any; one that protects nothing leaves nothing because of it.
    head : Head
        That it was made on.

    Returns
    -------
    plan : Plan
        The same, each of its protected structures with its own figure.
    remains : Remains
    """
    protected = plan.protected
    if not protected:
        return plan, Remains()
    bare = plan.protecting(())
    skin = np.argwhere(head.face_skin)
    if not len(skin):
        return plan, Remains()
    # one voxel around the face is all that is needed of the grid
    low = np.maximum(skin.min(axis=0) - 2, 0)
    high = np.minimum(skin.max(axis=0) + 3, head.grid.shape)
    grid = head.grid.block(low.tolist(), high.tolist())
    shell = _shell(head.face_skin[tuple(slice(a, b) for a, b in zip(low, high, strict=True))])
    meant = shell & np.asarray(bare.region(grid))
    kept = meant & ~np.asarray(plan.region(grid))
    if not meant.any():
        return plan, Remains()
    around = _parts(head, grid, meant)
    ours = []
    by: dict[str, float] = {}
    for one in protected:
        mine = kept & one.keep(grid)
        percent = 100.0 * float(mine.sum()) / float(meant.sum())
        if mine.any():
            by[one.name] = by.get(one.name, 0.0) + percent
        ours.append(dataclasses.replace(one, face_percent=percent, leaves=_leaves(around, meant, mine)))
    total = 100.0 * float(kept.sum()) / float(meant.sum())
    return plan.protecting(ours), Remains(total, by, _leaves(around, meant, kept))


def _shell(skin: np.ndarray) -> np.ndarray:
    from defacedask.anatomy.morphology import dilate

    return dilate(skin, 1)


def _parts(head: Head, grid: Any, meant: np.ndarray) -> dict[str, np.ndarray]:
    """Which of the meant voxels lie around each part's landmarks."""
    world = grid.to_world(np.argwhere(meant))
    out = {}
    for name, marks in PARTS.items():
        near = np.zeros(len(world), dtype=bool)
        for mark in marks:
            near |= ((world - head.landmark(mark)) ** 2).sum(axis=1) <= AROUND**2
        out[name] = near
    return out


def _leaves(around: dict[str, np.ndarray], meant: np.ndarray, kept: np.ndarray) -> tuple[str, ...]:
    inside = kept[meant]
    return tuple(name for name, near in around.items() if near.any() and inside[near].mean() >= 0.5)
