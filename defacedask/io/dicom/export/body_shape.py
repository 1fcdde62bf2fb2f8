"""Which structures are the body by their shape, whatever they are called: their edge is its skin.

"NormalTissue", "Patient", "Body-PTV" or "Ring" renders a face as well as BODY does, if it is drawn along the skin. A
structure is compared with the body of the image that it lies on: what fills most of a slice and keeps to its edge is
treated as an outline; what keeps to the edge near the face without filling it (a shell) as something that follows
the skin. What fills most of the body in nearly all slices of the face is drawn after a body as well, wherever its
edge is: some way below the skin, or along that of another day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from defacedask.anatomy.morphology import box_of, fill_slices
from defacedask.anatomy.structure_names import STUDY_NAMES, standard_name
from defacedask.boxes import cut_out
from defacedask.geometry import Geometry

__all__ = ["OUTLINE", "SKIN", "roles_by_shape"]

OUTLINE, SKIN = "outline", "skin"
#: mm within which an edge keeps to the skin, and at least so many pixels.
NEAR_MM, NEAR_PIXELS = 6.0, 1.5
#: Part of the skin that an outline keeps to, and part of the body that it fills, over all slices looked at.
FOLLOWED, FILLED = 0.6, 0.7
#: Part of the slices near the region that something lies in, and part of the body that it fills there, that is drawn
#: after a body, wherever its edge is. No organ reaches from brow to chin and fills so much.
REACHED, MOSTLY = 0.8, 0.6
#: mm between the middles of a body and of what is as large, from which on that was drawn where it lay otherwise.
AWAY_MM = 12.0
#: Part of the skin near the region that something keeps to that follows it.
FOLLOWED_FACE = 0.4
#: mm around the region that count as near.
FACE_MM = 10.0
#: Slices looked at, evenly over those that there are.
MOST_SLICES = 16

Body = Callable[[int], "np.ndarray | None"]


def roles_by_shape(
    structures: Iterable[Any],
    geometry: Geometry,
    body: Body,
    region: np.ndarray | None = None,
    *,
    anywhere: bool = False,
) -> dict[int, str]:
    """Structures that are drawn along the skin.

    Parameters
    ----------
    structures : iterable of Structure
        Of one structure set, on ``geometry``.
    geometry : Geometry
        Of the image that they lie on.
    body : callable
        ``body(k)`` -> (row, column) bool: body of the image **as it came** in slice k, or None where not known.
    region : (z, y, x) bool array, optional
        What the plan may change: only slices that meet it are looked at.
    anywhere : bool
        The region is a layer along the skin, so that an edge below it stays: what is drawn after a body is an outline
        however far below the skin its edge is.

    Returns
    -------
    dict
        ROI number -> `OUTLINE` or `SKIN`; others are not in it. What has a name of the study (Brain, Parotid_L, ...)
        is what it says.
    """
    faces: Any = None if region is None else region.any(axis=(1, 2))
    slices = _Slices(geometry, body, region)
    out = {}
    for part in structures:
        if standard_name(part.original_name) in STUDY_NAMES:
            continue
        mask = np.asarray(part.mask)
        there = part.start[0] + np.flatnonzero(mask.any(axis=(1, 2)))
        if faces is not None:
            there = there[faces[there]]
        reaches = faces is not None and len(there) >= REACHED * faces.sum()
        role = _role(mask, part.start, there, slices)
        if not role and reaches and _after_a_body(mask, part.start, there, slices, anywhere):
            role = OUTLINE
        if role:
            out[part.number] = role
    return out


def _chosen(there: np.ndarray) -> list[int]:
    return list(there[np.unique(np.linspace(0, len(there) - 1, MOST_SLICES).astype(int))].tolist())


def _after_a_body(
    mask: np.ndarray, start: tuple[int, int, int], there: np.ndarray, slices: _Slices, anywhere: bool
) -> bool:
    """Whether a structure is as large as a body in the slices, and lies in it (``anywhere``) or aside of it."""
    area = own = filled = 0
    away = np.zeros(2)
    for k in _chosen(there) if len(there) else ():
        known = slices.skin(k)
        if known is None:
            continue
        drawn = mask[k - start[0]]
        inside = known.inside
        area, own = area + int(inside.sum()), own + int(drawn.sum())
        filled += int((inside & cut_out(drawn, start[1:], known.box)).sum())
        middle = np.argwhere(drawn).mean(axis=0) + start[1:]
        away += middle - np.argwhere(inside).mean(axis=0) - [one.start for one in known.box]
    if not area or own < MOSTLY * area:
        return False
    aside = float(np.hypot(*(away * slices.spacing))) / len(_chosen(there)) > AWAY_MM
    return aside or (anywhere and filled >= MOSTLY * area)


def _role(mask: np.ndarray, start: tuple[int, int, int], there: np.ndarray, slices: _Slices) -> str:
    if not len(there):
        return ""
    chosen = _chosen(there)
    skin = kept = face = face_kept = area = filled = 0
    for k in chosen:
        known = slices.skin(k)
        if known is None:
            continue
        box, inside, edge, near = known
        own = cut_out(mask[k - start[0]], start[1:], box)
        follows = edge & slices.close(own)
        skin, kept = skin + int(edge.sum()), kept + int(follows.sum())
        face, face_kept = face + int((edge & near).sum()), face_kept + int((follows & near).sum())
        area, filled = area + int(inside.sum()), filled + int((inside & own).sum())
    if not skin:
        return ""
    if kept >= FOLLOWED * skin and filled >= FILLED * area:
        return OUTLINE
    return SKIN if face and face_kept >= FOLLOWED_FACE * face else ""


class _Skin(NamedTuple):
    """One slice around the body: where that is in it, the body, its outer edge, and what lies near the region."""

    box: tuple[slice, ...]
    inside: np.ndarray
    edge: np.ndarray
    near: np.ndarray


class _Slices:
    """The body's skin in the slices of an image, each found once."""

    def __init__(self, geometry: Geometry, body: Body, region: np.ndarray | None) -> None:
        self.body, self.region = body, region
        self.spacing = geometry.spacing[1:]
        self.near_mm = max(NEAR_MM, NEAR_PIXELS * max(self.spacing))
        self._known: dict[int, _Skin | None] = {}

    def skin(self, k: int) -> _Skin | None:
        """What is known of slice k."""
        if k not in self._known:
            self._known[k] = self._look(k)
        return self._known[k]

    def _look(self, k: int) -> _Skin | None:
        from scipy.ndimage import distance_transform_edt, label

        found = self.body(k)
        if found is None or not found.any():
            return None
        parts, count = label(fill_slices(found[None])[0])
        inside = parts == 1 + int(np.argmax(np.bincount(parts.ravel(), minlength=count + 1)[1:]))
        # nothing that is farther from the body than this is asked for
        margin = int(np.ceil(max(self.near_mm, FACE_MM) / min(self.spacing))) + 2
        box = box_of(inside, margin)
        inside = inside[box]
        near = np.zeros(inside.shape, bool)
        if self.region is not None and self.region[k][box].any():
            near = distance_transform_edt(~self.region[k][box], sampling=self.spacing) <= FACE_MM
        return _Skin(box, inside, _edge(inside), near)

    def close(self, own: np.ndarray) -> np.ndarray:
        """Places within some mm of a structure's edge."""
        from scipy.ndimage import distance_transform_edt

        edge = _edge(own)
        if not edge.any():
            return np.zeros(own.shape, bool)
        return distance_transform_edt(~edge, sampling=self.spacing) <= self.near_mm


def _edge(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask beside what is not of it; the border of the picture is no edge."""
    from scipy.ndimage import binary_erosion

    return mask & ~binary_erosion(mask, border_value=1)
