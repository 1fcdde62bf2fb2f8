"""A head to the current average: affine, then diffeomorphic demons, both SimpleITK's.

Maps go from the average to the head, as images are pulled: a place x of the average lies at ``x + shift(x)`` in the
affine's space, and from there at ``inverse(affine) @ ...`` in the head. Displacements are (3, z, y, x) float32, mm
along x, y, z of LPS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.geometry import Geometry
from defacedask.sampling import apply_affine, sample_field

if TYPE_CHECKING:
    import SimpleITK

__all__ = ["affine_step", "demons", "features", "places", "pull", "smooth_inverse"]

#: The whole step from air to skin drives the fit: a soft-tissue window tears the field there. Metal is clipped.
WINDOW = {"CT": (-1000.0, 500.0), "MR": (0.0, 450.0)}
#: mm grid and rounds of the affine; an affine that moves the head more than this (mm) has gone astray.
AFFINE_MM, AFFINE_ROUNDS, ASTRAY = 4.0, 60, 25.0
#: (factor of the working grid, rounds) of the demons, coarse to fine; voxels of smoothing of their field.
LEVELS, SMOOTH = ((2, 40), (1, 20)), 1.2


def features(values: np.ndarray, modality: str) -> np.ndarray:
    """What is compared: values within the window of the modality, 0..1."""
    low, high = WINDOW[modality]
    return np.asarray((np.clip(values, low, high) - low) / (high - low), dtype=np.float32)


def places(grid: Geometry, shift: np.ndarray | None = None) -> tuple[Any, Any, Any]:
    """x, y, z (mm) of a grid's voxels, moved by a displacement."""
    x, y, z = grid.positions(dtype=np.float64)
    return (x, y, z) if shift is None else (x + shift[0], y + shift[1], z + shift[2])


def pull(
    values: np.ndarray,
    source: Geometry,
    grid: Geometry,
    affine: np.ndarray,
    shift: np.ndarray | None = None,
    *,
    outside: float,
    order: int = 1,
) -> np.ndarray:
    """Values of a head on the average's grid.

    Parameters
    ----------
    values : (z, y, x) array
        On ``source``.
    grid : Geometry
        Of the average.
    affine : (4, 4) array
        Head LPS mm -> average LPS mm.
    shift : (3, z, y, x) array, optional
        Displacement on ``grid``.
    """
    at = apply_affine(np.linalg.inv(affine), *places(grid, shift))
    out = sample_field(values, source, at, order=order, outside=outside)
    return np.ascontiguousarray(np.broadcast_to(out, grid.shape))


def _image(values: np.ndarray, grid: Geometry) -> SimpleITK.Image:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(values, dtype=np.float32))
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.origin.tolist())
    return image


def affine_step(
    average: np.ndarray, grid: Geometry, mask: np.ndarray, moving: np.ndarray, modality: str
) -> np.ndarray:
    """Small affine that brings a head, already near, closer to the average.

    Parameters
    ----------
    average, moving : (z, y, x) arrays
        On ``grid``.
    mask : bool array
        Where the average is compared.

    Returns
    -------
    (4, 4) array
        The head's place, LPS mm -> the average's; the identity if the fit went astray.
    """
    import SimpleITK as sitk

    by = max(1, round(AFFINE_MM / grid.spacing[0]))
    fixed = sitk.Shrink(_image(features(average, modality), grid), [by] * 3)
    other = sitk.SmoothingRecursiveGaussian(_image(features(moving, modality), grid), AFFINE_MM / 2)
    where = sitk.Shrink(sitk.Cast(_image(mask, grid), sitk.sitkUInt8), [by] * 3)
    where.CopyInformation(fixed)
    start = sitk.AffineTransform(3)
    start.SetCenter(grid.centre.tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMeanSquares()
    method.SetMetricFixedMask(where)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, AFFINE_ROUNDS)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(start, inPlace=True)
    try:
        method.Execute(fixed, other)
    except RuntimeError:
        return np.eye(4)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(start.GetMatrix()).reshape(3, 3)
    centre = np.array(start.GetCenter())
    matrix[:3, 3] = np.array(start.GetTranslation()) + centre - matrix[:3, :3] @ centre
    corners = grid.corners
    moved = corners @ matrix[:3, :3].T + matrix[:3, 3]
    if np.linalg.norm(moved - corners, axis=1).max() > ASTRAY:
        return np.eye(4)
    return np.linalg.inv(matrix)


def demons(average: np.ndarray, grid: Geometry, moving: np.ndarray, modality: str) -> np.ndarray:
    """Displacement of the average's voxels to their like in a head.

    Parameters
    ----------
    average, moving : (z, y, x) arrays
        On ``grid``; where the head is not known ``moving`` holds the average itself, so that nothing pulls there.

    Returns
    -------
    (3, z, y, x) float32 array
        mm along x, y, z.
    """
    import SimpleITK as sitk

    fixed, other = _image(features(average, modality), grid), _image(features(moving, modality), grid)
    field: Any = None
    for by, rounds in LEVELS:
        # the finest level too: an average is smoother than a head
        near, far = (
            sitk.Shrink(sitk.SmoothingRecursiveGaussian(i, by * grid.spacing[0] / 2), [by] * 3)
            for i in (fixed, other)
        )
        if field is not None:
            field = sitk.Resample(field, near, sitk.Transform(), sitk.sitkLinear, 0.0)
        method = sitk.DiffeomorphicDemonsRegistrationFilter()
        method.SetNumberOfIterations(rounds)
        method.SetSmoothDisplacementField(True)
        method.SetStandardDeviations(SMOOTH)
        field = method.Execute(near, far) if field is None else method.Execute(near, far, field)
    out = sitk.GetArrayFromImage(field)
    return np.ascontiguousarray(np.moveaxis(out, -1, 0), dtype=np.float32)


def smooth_inverse(shift: np.ndarray, grid: Geometry, rounds: int = 12) -> np.ndarray:
    """Inverse of a smooth displacement by fixed point: ``u(y) = -shift(y + u(y))``."""
    back = -shift
    for _ in range(rounds):
        at = places(grid, back)
        back = -np.stack([sample_field(part, grid, at).astype(np.float32) for part in shift])
    return back
