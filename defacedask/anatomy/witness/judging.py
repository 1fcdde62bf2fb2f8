"""Whether one image may leave: the face is where the plan says, and it is gone from there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.anatomy.morphology import components
from defacedask.anatomy.witness.skin import moved_skin
from defacedask.anatomy.witness.solid import far_out, solid_of
from defacedask.anatomy.witness.sphere import angle
from defacedask.errors import InputError
from defacedask.showing import beside
from defacedask.volume import geometry_of

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.anatomy.witness.seeing import Sighting
    from defacedask.anatomy.witness.solid import Solid

__all__ = [
    "ANOTHER",
    "LEAST_MM",
    "LEAST_MOVED",
    "MOST_DEGREES",
    "MOST_MM",
    "MOST_ROLLED",
    "Verdict",
    "apart",
    "verdict",
]

#: Fraction of the skin of the middle of the face that must have moved by `LEAST_MM`.
LEAST_MOVED, LEAST_MM = 0.90, 3.0
#: By how much plan and witness may differ: in where the head looks, and in where the tip of its nose is.
MOST_DEGREES, MOST_MM = 30.0, 30.0
#: Degrees by which they may differ in which way is up: a head on its side or upside down may look the same way, and
#: have its nose in the same place.
MOST_ROLLED = 60.0
#: What may help where a face was left.
ANOTHER = "use another defacer or protect less"
#: Fewer voxels of skin (of 1.5 mm) than this are no face in view.
LEAST_POINTS = 150


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the witness says of one defaced image.

    Attributes
    ----------
    moved : float or None
        Fraction of the skin where the witness sees the face that moved by at least 3 mm; None if it could not be
        measured.
    agrees : bool or None
        Whether plan and witness see the face in one place; None if there is nothing to compare.
    held : bool
        The image may not leave.
    sentence : str
        Why, or what is unusual; "" if nothing is.
    figures : dict
        ``moved``, ``points``, ``degrees``, ``mm``, ``rolled`` and the sighting's own.
    hint : str
        What may help where it is held, as a clause.
    """

    moved: float | None
    agrees: bool | None
    held: bool
    sentence: str
    figures: dict[str, Any]
    hint: str = ""


def apart(
    seen: Sighting, place: np.ndarray, facing: np.ndarray, up: np.ndarray | None = None
) -> tuple[str, dict[str, float]]:
    """Whether a plan has the face elsewhere than the witness sees it.

    Parameters
    ----------
    seen : Sighting
        With a face.
    place, facing, up : (3,) arrays
        Where the plan has the tip of the nose, and which way it has the head look and its crown, world LPS mm.

    Returns
    -------
    str
        In what they differ, as a clause; "" if they agree.
    dict
        ``degrees``, ``mm`` and ``rolled``, as far as they were measured.
    """
    degrees = float(angle(seen.facing, np.asarray(facing) / np.linalg.norm(facing)))
    mm = float(np.linalg.norm(seen.place - place))
    figures = {"degrees": round(degrees, 1), "mm": round(mm, 1)}
    if degrees > MOST_DEGREES or mm > MOST_MM:
        said = (
            f"its face looks {beside(degrees, MOST_DEGREES, '.0f')} degrees and lies {beside(mm, MOST_MM, '.0f')} mm "
            f"away from where the plan has it (at most {MOST_DEGREES:g} degrees and {MOST_MM:g} mm)"
        )
        return said, figures
    if up is None:
        return "", figures
    rolled = float(angle(seen.axes[:, 2], np.asarray(up) / np.linalg.norm(up)))
    figures["rolled"] = round(rolled, 1)
    if rolled <= MOST_ROLLED:
        return "", figures
    said = (
        f"its head is held {beside(rolled, MOST_ROLLED, '.0f')} degrees otherwise, about where it looks, than the "
        f"plan has it (at most {MOST_ROLLED:g} degrees)"
    )
    return said, figures


def verdict(
    original: xr.DataArray,
    defaced: xr.DataArray,
    seen: Sighting,
    plan_place: np.ndarray | None = None,
    plan_facing: np.ndarray | None = None,
    *,
    plan_up: np.ndarray | None = None,
    find: Callable[[xr.DataArray], Solid] = solid_of,
) -> Verdict:
    """Judge one image.

    Parameters
    ----------
    original, defaced : xarray.DataArray
        On one grid.
    seen : Sighting
        Of the original, or, where that cannot show a face by itself, of another image of the same frame of reference.
    plan_place, plan_facing : (3,) arrays, optional
        Where the plan has the tip of the nose and which way it has the head look, world LPS mm.
    plan_up : (3,) array, optional
        Which way it has the crown of the head, world LPS.
    find : callable, optional
        Gives the patient in the original: `solid_of`, or what that found before.

    Raises
    ------
    InputError
        If the images do not share a grid.
    """
    if not geometry_of(original).close_to(geometry_of(defaced)):
        raise InputError("the defaced image lies on another grid than the original.")
    figures: dict[str, Any] = {"sighting": seen.facts()}
    if seen.second:
        return Verdict(
            None,
            None,
            True,
            f"{seen.reason}, and a plan takes the face of one: cut the image into one for each head",
            figures,
        )
    if seen.reason:
        return Verdict(
            None,
            None,
            True,
            f"no face can be found in it ({seen.reason}), so that none can be seen to be gone",
            figures,
            "look at the image",
        )
    agrees, elsewhere = None, ""
    if plan_place is not None and plan_facing is not None:
        elsewhere, apart_by = apart(seen, plan_place, plan_facing, plan_up)
        figures |= apart_by
        agrees = not elsewhere
    solid = find(original)
    points, share = moved_skin(original, defaced, solid, seen, LEAST_MM)
    figures |= {"points": points, "moved": None if points == 0 else round(share, 4)}
    if agrees is False:
        hint = "look at where its head lies and how it is turned"
        return Verdict(None if points == 0 else share, False, True, elsewhere, figures, hint)
    if points < LEAST_POINTS:
        return Verdict(
            None, agrees, False, "no skin of the face is in view, so that none could be left", figures
        )
    held = share < LEAST_MOVED
    sentence = (
        f"{beside(100 * share, 100 * LEAST_MOVED, '.0f')} % of the skin in the middle of its face moved by "
        f"{LEAST_MM:g} mm or more "
        f"(at least {100 * LEAST_MOVED:.0f} % must): the face is still visible"
        if held
        else ""
    )
    if held:
        return Verdict(share, agrees, True, sentence, figures, ANOTHER)
    sentence = _left_beside(original, defaced, solid, seen)
    if sentence and original.attrs["modality"] == "MR":
        # no arm reaches into a head coil, and a field of view too small folds a face to the other side
        sentence += ", and nobody knows whether it shows one"
        return Verdict(share, agrees, True, sentence, figures, "cut the image to the head")
    return Verdict(share, agrees, False, sentence, figures)


def _left_beside(original: xr.DataArray, defaced: xr.DataArray, solid: Solid, seen: Sighting) -> str:
    """What is said of a part that is none of the head's, is as large as a face and stays; "" of none.

    It does not hang together with the head, or reaches further than a head does. On CT it may be an arm or a support.
    On MR it may be a bottle, or the front of a second head, or of this one.
    """
    parts = [part for part in (solid.loose, far_out(solid, seen.centre, seen.axes)) if part is not None]
    if not parts:
        return ""
    each = components(np.ascontiguousarray(np.logical_or.reduce(parts)))
    litres = [
        len(places) * solid.grid.voxel_volume / 1e6
        for number in range(1, int(each.max()) + 1)
        if _stays(original, defaced, solid.grid.to_world(places := np.argwhere(each == number)))
    ]
    if not litres:
        return ""
    return (
        f"beside the head lies something of {max(litres):.1f} litres, as large as a face, that stays as it is"
    )


def _stays(original: xr.DataArray, defaced: xr.DataArray, points: np.ndarray) -> bool:
    """Whether most voxels at some points, world LPS mm, are as they were."""
    grid = geometry_of(original)
    index = np.rint(grid.to_index(points)).astype(np.int64)
    index = index[((index >= 0) & (index < np.array(grid.shape))).all(axis=1)]
    if not len(index):
        return False
    low, high = index.min(axis=0), index.max(axis=0) + 1
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    before, after = (np.asarray(one[box].values)[tuple((index - low).T)] for one in (original, defaced))
    return float((before == after).mean()) >= 0.5
