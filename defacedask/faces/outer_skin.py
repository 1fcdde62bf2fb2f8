"""The skin that the outside air reaches, of a part of a head on a small grid of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, real_values

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.anatomy.head import Head

__all__ = ["between", "distances_to", "outer_air", "outline", "part_around", "rim", "values_on"]


def between(index: Sequence[Any], shape: Sequence[int], beyond: float) -> np.ndarray:
    """Where indices lie by more than ``beyond`` voxels inside the outermost voxel centres."""
    inside = [(i > beyond) & (i < n - 1.0 - beyond) for i, n in zip(index, shape, strict=True)]
    return inside[0] & inside[1] & inside[2]


def part_around(index: Sequence[Any], shape: Sequence[int]) -> tuple[slice, ...] | None:
    """Block of an image that holds some places of it and their neighbours; None if the image is elsewhere.

    Parameters
    ----------
    index : sequence of arrays
        Of the places, along z, y, x, in voxels.
    shape : (z, y, x)
        Of the image.
    """
    low = [max(int(np.floor(i.min())) - 1, 0) for i in index]
    high = [min(int(np.ceil(i.max())) + 2, n) for i, n in zip(index, shape, strict=True)]
    if any(a >= b for a, b in zip(low, high, strict=True)):
        return None
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True))


def values_on(head: Head, volume: xr.DataArray, box: Geometry, part: tuple[slice, ...]) -> np.ndarray:
    """Real values on a grid; air beyond the image, and where the original has what is not the patient.

    Parameters
    ----------
    head : Head
        Of the original.
    volume : xarray.DataArray
        Original or defaced, on the original's grid; no more than the part is read.
    box : Geometry
    part : tuple of slice
        See `part_around`.
    """
    from defacedask.anatomy.grid import resample

    values = np.where(np.asarray(head.drop[part]), np.float32(head.air), real_values(volume[part]).values)
    block = geometry_of(volume).block([s.start for s in part], [s.stop for s in part])
    return resample(values, block, box, outside=head.air)


def distances_to(skin: np.ndarray, points: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Mm from some voxels to the nearest skin; infinite where there is none.

    Parameters
    ----------
    skin, points : (z, y, x) bool array
    spacing : (z, y, x) mm

    Returns
    -------
    (n,) array, in the order of ``points``.
    """
    from defacedask.anatomy.distances import distances_at

    if not skin.any():
        return np.full(int(points.sum()), np.inf)
    return distances_at(skin, points, spacing)


def outline(body: np.ndarray, view: np.ndarray, toward: np.ndarray) -> Any:
    """Body voxels beside the air before the face; see `outer_air`."""
    return rim(body, outer_air(body, view, toward))


def rim(body: np.ndarray, air: np.ndarray) -> Any:
    """Body voxels beside some air."""
    from defacedask.anatomy.morphology import dilate

    return dilate(air, 1) & body


def outer_air(body: np.ndarray, view: np.ndarray, toward: np.ndarray) -> Any:
    """The air before the face: nostrils, mouth and what they lead to count for 6 mm only.

    The box and the field of view cut throat and sinuses, so that air at their other sides may lie inside the head:
    only what is reached from the front, within the field of view, is outside.

    Parameters
    ----------
    body, view : (z, y, x) bool array
        ``view``: inside the field of view.
    toward : (3,) array
        Where the face looks, along the axes x, y, z of the arrays.
    """
    from defacedask.anatomy.morphology import close, components, dilate

    axis = int(np.argmax(np.abs(toward)))
    layers = np.flatnonzero(view.any(axis=tuple(k for k in range(3) if k != 2 - axis)))
    if not len(layers):
        return np.zeros_like(body)
    wide = components(np.ascontiguousarray(view & ~close(body, 4)))
    outer = _parts(wide, np.take(wide, layers[-1] if toward[axis] > 0 else layers[0], axis=2 - axis))
    # a dark gap under the skin is near the air before the face and yet not part of it
    near = components(np.ascontiguousarray(dilate(outer, 4) & ~body))
    return _parts(near, near[outer])


def _parts(labels: np.ndarray, some: np.ndarray) -> Any:
    """Where labels are among some of them; 0 is none."""
    chosen = np.zeros(int(labels.max(initial=0)) + 1, bool)
    chosen[some] = True
    chosen[0] = False
    return chosen[labels]
