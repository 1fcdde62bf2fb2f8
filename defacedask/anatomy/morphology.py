"""Fast, deterministic binary morphology by shifts, for masks on the working grid.

A ball of n voxels is approximated by n steps that alternate between the 6-neighbourhood and the
26-neighbourhood (its sphericity error stays below one voxel up to n = 4). Each step is a handful of bytewise
`&` or `|`, some tens of times faster than general structuring elements on boolean volumes.
"""

from __future__ import annotations

import numpy as np

from defacedask.boxes import bounds

__all__ = ["box_of", "close", "components", "dilate", "erode", "fill_slices", "largest", "open_"]


def _cross(mask: np.ndarray, *, grow: bool) -> np.ndarray:
    out = mask.copy()
    for axis in range(mask.ndim):
        low = [slice(None)] * mask.ndim
        high = [slice(None)] * mask.ndim
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        a, b = tuple(low), tuple(high)
        if grow:
            out[a] |= mask[b]
            out[b] |= mask[a]
        else:
            out[a] &= mask[b]
            out[b] &= mask[a]
    return out


def _cube(mask: np.ndarray, *, grow: bool) -> np.ndarray:
    out = mask
    for axis in range(mask.ndim):
        before = out
        out = before.copy()
        low = [slice(None)] * mask.ndim
        high = [slice(None)] * mask.ndim
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        a, b = tuple(low), tuple(high)
        if grow:
            out[a] |= before[b]
            out[b] |= before[a]
        else:
            out[a] &= before[b]
            out[b] &= before[a]
    return out


def dilate(mask: np.ndarray, n: int) -> np.ndarray:
    """Grow a bool mask by a ball of about ``n`` voxels."""
    for k in range(n):
        mask = (_cube if k % 2 else _cross)(mask, grow=True)
    return mask


def erode(mask: np.ndarray, n: int) -> np.ndarray:
    """Shrink a bool mask by a ball of about ``n`` voxels; beyond the border everything counts as set.

    (So that a head cut by the field of view is not eaten from the cut.)
    """
    for k in range(n):
        mask = (_cube if k % 2 else _cross)(mask, grow=False)
    return mask


def open_(mask: np.ndarray, n: int) -> np.ndarray:
    """Erode, then dilate."""
    return dilate(erode(mask, n), n)


def close(mask: np.ndarray, n: int) -> np.ndarray:
    """Dilate, then erode, with the border padded so that nothing sticks to it."""
    padded = np.pad(mask, n)
    inner = tuple(slice(n, -n) for _ in range(mask.ndim)) if n else ...
    return erode(dilate(padded, n), n)[inner]


def box_of(mask: np.ndarray, margin: int = 0) -> tuple[slice, ...]:
    """Smallest box around what is set, widened by some voxels where the array goes on; an empty one for no voxel."""
    box = bounds(mask)
    if box is None:
        return (slice(0, 0),) * mask.ndim
    return tuple(
        slice(max(s.start - margin, 0), min(s.stop + margin, size))
        for s, size in zip(box, mask.shape, strict=True)
    )


def components(mask: np.ndarray) -> np.ndarray:
    """Label face-connected parts (int32, 0 is background)."""
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.view(np.uint8))))


def largest(mask: np.ndarray) -> np.ndarray:
    """Keep the largest face-connected part; an empty mask stays empty."""
    labels = components(np.ascontiguousarray(mask))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax() if sizes.any() else np.zeros_like(mask)


def fill_slices(mask: np.ndarray, axis: int = 0) -> np.ndarray:
    """Fill holes within each slice along ``axis``; background that reaches a slice's border stays."""
    import scipy.ndimage

    structure = np.ones((3, 3, 3), dtype=bool)
    structure[:] = scipy.ndimage.generate_binary_structure(2, 1)
    structure[[0, 2]] = False
    turned = np.moveaxis(mask, axis, 0)
    labels, count = scipy.ndimage.label(~turned, structure)
    outside = np.zeros(count + 1, dtype=bool)
    for edge in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        outside[np.unique(edge)] = True
    outside[0] = False
    return np.moveaxis(~outside[labels], 0, axis)
