"""What became of the skin of the ears, each by itself: ears tell people apart, and some defacers leave them.

The average head says about where an ear is; there the ear is what stands out of the patient's own head. Nothing is
taken from a plan, and the face's own measure (`defacedask.faces.surface_change`) knows nothing of ears.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from defacedask.errors import InputError
from defacedask.faces.outer_skin import between, distances_to, outer_air, part_around, rim, values_on
from defacedask.geometry import Geometry
from defacedask.sampling import index_at
from defacedask.volume import geometry_of

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.anatomy.head import Head

__all__ = ["SIDES", "Ear", "EarChange", "ear_change", "find_ear", "together"]

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")

#: mm around the average's ear within which the patient's is looked for.
NEAR = 12.0
#: mm of room around that; and beyond it at the side, so that there is air beside the ear.
ROOM, BESIDE = 12.0, 20.0
#: mm: an ear is what a ball of this radius, rolled inside the head, does not reach, and that is `OUT` or more away.
BALL, OUT = 12.0, 1.5
#: cm2 of skin, front and back; less is no ear. Of 48 real heads: 14 to 50.
LEAST_CM2 = 12.0
#: Share of the average's ear in the field of view below which the ear is not in the image; share of the ear's own
#: voxels at the edge of the field of view above which it is cut.
SEEN, CUT = 0.5, 0.01
#: Why there is nothing to measure.
OUT_OF_VIEW, CUT_OFF, NO_EAR = (
    "not in the image",
    "cut by the field of view",
    "no ear stands out of the head",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Ear:
    """One ear of an original.

    Attributes
    ----------
    side : str
        ``left`` or ``right``, the patient's.
    box : Geometry
        Grid around it, in the head's frame.
    skin : (z, y, x) bool array
        Voxels of ``box``: the ear's skin, on all its sides that air reaches.
    note : str
        Why there is no ear to measure; then ``skin`` is empty.
    """

    side: Side
    box: Geometry
    skin: np.ndarray
    note: str = ""


@dataclasses.dataclass(frozen=True)
class EarChange:
    """What became of the skin of one ear.

    Attributes
    ----------
    side : str
    points : int
        Skin voxels of the original's ear; 0 if there is nothing to measure.
    moved : float
        Fraction of them with no skin of the defaced image within ``least_mm``; NaN if there is nothing to measure.
    untouched : float
        Fraction of them at which the image's values are the same as before; NaN likewise.
    least_mm : float
    median_mm : float
        Median distance from the ear's skin to the defaced image's nearest skin.
    note : str
        Why there is nothing to measure.
    """

    side: Side | Literal["both"]
    points: int
    moved: float
    untouched: float
    least_mm: float
    median_mm: float
    note: str = ""


def find_ear(head: Head, side: Side, *, spacing_mm: float = 1.5) -> Ear:
    """Look for an ear of an original.

    An ear that is pressed flat into the head, that an earlier defacing removed, or that the field of view cuts, is
    not measured: `Ear.note` says so. A pad that touches the skin may be taken for part of an ear.

    Parameters
    ----------
    head : Head
        Of the original; only its pose, its place on the average head, and its skin level are used.
    side : str
        ``left`` or ``right``, the patient's.
    spacing_mm : float
        Of the grid it is looked for on.
    """
    from defacedask.anatomy.distances import within
    from defacedask.anatomy.grid import resample
    from defacedask.anatomy.morphology import erode

    mask, grid = _average_ear(side)
    box = _box(head, side, spacing_mm)
    none = np.zeros(box.shape, bool)
    average = resample(mask, grid, box, matrix=head.to_template, nearest=True)
    view = _view(head, box)
    if view[average].mean() < SEEN:
        return Ear(side, box, none, OUT_OF_VIEW)
    body = _values(head, head.volume, box) > head.level
    air = outer_air(body, view, _toward(side)) & view
    ear = _standing_out(~air, within(average, box.spacing, NEAR), spacing_mm)
    # what the field of view cuts shows its inside
    if (ear & ~erode(view, 2)).sum() > CUT * ear.sum():
        return Ear(side, box, none, CUT_OFF)
    skin = rim(body, air) & ear
    if skin.sum() * spacing_mm**2 < 100.0 * LEAST_CM2:
        return Ear(side, box, none, NO_EAR)
    return Ear(side, box, skin)


def ear_change(head: Head, defaced: xr.DataArray, ear: Ear, *, least_mm: float = 3.0) -> EarChange:
    """Compare an ear with what the defaced image has there.

    Parameters
    ----------
    head : Head
        Of the original.
    defaced : xarray.DataArray
        On the original's grid.
    ear : Ear
        Of the original, see `find_ear`; the surfaces are compared on its grid.
    least_mm : float
        What counts as moved.

    Raises
    ------
    InputError
        If the images do not share a grid.
    """
    if not geometry_of(head.volume).close_to(geometry_of(defaced)):
        raise InputError("the defaced image lies on another grid than the original.")
    if ear.note:
        return EarChange(ear.side, 0, np.nan, np.nan, least_mm, np.nan, ear.note)
    after = _values(head, defaced, ear.box)
    body = after > head.level
    view = _view(head, ear.box)
    same = _values(head, head.volume, ear.box) == after
    now = ear.skin if same.all() else rim(body, outer_air(body, view, _toward(ear.side)) & view)
    gap = distances_to(now, ear.skin, ear.box.spacing)
    return EarChange(
        ear.side,
        points=len(gap),
        moved=float((gap >= least_mm).mean()),
        untouched=float(same[ear.skin].mean()),
        least_mm=least_mm,
        median_mm=float(np.median(gap)),
    )


def together(ears: Sequence[EarChange]) -> EarChange:
    """Both ears as one, of those that could be measured; ``side`` is then ``both``.

    ``median_mm`` is the smaller of their medians: the ear that is nearer to where it was.
    """
    there = [ear for ear in ears if ear.points]
    least = ears[0].least_mm
    if not there:
        note = "; ".join(dict.fromkeys(ear.note for ear in ears))
        return EarChange("both", 0, np.nan, np.nan, least, np.nan, note)
    sizes = [ear.points for ear in there]
    return EarChange(
        "both",
        points=sum(sizes),
        moved=float(np.average([ear.moved for ear in there], weights=sizes)),
        untouched=float(np.average([ear.untouched for ear in there], weights=sizes)),
        least_mm=least,
        median_mm=min(ear.median_mm for ear in there),
        note="; ".join(f"{ear.side}: {ear.note}" for ear in ears if ear.note),
    )


# --- steps


def _standing_out(solid: np.ndarray, near: np.ndarray, spacing: float) -> np.ndarray:
    """The largest part that stands out of the head near the average's ear."""
    from defacedask.anatomy.morphology import dilate, largest, open_

    ball, out = (round(mm / spacing) for mm in (BALL, OUT))
    rest = open_(solid, ball)
    beyond = solid & ~rest & near
    return dilate(largest(beyond & ~dilate(rest, out)), out + 1) & beyond


def _toward(side: Side) -> np.ndarray:
    """Where an ear looks, in the head's frame."""
    return np.array([1.0 if side == "left" else -1.0, 0.0, 0.0])


def _view(head: Head, box: Geometry) -> Any:
    """What of the box is in the field of view."""
    grid = head.geometry
    return between(index_at(grid, box.positions(dtype=np.float64)), grid.shape, -0.5)


def _values(head: Head, volume: xr.DataArray, box: Geometry) -> np.ndarray:
    """`values_on`; all air where the image is elsewhere."""
    grid = geometry_of(volume)
    part = part_around(index_at(grid, box.positions(dtype=np.float64)), grid.shape)
    return np.full(box.shape, head.air, np.float32) if part is None else values_on(head, volume, box, part)


def _box(head: Head, side: Side, spacing: float) -> Geometry:
    """A grid along the axes of the head, in the patient's world, around where the average's ear lies."""
    mask, grid = _average_ear(side)
    to_head = np.asarray(head.pose) @ np.linalg.inv(head.to_template)
    ends = grid.to_world(np.argwhere(mask))[:, :3] @ to_head[:3, :3].T + to_head[:3, 3]
    low, high = ends.min(axis=0) - NEAR - ROOM, ends.max(axis=0) + NEAR + ROOM
    if side == "left":
        high[0] += BESIDE
    else:
        low[0] -= BESIDE
    shape = np.ceil((high - low) / spacing).astype(int)[::-1]
    upright = Geometry.from_spacing(shape.tolist(), (spacing,) * 3, low)
    return Geometry(upright.shape, np.linalg.inv(head.pose) @ upright.affine)


@functools.cache
def _average_ear(side: Side) -> tuple[np.ndarray, Geometry]:
    """The average's ear and the air close to it: the same for everybody."""
    from defacedask.anatomy.template import load_template

    template = load_template("average_ct")
    mask = template.mask(f"ear_{side}")
    mask.flags.writeable = False
    return mask, template.geometry
