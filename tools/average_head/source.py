"""Read the MIT average head and lay it upright, symmetric, on a regular LPS grid."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage, optimize

from defacedask.geometry import Geometry

#: Grid of the built-in head: array axes S, P, L; 1.5 mm; the lower third is modelled, not measured.
SPACING = 1.5
GRID = Geometry.from_spacing((212, 186, 160), (SPACING,) * 3, (-119.25, -135.0, -226.5))


def read_ras(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (i, j, k) as float32 and the affine from index to LPS mm."""
    image = nibabel.load(path)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine  # NIfTI says RAS
    return np.asarray(image.dataobj, dtype=np.float32), affine


def sample(voxels: np.ndarray, affine: np.ndarray, world: np.ndarray, order: int = 1) -> np.ndarray:
    """Values at LPS positions (..., 3); 0 outside."""
    inverse = np.linalg.inv(affine)
    index = world @ inverse[:3, :3].T + inverse[:3, 3]
    return ndimage.map_coordinates(voxels, np.moveaxis(index, -1, 0), order=order, prefilter=order > 1)


def grid_positions(geometry: Geometry) -> np.ndarray:
    """LPS mm of every voxel, (z, y, x, 3)."""
    return np.stack(np.broadcast_arrays(*geometry.positions(dtype=np.float64)), axis=-1)


def rotation(yaw: float, roll: float) -> np.ndarray:
    """Turn about the superior axis, then about the posterior axis (degrees)."""
    a, b = np.radians([yaw, roll])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    return turn @ tilt


def symmetric_average(folder: Path) -> tuple[np.ndarray, dict[str, float]]:
    """The average T1, its mid-sagittal plane at x = 0 and averaged with its mirror image.

    Mirroring takes out one-sided artefacts and makes the left/right question harmless: both halves are the
    same head. Subjects get their asymmetry from their own deformation.

    Returns
    -------
    (z, y, x) float32 on `GRID`, NaN below the measured field of view; facts of the alignment.
    """
    voxels, affine = read_ras(folder / "mean_reg2mean.nii.gz")
    coarse = Geometry.from_spacing((44, 62, 54), (4.0, 4.0, 4.0), (-106.0, -120.0, -95.0))
    points = grid_positions(coarse)
    smooth = ndimage.gaussian_filter(voxels, 1.5)

    def place(p: np.ndarray, world: np.ndarray) -> np.ndarray:
        turned = world @ rotation(p[1], p[2]).T
        turned[..., 0] += p[0]
        return turned

    def unlike(p: np.ndarray) -> float:
        values = sample(smooth, affine, place(p, points))
        return -float(np.corrcoef(values.ravel(), values[:, :, ::-1].ravel())[0, 1])

    found = optimize.minimize(unlike, np.zeros(3), method="Powell", options={"xtol": 0.02, "ftol": 1e-7})
    p = np.round(found.x, 1)  # rounded, so that another optimiser build gives the same bytes
    world = place(p, grid_positions(GRID))
    values = sample(voxels, affine, world)
    inside = sample(np.ones_like(voxels), affine, world) > 0.999
    both = inside.astype(np.float32) + inside[:, :, ::-1]
    values = np.where(inside, values, 0)
    with np.errstate(invalid="ignore"):
        values = (values + values[:, :, ::-1]) / both  # NaN where neither half was measured
    return values.astype(np.float32), {
        "shift_mm": float(p[0]),
        "yaw_degrees": float(p[1]),
        "roll_degrees": float(p[2]),
        "mirror_correlation": round(-unlike(p), 4),
    }
