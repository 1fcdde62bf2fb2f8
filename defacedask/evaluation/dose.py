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
    out["D0.01cc"] = float(np.percentile(dose, 100 - hot)) if hot <= 100 else float("nan")
    out |= {name: float(np.percentile(dose, 100 - part)) for name, part in _PARTS.items()}
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
        (`defacedask.dicom.dose.read_dose`), or real values in floating point.
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
    structures = list(structures)
    same = grid.close_to(geometry)
    rows = []
    before, after = _gray(original), _gray(defaced)
    for structure in structures:
        index = np.argwhere(np.asarray(structure.mask, dtype=bool)) + np.asarray(structure.start)
        place = index.astype(np.float64) if same else grid.to_index(geometry.to_world(index))
        inside = ((place >= -0.5 - 1e-9) & (place <= np.array(grid.shape) - 0.5 + 1e-9)).all(axis=1)
        outside = int((~inside).sum())
        note = "no voxels" if not len(index) else ""
        if outside:
            note = "outside the dose grid" if outside == len(index) else "partly outside the dose grid"
        place = place[inside]
        old = dvh_metrics(_sample(before, place), geometry.voxel_volume)
        new = dvh_metrics(_sample(after, place), geometry.voxel_volume)
        rows += [
            {
                "structure": structure.name,
                "metric": metric,
                "original": old[metric],
                "defaced": new[metric],
                "difference": old[metric] - new[metric],
                "voxels": len(index),
                "voxels_outside": outside,
                "note": note or ("smaller than 0.01 cc" if np.isnan(old[metric]) else ""),
            }
            for metric in METRICS
        ]
    return rows


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
