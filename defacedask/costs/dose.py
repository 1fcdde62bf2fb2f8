"""What defacing did to the dose: histogram metrics of every structure, original against defaced grid."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, units_of

__all__ = ["METRICS", "compare_dose", "dvh_metrics"]

_PARTS = {"D2": 2.0, "D50": 50.0, "D95": 95.0, "D98": 98.0}
_LEVELS = (5, 10, 20, 30, 40, 50, 60, 70)
#: Metrics, in Gy (D...) or percent of the structure's volume (V...Gy: at least that dose).
METRICS = ("Dmean", "Dmin", "Dmax", "D0.01cc", *_PARTS, *(f"V{level}Gy" for level in _LEVELS))
_HOT_MM3 = 10.0  # 0.01 cc


def dvh_metrics(dose: np.ndarray, voxel_volume: float) -> dict[str, float]:
    """Dose-volume metrics of one structure from the dose at its voxel centres.

    Parameters
    ----------
    dose : (n,) array
        Gy.
    voxel_volume : float
        mm³.

    Returns
    -------
    dict
        A float for each of `METRICS`; all nan without a voxel. ``Dx`` is the least dose of the hottest x % of
        the volume (linear between voxels), ``D0.01cc`` that of the hottest 0.01 cm³ (nan if the structure is
        smaller than that), ``VxGy`` the percentage of the volume that gets at least x Gy.
    """
    dose = np.sort(np.asarray(dose, dtype=np.float64))
    if not len(dose):
        return dict.fromkeys(METRICS, float("nan"))
    volume = len(dose) * voxel_volume
    out = {"Dmean": float(dose.mean()), "Dmin": float(dose[0]), "Dmax": float(dose[-1])}
    hot = 100.0 * _HOT_MM3 / volume
    at = [100 - part for part in (min(hot, 100.0), *_PARTS.values())]
    hottest, *others = (float(value) for value in np.percentile(dose, at))
    out["D0.01cc"] = hottest if hot <= 100 else float("nan")
    out |= dict(zip(_PARTS, others, strict=True))
    for level in _LEVELS:
        # the tolerance keeps a plateau at exactly the level inside, whatever the interpolation's last bits
        below = int(np.searchsorted(dose, level * (1 - 1e-9)))
        out[f"V{level}Gy"] = 100.0 * (len(dose) - below) / len(dose)
    return out


def compare_dose(
    original: Any, defaced: Any, structures: Iterable[Any], geometry: Geometry
) -> list[dict[str, Any]]:
    """Dose metrics of each structure, original and defaced.

    Parameters
    ----------
    original, defaced : xarray.DataArray
        Dose volumes in Gy, on one grid: stored integers with their slope
        (`defacedask.io.dicom.dose.read_dose`), or real values in floating point.
    structures : iterable of Structure
        With ``name``, ``start`` and ``mask``.
    geometry : Geometry
        Of the image the structures lie on; need not be the dose grid. The dose is interpolated linearly at
        every voxel centre of a structure. Voxel centres outside the dose grid (beyond the outer faces of its
        voxels) have no dose: they are left out, counted and named.

    Returns
    -------
    list of dict
        One row a (structure, metric): structure, metric, original, defaced, difference (original - defaced,
        as the percent changes of radiomics: negative means increased by defacing),
        voxels, voxels_outside, note.

    Raises
    ------
    InputError
        If the two doses differ in grid or units, the units are not Gy, or the frames of reference differ.
    """
    grid = geometry_of(original)
    for dose in (original, defaced):
        if units_of(dose) != "Gy":
            raise InputError(f"this dose is in {units_of(dose) or 'unknown units'}, not in Gy.")
    if not grid.close_to(geometry_of(defaced)):
        raise InputError("the original and the defaced dose are not on the same grid.")
    if grid.frame_of_reference and geometry.frame_of_reference not in ("", grid.frame_of_reference):
        raise InputError("the dose and the structures are in different frames of reference.")
    here = _Dose(grid, geometry, _gray(original), _gray(defaced))
    rows = []
    for structure in structures:
        old, new, voxels, outside = here.at(np.asarray(structure.mask, dtype=bool), structure.start)
        note = "no voxels" if not voxels else ""
        if outside:
            note = "outside the dose grid" if outside == voxels else "partly outside the dose grid"
        before = dvh_metrics(old, geometry.voxel_volume)
        after = before if new is old else dvh_metrics(new, geometry.voxel_volume)
        rows += [
            {
                "structure": structure.name,
                "metric": metric,
                "original": before[metric],
                "defaced": after[metric],
                "difference": before[metric] - after[metric],
                "voxels": voxels,
                "voxels_outside": outside,
                "note": note or ("smaller than 0.01 cc" if np.isnan(before[metric]) else ""),
            }
            for metric in METRICS
        ]
    return rows


class _Dose:
    """Two doses on one grid, read at the voxel centres of structures on another.

    Where the axes of both grids are parallel, a whole box is interpolated axis by axis; elsewhere voxel by voxel.
    """

    def __init__(self, grid: Geometry, geometry: Geometry, before: np.ndarray, after: np.ndarray) -> None:
        self.grid, self.geometry, self.before, self.after = grid, geometry, before, after
        self.changed = before != after
        to_dose = np.linalg.inv(grid.affine) @ geometry.affine
        scale = np.diag(to_dose)[:3]
        # mm by which the far corner would be missed
        bent = np.abs(to_dose[:3, :3] - np.diag(scale)).sum(axis=0) * np.array(geometry.shape)
        self.parallel = bool(bent.max() < 1e-9)
        self.scale, self.first = scale, to_dose[:3, 3]

    def at(self, mask: np.ndarray, start: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, int, int]:
        """Dose before and after (the same array where it is the same), voxels, and how many have no dose."""
        voxels = int(np.count_nonzero(mask))
        if not voxels:
            return np.zeros(0), np.zeros(0), 0, 0
        read = self._along_axes if self.parallel else self._by_voxel
        return read(mask, start, voxels)

    def _along_axes(
        self, mask: np.ndarray, start: tuple[int, int, int], voxels: int
    ) -> tuple[np.ndarray, np.ndarray, int, int]:
        axes, used = [], mask
        for axis, n in enumerate(self.grid.shape):
            place = self.first[axis] + self.scale[axis] * (start[axis] + np.arange(mask.shape[axis]))
            inside = _inside(place, n)
            if not inside.all():
                along = [1, 1, 1]
                along[axis] = len(inside)
                used = used & inside.reshape(along)
            place = np.clip(place, 0, n - 1)
            low = np.minimum(place.astype(int), max(n - 2, 0))
            axes.append((low, np.minimum(low + 1, n - 1), place - low))
        old = _interpolated(self.before, axes)[used]
        near = tuple(slice(low.min(), high.max() + 1) for low, high, _ in axes)
        new = _interpolated(self.after, axes)[used] if self.changed[near].any() else old
        return old, new, voxels, voxels - len(old)

    def _by_voxel(
        self, mask: np.ndarray, start: tuple[int, int, int], voxels: int
    ) -> tuple[np.ndarray, np.ndarray, int, int]:
        place = self.grid.to_index(self.geometry.to_world(np.argwhere(mask) + np.asarray(start)))
        inside = np.ones(len(place), bool)
        for axis, n in enumerate(self.grid.shape):
            inside &= _inside(place[:, axis], n)
        place = place[inside]
        old = _sample(self.before, place)
        new = _sample(self.after, place) if self.changed.any() else old
        return old, new, voxels, voxels - len(old)


def _inside(place: np.ndarray, size: int) -> np.ndarray:
    """Indices along one axis that lie within the outer faces of the grid's voxels."""
    return (place >= -0.5 - 1e-9) & (place <= size - 0.5 + 1e-9)


def _interpolated(dose: np.ndarray, axes: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
    """Linear along one axis after the other, float64; for each axis two neighbours and the part of the second."""
    for axis, (low, high, part) in enumerate(axes):
        along = [1, 1, 1]
        along[axis] = len(part)
        one, two = dose.take(low, axis=axis), dose.take(high, axis=axis)
        two -= one
        two *= part.reshape(along)
        dose = np.add(one, two, out=two)
    return dose


def _gray(volume: Any) -> np.ndarray:
    """Dose in Gy, float64 (a 32-bit stored dose does not fit float32)."""
    if volume.dtype.kind == "f":
        return np.asarray(volume.data, dtype=np.float64)
    slope = np.asarray(volume.coords["slope"].values, dtype=np.float64)[:, None, None]
    intercept = np.asarray(volume.coords["intercept"].values, dtype=np.float64)[:, None, None]
    return np.asarray(volume.data).astype(np.float64) * slope + intercept


def _sample(dose: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Dose at continuous indices, linear; up to the outer faces the outermost value holds."""
    if not len(place):
        return np.zeros(0)
    from scipy.ndimage import map_coordinates

    return map_coordinates(dose, place.T, order=1, mode="nearest")
