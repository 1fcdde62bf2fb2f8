"""A few pictures among the slices of a stack that are evidently none of its slices: scouts, renderings, colour.

Work stations file a scout or a three-dimensional picture under the series of the slices, and not all of them say so
in ImageType. Such a picture is left out by itself. What could be a slice of the stack is not: one that lost its
position, or lies where the next slice would and has another orientation, makes the whole series refused, for a stack
without its last slice looks whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from defacedask.io.dicom.headers import Header

__all__ = ["asides"]

#: Degrees from the stack's normal from which on a picture is none of its slices.
TURNED = 20.0
#: mm beyond which a place is none.
FAR = 1e6
#: mm by which a picture may lie beside the line of the slices' places, or from one of them.
BESIDE = 1.0
#: At most so many, or this part of all, with three times as many slices beside them.
FEW, PART, TIMES = 4, 0.1, 3


def asides(images: Sequence[Header]) -> list[tuple[list[Header], str]]:
    """Pictures that are no slices of the stack that all others make.

    Parameters
    ----------
    images : sequence of Header
        Single-frame images of one series.

    Returns
    -------
    list of (list of Header, str)
        Each with the reason as a clause; empty if there are none, or too many to be a few beside a stack.
    """
    normals = [_normal(one) for one in images]
    placed = [k for k, normal in enumerate(normals) if normal is not None and not _colour(images[k])]
    if not placed:
        return []
    along = np.array([normals[k] for k in placed])
    # the direction that most slices share, of the few that there are; across a stack the sign does not matter
    directions, first, count = np.unique(np.round(along, 2), axis=0, return_index=True, return_counts=True)
    near = np.cos(np.radians(TURNED))
    votes = [int(count[np.abs(directions @ one) > near].sum()) for one in directions]
    main = np.abs(along @ along[first[int(np.argmax(votes))]]) > near
    stack = {k for k, member in zip(placed, main, strict=True) if member}
    many = len(images) - len(stack)
    if not many or many > max(FEW, PART * len(images)) or len(stack) < TIMES * many:
        return []
    kinds = {images[k].values.get("ImageType", ()) for k in stack}
    sizes = {_size(images[k]) for k in stack}
    places = np.array([images[k].values["ImagePositionPatient"] for k in sorted(stack)])
    found: dict[str, list[Header]] = defaultdict(list)
    for k, one in enumerate(images):
        if k in stack:
            continue
        if _colour(one):
            found["it is a colour picture among the grey slices of a stack"].append(one)
        elif normals[k] is not None and _size(one) in sizes and _goes_on(one, places):
            return []
        elif normals[k] is not None:
            found[
                "it is a picture in another orientation among the slices of a stack, such as a scout that does not "
                "say so"
            ].append(one)
        elif one.values.get("ImageType", ()) not in kinds:
            found["it is a picture of another kind (ImageType), without a position, among slices"].append(one)
        else:
            return []
    return [(some, reason) for reason, some in found.items()]


def _size(one: Header) -> tuple[Any, Any]:
    return one.values.get("Rows"), one.values.get("Columns")


def _goes_on(one: Header, places: np.ndarray) -> bool:
    """Whether a picture lies where a slice of a stack could: on the line of its places, where none of them is."""
    away = places - places[0]
    far = away[int(np.linalg.norm(away, axis=1).argmax())]
    along = far / max(float(np.linalg.norm(far)), 1e-6)
    own = np.array(one.values["ImagePositionPatient"]) - places[0]
    taken = float(np.linalg.norm(own - away, axis=1).min()) < BESIDE
    return not taken and float(np.linalg.norm(own - (own @ along) * along)) < BESIDE


def _colour(one: Header) -> bool:
    return bool(one.values.get("SamplesPerPixel", 1) != 1)


def _normal(one: Header) -> np.ndarray | None:
    """Direction across a picture, None where it says nothing of where it lies."""
    cosines = np.array(one.values.get("ImageOrientationPatient", ()), dtype=np.float64)
    place = np.array(one.values.get("ImagePositionPatient", ()), dtype=np.float64)
    if cosines.shape != (6,) or place.shape != (3,) or not np.isfinite([*cosines, *place]).all():
        return None
    if np.abs(cosines).max() > 2 or np.abs(place).max() > FAR:
        return None
    normal = np.cross(cosines[:3], cosines[3:])
    length = float(np.linalg.norm(normal))
    return normal / length if length > 0.5 else None
