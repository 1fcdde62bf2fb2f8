"""Whether the patient lies in an image that shows no face by itself as in the image that shows one.

A frame of reference says that two images share one space, not that the patient lay still between them. Images that
the witness can see for itself tell where their own face is. A PET does not: it is laid on the image that does, by
mutual information (Mattes), from the frame's own position and from others far away.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.anatomy.grid import reduced
from defacedask.sampling import index_at
from defacedask.volume import geometry_of

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.anatomy.witness.seeing import Sighting
    from defacedask.geometry import Geometry

__all__ = ["MOST_APART", "Alignment", "alignment"]

#: mm by which the tip of the nose may lie elsewhere.
MOST_APART = 20.0
#: How much more the images must tell of each other elsewhere than in the frame's own position.
BETTER = 1.1
#: mm by which images are moved to see whether their place was clear.
ASIDE = 30.0
#: mm of the grid, and around the middle of the skull and below it how far the images are compared.
GRID, RADIUS, BELOW = 4.0, 125.0, 80.0
#: Turns about the head's own axes, degrees (to the left, chin down), that the search starts from.
STARTS = ((0.0, 0.0), (40.0, 0.0), (-40.0, 0.0), (0.0, 30.0), (0.0, -30.0), (180.0, 0.0))
#: Of the jitter of the samples: by default ITK takes the clock.
SEED = 1
#: Steps of the grid, and mm of blur: for all starts, and for the best of them.
COARSE, FINE = (2, 6.0), (1, 3.0)
#: Fewer samples than this are too little to compare.
LEAST_SAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Alignment:
    """How an image lies against another of its frame of reference.

    Attributes
    ----------
    mm : float
        How far from each other both have the tip of the nose; NaN if they cannot be compared.
    degrees : float
        How far the head is turned; NaN if they cannot be compared.
    gain : float
        Mutual information there, relative to that in the frame's own position.
    matrix : (4, 4) array, optional
        World LPS mm of the image that shows the face -> of the other.
    clear : float
        Mutual information there, relative to the most that is found `ASIDE` mm away; 0 if nobody asked.
    """

    mm: float
    degrees: float
    gain: float
    matrix: np.ndarray | None = dataclasses.field(default=None, compare=False)
    clear: float = 0.0

    @property
    def apart(self) -> bool:
        """Whether the patient evidently moved between the two images."""
        return self.mm > MOST_APART and self.gain >= BETTER

    @property
    def together(self) -> bool:
        """Whether the two show the patient in one place; False also where they have too little in common to tell."""
        return self.mm <= MOST_APART

    def facts(self) -> dict[str, float | None]:
        """JSON-able."""
        known = np.isfinite(self.mm)
        return {
            "mm": round(self.mm, 1) if known else None,
            "degrees": round(self.degrees, 1) if known else None,
            "gain": round(self.gain, 3) if known else None,
            **({"clear": round(self.clear, 3)} if self.clear else {}),
        }


def alignment(
    shown: xr.DataArray,
    hidden: xr.DataArray,
    seen: Sighting,
    *,
    starts: Sequence[tuple[float, float]] = STARTS,
    clearly: bool = False,
) -> Alignment:
    """Lay an image on the one that shows the face.

    Parameters
    ----------
    shown : xarray.DataArray
        The image of ``seen``.
    hidden : xarray.DataArray
        Another image of the same frame of reference.
    seen : Sighting
    starts : sequence of (float, float)
        Turns that the search starts from, as in `STARTS`.
    clearly : bool
        See how ``clear`` their place is, too.

    Returns
    -------
    Alignment
        NaN where the two have too little in common.
    """
    import SimpleITK as sitk

    values, grid = reduced(shown, GRID)
    fixed, moving = _image(values, grid), _image(*reduced(hidden, GRID))
    near = _near(grid, seen) & _in_view(grid, hidden)
    if int(near.sum()) < LEAST_SAMPLES:
        return Alignment(float("nan"), float("nan"), float("nan"))
    mask = _image(near.astype(np.uint8), grid)
    found: list[tuple[float, Any]] = []
    for start in starts:
        transform = sitk.Euler3DTransform()
        transform.SetCenter(seen.centre.tolist())
        transform.SetMatrix(_turn(seen.axes, *start).ravel().tolist())
        method = _method(mask, COARSE)
        method.SetInitialTransform(transform, inPlace=False)
        # too few samples of the one may fall into the other
        with contextlib.suppress(RuntimeError):
            out = method.Execute(fixed, moving)
            found.append((method.GetMetricValue(), out))
    if not found:
        return Alignment(float("nan"), float("nan"), float("nan"))
    method = _method(mask, FINE)
    method.SetInitialTransform(min(found, key=lambda one: one[0])[1], inPlace=False)
    out = method.Execute(fixed, moving)
    here, there = (_value(mask, fixed, moving, where) for where in (sitk.Euler3DTransform(), out))
    centre, place, ahead = (
        np.array(out.TransformPoint(p.tolist()))
        for p in (seen.centre, seen.place, seen.centre + 100.0 * seen.axes[:, 0])
    )
    # two directions of the head, before and after
    before = np.stack([seen.place - seen.centre, 100.0 * seen.axes[:, 0]])
    after = np.stack([place - centre, ahead - centre])
    matrix = np.eye(4)
    matrix[:3, 3] = out.TransformPoint((0.0, 0.0, 0.0))
    matrix[:3, :3] = np.stack([out.TransformPoint(p) for p in np.eye(3).tolist()], axis=1) - matrix[:3, 3:]
    mm, gain = float(np.linalg.norm(place - seen.place)), there / min(here, -1e-6)
    clear = _clear(mask, fixed, moving, matrix, there) if clearly else 0.0
    return Alignment(mm, _degrees(before, after), gain, matrix, clear)


def _clear(mask: Any, fixed: Any, moving: Any, matrix: np.ndarray, there: float) -> float:
    import SimpleITK as sitk

    found = []
    for step in ASIDE * np.vstack([np.eye(3), -np.eye(3)]):
        transform = sitk.Euler3DTransform()
        transform.SetMatrix(matrix[:3, :3].ravel().tolist(), 1e-6)
        transform.SetTranslation((matrix[:3, 3] + step).tolist())
        found.append(_value(mask, fixed, moving, transform))
    return there / min(*found, -1e-6)


def _method(mask: Any, level: tuple[int, float]) -> Any:
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(mask)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(0.15, SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        6.0, 0.1, 80, relaxationFactor=0.7, gradientMagnitudeTolerance=1e-6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([level[0]])
    method.SetSmoothingSigmasPerLevel([level[1]])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetNumberOfThreads(1)  # the order of sums decides bits
    return method


def _value(mask: Any, fixed: Any, moving: Any, transform: Any) -> float:
    """Mutual information (negative) of the images in one position."""
    method = _method(mask, FINE)
    method.SetInitialTransform(transform, inPlace=False)
    try:
        return float(method.MetricEvaluate(fixed, moving))
    except RuntimeError:
        return 0.0


def _image(values: np.ndarray, grid: Geometry) -> Any:
    """SimpleITK image of an array in a grid whose axes are at right angles, or nearly so."""
    import SimpleITK as sitk

    if values.dtype != np.uint8:
        # most of an image's information lies below its brightest parts: metal, bladder
        low, high = np.percentile(values, (0.5, 99.5))
        values = np.clip(values, low, max(high, low + 1e-6)).astype(np.float32)
    out = sitk.GetImageFromArray(values)
    axes = grid.affine[:3, :3][:, ::-1]
    spacing = np.linalg.norm(axes, axis=0)
    out.SetSpacing(spacing.tolist())
    out.SetOrigin(grid.affine[:3, 3].tolist())
    u, _, vt = np.linalg.svd(axes / spacing)
    out.SetDirection((u @ vt).ravel().tolist())
    return out


def _near(grid: Geometry, seen: Sighting) -> np.ndarray:
    x, y, z = np.broadcast_arrays(*grid.positions(dtype=np.float64))
    away = np.stack([x, y, z], axis=-1) - seen.centre
    return (np.linalg.norm(away, axis=-1) < RADIUS) & (away @ seen.axes[:, 2] > -BELOW)


def _in_view(grid: Geometry, volume: xr.DataArray) -> np.ndarray:
    other = geometry_of(volume)
    index = np.broadcast_arrays(*index_at(other, grid.positions(dtype=np.float64)))
    return np.logical_and.reduce(
        [(i > -0.5) & (i < n - 0.5) for i, n in zip(index, other.shape, strict=True)]
    )


def _turn(axes: np.ndarray, left: float, down: float) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    return axes @ Rotation.from_euler("zx", [left, down], degrees=True).as_matrix() @ axes.T


def _degrees(before: np.ndarray, after: np.ndarray) -> float:
    from scipy.spatial.transform import Rotation

    turn, _ = Rotation.align_vectors(after, before)
    return float(np.degrees(turn.magnitude()))
