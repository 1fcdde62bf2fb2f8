"""From the positions of single slices to one regular grid, or the true reason why there is none.

The grid comes from where the slices really lie (ImagePositionPatient, PS3.3 C.7.6.2), so a gantry tilt becomes
a shear and a table that moved obliquely stays oblique. Nothing is repaired: a slice that is not where a regular
grid puts it makes the series refused, with the reason.
"""

from __future__ import annotations

import numpy as np

from defacedask.errors import RefusedError
from defacedask.geometry import Geometry
from defacedask.io.dicom.gaps import mm, uneven

__all__ = ["MAX_VOXELS", "TOLERANCE_MM", "TOLERANCE_SLICE", "stack_slices"]

#: No voxel may lie farther from where its own header puts it than this, or than `TOLERANCE_SLICE` of a slice
#: spacing if that is more. Positions are written as decimal strings, often rounded to 0.1 mm: an even stack then
#: shows up to 0.05 mm at either end and in between, 0.1 mm in sum. A twentieth of a slice is below what linear
#: interpolation between slices could show; a missing or shifted slice is off by ten times as much.
TOLERANCE_MM = 0.1
TOLERANCE_SLICE = 0.05
#: Rows and columns of the direction cosines written with two decimals are orthogonal and of length one to this.
TOLERANCE_COSINE = 0.01
#: Voxels of one series beyond which it is refused: 2048 x 2048 x 512, four gigabytes as int16.
MAX_VOXELS = 2**31


def _check_numbers(positions: np.ndarray, cosines: np.ndarray, spacing: np.ndarray) -> None:
    if not np.isfinite(positions).all() or np.abs(positions).max() > 1e6:
        raise RefusedError("a slice has no usable position (ImagePositionPatient)")
    if not np.isfinite(cosines).all():
        raise RefusedError("a slice has no usable orientation (ImageOrientationPatient)")
    if not np.isfinite(spacing).all() or spacing.min() <= 1e-4 or spacing.max() > 1e3:
        raise RefusedError("a slice has no usable pixel spacing (PixelSpacing missing, zero or not a number)")
    lengths = np.linalg.norm(cosines.reshape(-1, 2, 3), axis=2)
    angle = np.einsum("ij,ij->i", cosines[:, :3], cosines[:, 3:])
    if np.abs(lengths - 1).max() > TOLERANCE_COSINE or np.abs(angle).max() > TOLERANCE_COSINE:
        raise RefusedError("rows and columns are not orthogonal unit directions (ImageOrientationPatient)")


def stack_slices(
    positions: np.ndarray,
    cosines: np.ndarray,
    spacing: np.ndarray,
    rows: int,
    columns: int,
    frame_of_reference: str = "",
    thickness: np.ndarray | None = None,
) -> tuple[np.ndarray, Geometry]:
    """Order slices along their common normal and find their grid.

    Parameters
    ----------
    positions : (n, 3) array
        ImagePositionPatient, LPS mm: centre of each slice's first voxel.
    cosines : (n, 6) array
        ImageOrientationPatient: direction of a row (x step), then of a column (y step).
    spacing : (n, 2) array
        PixelSpacing, mm: between rows (y), then between columns (x).
    rows, columns : int
    frame_of_reference : str
    thickness : (n,) array, optional
        SliceThickness, mm, NaN where it is not known: told where slices are not evenly spaced.

    Returns
    -------
    order : (n,) int array
        Slices in ascending order along the normal (row direction x column direction).
    geometry : Geometry
        Of the ordered stack, shape (n, rows, columns).

    Raises
    ------
    RefusedError
        With the reason as a clause: unusable numbers, a single slice, mixed orientations or pixel spacings,
        several slices at one position, missing slices, uneven spacing, slices shifted against each other.
    """
    _check_numbers(positions, cosines, spacing)
    count = len(positions)
    if count < 2:
        raise RefusedError("it has a single slice: no volume can be made of it")
    if count * rows * columns > MAX_VOXELS:
        raise RefusedError(
            f"it claims {count} x {rows} x {columns} voxels, more than the {MAX_VOXELS} that are read"
        )
    mean = cosines.mean(axis=0)
    far = max(rows * spacing[:, 0].max(), columns * spacing[:, 1].max())
    off = np.abs(cosines - mean).max() * far
    if off > max(TOLERANCE_MM, 0.01) and np.abs(cosines - cosines[0]).max() > 1e-3:
        kinds = len(np.unique(np.round(cosines, 2), axis=0))
        raise RefusedError(f"its slices have {max(kinds, 2)} different orientations")
    if (np.ptp(spacing, axis=0) * (rows, columns)).max() > 2 * TOLERANCE_MM:
        raise RefusedError(
            f"its slices have different pixel spacings ({mm(spacing.min())} to {mm(spacing.max())} mm)"
        )
    across = mean[:3] / np.linalg.norm(mean[:3])
    down = mean[3:] / np.linalg.norm(mean[3:])
    normal = np.cross(across, down)
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    along, sorted_positions = along[order], positions[order]
    gaps = np.diff(along)
    same = int((gaps < max(1e-3, 0.01 * np.median(gaps))).sum())
    if same:
        raise RefusedError(
            f"several slices lie at the same position ({same + 1 if count == same + 1 else same} repeated of {count})"
        )
    step = (sorted_positions[-1] - sorted_positions[0]) / (count - 1)
    tolerance = max(TOLERANCE_MM, TOLERANCE_SLICE * (along[-1] - along[0]) / (count - 1))
    grid = sorted_positions[0] + np.arange(count)[:, None] * step
    wrong = sorted_positions - grid
    if np.abs(wrong @ normal).max() > tolerance:
        raise RefusedError(uneven(along, None if thickness is None else np.asarray(thickness)[order]))
    if np.linalg.norm(wrong, axis=1).max() > tolerance:
        raise RefusedError("its slices are shifted against each other and do not form one straight stack")
    pixel = spacing.mean(axis=0)
    geometry = Geometry.from_steps(
        (count, rows, columns),
        sorted_positions[0],
        step,
        down * pixel[0],
        across * pixel[1],
        frame_of_reference,
    )
    return order, geometry
