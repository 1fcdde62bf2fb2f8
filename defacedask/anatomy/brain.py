"""The brain: by what encloses it on CT, and by the template on any modality."""

from __future__ import annotations

import itertools

import numpy as np

from defacedask.anatomy.morphology import box_of, close, components, dilate, erode, fill_slices, largest
from defacedask.geometry import Geometry

__all__ = [
    "brain_from_ct",
    "enclosed_parts",
    "enclosure",
    "halved",
    "outline_centre",
    "refined_brain",
    "rough_brain",
]

#: Bone on the 4 mm grid (partial volume lowers thin bone), HU.
BONE = 180.0


def halved(values: np.ndarray) -> np.ndarray:
    """Mean of 2 x 2 x 2 voxels; an odd last slice, row or column is left out."""
    n = [k // 2 for k in values.shape]
    return values[: 2 * n[0], : 2 * n[1], : 2 * n[2]].reshape(n[0], 2, n[1], 2, n[2], 2).mean(axis=(1, 3, 5))


def enclosure(bone: np.ndarray, body: np.ndarray, *, any_way_up: bool = False) -> np.ndarray:
    """In how many of the 26 directions of the grid a voxel sees bone.

    Inside the skull nearly all do, in muscle few do. Upward directions also end where the body or the picture ends,
    so that a skull whose crown lies outside the field of view still encloses its brain.

    Parameters
    ----------
    bone, body : (z, y, x) bool arrays
        Axis 0 towards superior.
    any_way_up : bool
        It is not known which way is up: all directions end where the picture does, none where the body does.

    Returns
    -------
    uint8 array
        0..26.
    """
    count = np.zeros(bone.shape, dtype=np.uint8)
    for d in itertools.product((-1, 0, 1), repeat=3):
        if d == (0, 0, 0):
            continue
        met = bone | ~body if d[0] > 0 and not any_way_up else bone.copy()
        axis = next(i for i in range(3) if d[i])
        planes = np.moveaxis(met, axis, 0)
        if d[0] > 0 or any_way_up:
            for i in range(3):
                if d[i]:
                    np.moveaxis(met, i, 0)[-1 if d[i] > 0 else 0] = True
        shift = [d[i] for i in range(3) if i != axis]
        to = tuple(slice(None, -1) if s > 0 else slice(1, None) if s < 0 else slice(None) for s in shift)
        of = tuple(slice(1, None) if s > 0 else slice(None, -1) if s < 0 else slice(None) for s in shift)
        size = len(planes)
        for i in range(size - 2, -1, -1) if d[axis] > 0 else range(1, size):
            planes[i][to] |= planes[i + d[axis]][of]
        count += met
    return count


def rough_brain(values: np.ndarray, body: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Soft tissue that bone encloses on nearly all sides, on CT.

    Parameters
    ----------
    values : (z, y, x) float32 array
        HU on a grid of 4 mm.
    body : bool array

    Returns
    -------
    rough : bool array
        Largest such part.
    seen : uint8 array
        See `enclosure`.
    """
    seen = enclosure(close(values > BONE, 1), body)
    soft = (values > -20) & (values < 110) & (seen >= 22) & body
    opened = erode(soft, 1)
    return largest(opened if opened.sum() >= 100 else soft), seen


def enclosed_parts(values: np.ndarray, body: np.ndarray, count: int = 2) -> list[np.ndarray]:
    """Middles of the largest parts of soft tissue that bone encloses on CT, whichever way is up.

    Parameters
    ----------
    values, body
        See `rough_brain`.
    count : int
        At most so many.

    Returns
    -------
    list of (3,) arrays
        Indices, largest part first; parts below 300 voxels of 4 mm (19 mL) are left out. Without any bone there is
        none, whatever the borders of the picture enclose.
    """
    bone = close(values > BONE, 1)
    if not bone.any():
        return []
    seen = enclosure(bone, body, any_way_up=True)
    labels = components(erode((values > -20) & (values < 110) & (seen >= 22) & body, 1))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest_first = np.argsort(-sizes, kind="stable")[:count]
    return [np.argwhere(labels == k).mean(axis=0) for k in largest_first if sizes[k] >= 300]


def outline_centre(body: np.ndarray, grid: Geometry, up: np.ndarray | None = None) -> np.ndarray:
    """Where the middle of the brain might be, from the outline alone: middle of the body's top 150 mm, 75 mm down.

    Parameters
    ----------
    body : (z, y, x) bool array
    grid : Geometry
        Of ``body``.
    up : (3,) array, optional
        Which way is up, world LPS; default: along the array's axis 0.

    Returns
    -------
    (3,) array
        World LPS mm.
    """
    by = max(1, round(6.0 / grid.spacing[0]))
    points = np.argwhere(body[::by, ::by, ::by]) * by
    if len(points) == 0:
        return grid.centre
    axes = grid.directions[:, ::-1].T if up is None else _upright(up)
    along = grid.to_world(points) @ axes.T
    top = float(along[:, 2].max())
    upper = along[along[:, 2] > top - 150.0]
    middle = (np.percentile(upper, 2, axis=0) + np.percentile(upper, 98, axis=0)) / 2
    return np.array([middle[0], middle[1], top - 75.0]) @ axes


def _upright(up: np.ndarray) -> np.ndarray:
    """Rows: three axes at right angles, the last of which is ``up``."""
    side = np.cross(up, np.eye(3)[np.abs(up).argmin()])
    side /= np.linalg.norm(side)
    return np.stack([side, np.cross(up, side), up])


def refined_brain(
    values: np.ndarray, body: np.ndarray, by_template: np.ndarray, by_value: np.ndarray, modality: str
) -> np.ndarray:
    """The brain by the modality's own values, near where the template has it.

    Parameters
    ----------
    values : (z, y, x) float32 array
    body, by_template, by_value : bool arrays
        ``by_value`` (CT) joins where it is near the template's brain.
    modality : str

    Returns
    -------
    bool array
        On PT, and wherever values say nothing, the template's own.
    """
    from scipy.ndimage import gaussian_filter

    if not by_template.any():
        return by_template
    box = box_of(by_template, 8)
    inner, outer = erode(by_template[box], 2), dilate(by_template[box], 4)
    smooth = gaussian_filter(values[box], 0.8)
    if modality == "CT":
        soft = (smooth > -30) & (smooth < 120) & ~close(smooth > 160, 1)
    elif modality == "MR":
        # between cortex and scalp lies a dark gap (liquor, bone); a field of local means takes the coil's shading out
        inside = inner.astype(np.float32)
        mean = gaussian_filter(smooth * inside, 12) / np.maximum(gaussian_filter(inside, 12), 1e-3)
        relative = smooth / np.maximum(mean, 1e-6 * float(smooth.max()) + 1e-12)
        soft = (relative > 0.55) & (relative < 1.6)
    else:
        return by_template
    soft &= outer & body[box]
    core = largest(erode(soft, 2))
    # grown by no more than was eroded, so that what hung on by a bridge stays off
    grown = (dilate(core, 3 if modality == "CT" else 2) & soft) | (by_value[box] & outer)
    out = np.zeros_like(by_template)
    out[box] = fill_slices(close(grown, 3)) & body[box] & outer
    return out


def brain_from_ct(values: np.ndarray, body: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Brain by Hounsfield units and enclosure, without a template.

    Soft tissue (-20..110 HU after light smoothing) minus closed bone, seen enclosed from most sides; parted from
    what hangs on by thin bridges; grown back within -30..120 HU; closed and filled.

    Parameters
    ----------
    values : (z, y, x) float32 array
        HU on the working grid.
    body : bool array
    seen : uint8 array
        `enclosure` on the halved grid.

    Returns
    -------
    bool array
        Empty where nothing is enclosed.
    """
    from scipy.ndimage import gaussian_filter

    shape = values.shape
    full = np.zeros(shape, dtype=np.uint8)
    twice = seen.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    full[: twice.shape[0], : twice.shape[1], : twice.shape[2]] = twice
    for axis, n in enumerate(shape):
        if n % 2:
            edge = np.moveaxis(full, axis, 0)
            edge[-1] = edge[-2]
    inner = full >= 22
    if not inner.any():
        return np.zeros(shape, dtype=bool)
    box = box_of(inner, 8)
    smooth = gaussian_filter(values[box], 0.8)
    bone = close(smooth > 160, 1)
    inside = body[box] & ~bone & (full[box] >= 14)
    soft = (smooth > -20) & (smooth < 110) & inside
    parts = components(erode(soft, 2))
    seeds = np.bincount(parts[full[box] >= 23], minlength=2)
    seeds[0] = 0
    if not seeds.any():
        return np.zeros(shape, dtype=bool)
    core = parts == seeds.argmax()
    grown = dilate(core, 3) & (smooth > -30) & (smooth < 120) & inside
    out = np.zeros(shape, dtype=bool)
    out[box] = fill_slices(close(grown, 3)) & body[box]
    return out
