"""The skin as a triangle surface in patient LPS mm, from any grid and any modality.

Original and defaced images must give comparable surfaces, so everything that could differ between them
(level, crop, smoothing, what is dropped) is an argument here and is decided on the original alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.boxes import bounds
from defacedask.errors import InputError, OutputError, RefusedError
from defacedask.geometry import Geometry
from defacedask.modality import modality_of

if TYPE_CHECKING:
    import pyvista

__all__ = ["HEAD_BOX", "box_in", "crop_to_box", "regrid", "skin_level", "skin_surface", "write_surface"]

#: Part of the head frame (mm along L, P, S from its origin, low and high corner) that is contoured: the whole
#: head with room for a nose, a neck and a body outline added in front of it, and no shoulders.
HEAD_BOX = ((-115.0, -170.0, -190.0), (115.0, 150.0, 140.0))


def skin_level(modality: str, values: Any) -> float:
    """Value that separates air from skin.

    Parameters
    ----------
    modality : str
        CT, MR or PT.
    values : array
        Real values (HU, arbitrary, SUV or Bq/mL) of the **original**; the same level then serves its defaced
        versions.

    Returns
    -------
    float
        CT: -300 HU: low enough to keep thin parts such as nostrils, high enough to leave hair and
        blankets out. MR: half of the threshold
        that best separates air from tissue in two classes (Otsu 1979) of the square-rooted values, because
        skin and fat-suppressed tissue are darker than the mean of tissue. PT: the same, but a quarter, since
        the skin takes up little.

    Raises
    ------
    InputError
        For another modality, or values without contrast.
    """
    about = modality_of(modality)
    if about.skin is not None:
        return about.skin
    from skimage.filters import threshold_otsu

    sample = np.asarray(values, dtype=np.float32).ravel()
    sample = sample[:: max(1, sample.size // 2_000_000)]
    sample = sample[np.isfinite(sample)]
    top = float(np.percentile(sample, 99.5)) if sample.size else 0.0
    sample = np.sqrt(np.clip(sample, 0.0, top))
    if not sample.size or sample.max() <= 0 or sample.max() == sample.min():
        raise InputError("the image has no contrast: no skin level can be found.")
    tissue = float(threshold_otsu(sample)) ** 2
    return tissue * about.skin_part


def skin_surface(
    values: Any,
    geometry: Geometry,
    *,
    level: float,
    drop: Any = None,
    smooth_mm: float | None = None,
    pose: np.ndarray | None = None,
    box: tuple[tuple[float, float, float], tuple[float, float, float]] | None = HEAD_BOX,
    air: float | None = None,
    spacing_mm: float = 2.0,
    min_volume_ml: float = 0.0,
) -> pyvista.PolyData:
    """Contour the skin.

    Parameters
    ----------
    values : (z, y, x) array
        Real values (HU, SUV, Gy, ...), or a bool mask.
    geometry : Geometry
        Its grid: any orientation, oblique, sheared, anisotropic.
    level : float
        Iso value, in the units of ``values``; see `skin_level`.
    drop : (z, y, x) bool array, optional
        What is not body in the original (couch, headrest, tubes): read as air.
    smooth_mm : float, optional
        Standard deviation of a Gaussian blur, mm. Default: 1.2 mm, and half the largest spacing on coarser
        grids (2.5 mm on 5 mm), which hides the steps between slices and not the nose.
    pose : (4, 4) array, optional
        Rigid map from world LPS to the head frame. With it only ``box`` is contoured.
    box : two points, optional
        Low and high corner in the head frame, mm. None: everything.
    air : float, optional
        What ``drop`` and the outside of the grid read. Default: as far below the level as the smallest value
        (-1000 on CT).
    spacing_mm : float
        Sampling of the surface: finer grids are averaged and coarser ones (by more than half) interpolated
        cubically, to about this.
    min_volume_ml : float
        Leave out separate pieces smaller than this.

    Returns
    -------
    pyvista.PolyData
        Triangles in LPS mm with outward point normals (point data ``Normals``); may be empty of faces if
        nothing reaches the level.

    Raises
    ------
    InputError
        If shapes do not agree.
    RefusedError
        If the box does not meet the grid: the pose cannot be that of this image.
    """
    values = np.asarray(values)
    if tuple(values.shape) != geometry.shape:
        raise InputError(f"voxels {tuple(values.shape)} do not fit the grid {geometry.shape}.")
    if pose is not None and box is not None:
        values, geometry, drop = crop_to_box(values, geometry, drop, np.asarray(pose), box)
    block = values.astype(np.float32)
    if not np.isfinite(block).all():
        block = np.nan_to_num(block, nan=float(np.nanmin(block)))
    if air is None:
        air = min(float(block.min()), level - 1e-3 * max(1.0, abs(level)))
    if drop is not None:
        block[np.asarray(drop)] = air  # ``block`` is a copy
    # A blur moves the surface where the two sides of the edge differ in contrast; equal spans keep it in
    # place, and stop metal and bone from bulging through the skin.
    span = level - air
    np.clip(block, level - span, level + span, out=block)
    if smooth_mm is None:
        smooth_mm = max(1.2, 0.5 * max(geometry.spacing))
    block, geometry = regrid(block, geometry, spacing_mm)
    block, geometry = _around(block, geometry, level, smooth_mm)
    block, geometry = _pad(block, geometry, level - span)
    if smooth_mm > 0:
        from scipy.ndimage import gaussian_filter

        sigma = [smooth_mm / s for s in geometry.spacing]
        gaussian_filter(block, sigma, output=block, mode="nearest", truncate=3.0)
    if min_volume_ml > 0:
        block = _without_small_pieces(block, level, air, min_volume_ml * 1000.0 / geometry.voxel_volume)
    return _contour(block, geometry, level)


def write_surface(surface: pyvista.PolyData, path: str | Path) -> Path:
    """Write a surface as PLY, VTP or STL (by its suffix), in LPS mm, readable by 3D Slicer.

    3D Slicer takes model files as LPS unless their header says otherwise. A surface identifies the person.

    Raises
    ------
    OutputError
        For another suffix, or if the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".ply", ".vtp", ".stl"):
        raise OutputError(f"a surface cannot be written as {path.suffix!r}.", "Use .ply, .vtp or .stl.")
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist.", "Make it first.")
    try:
        surface.save(str(path))
    except OSError as error:
        raise OutputError(f"the surface cannot be written to {path} ({error}).") from error
    return path


# --- steps


def crop_to_box(
    values: np.ndarray, geometry: Geometry, drop: Any, pose: np.ndarray, box: Any
) -> tuple[np.ndarray, Geometry, Any]:
    """Keep the index box that holds a box of the head frame."""
    part = box_in(geometry, pose, box)
    block = geometry.block([s.start for s in part], [s.stop for s in part])
    return values[part], block, None if drop is None else np.asarray(drop)[part]


def box_in(geometry: Geometry, pose: np.ndarray, box: Any) -> tuple[slice, ...]:
    """Index box of a grid that holds a box of the head frame.

    Parameters
    ----------
    geometry : Geometry
    pose : (4, 4) array
        World LPS mm to the head frame.
    box : two points
        Low and high corner in the head frame, mm.

    Raises
    ------
    RefusedError
        If the box does not meet the grid.
    """
    low, high = np.asarray(box, dtype=np.float64)
    corners = np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, -1).T
    inverse = np.linalg.inv(pose)
    index = geometry.to_index(corners @ inverse[:3, :3].T + inverse[:3, 3])
    start = np.maximum(0, np.floor(index.min(axis=0))).astype(int)
    stop = np.minimum(geometry.shape, np.ceil(index.max(axis=0)) + 1).astype(int)
    if (stop - start < 2).any():
        raise RefusedError("the head's pose lies outside the image.", "Check the head's quality figures.")
    return tuple(slice(a, b) for a, b in zip(start.tolist(), stop.tolist(), strict=True))


def regrid(
    block: np.ndarray, geometry: Geometry, target: float, interpolate: bool = True
) -> tuple[np.ndarray, Geometry]:
    """Average by whole factors where finer than the target (mm), interpolate cubically where much coarser."""
    factors = [max(1, int(target / s + 0.25)) for s in geometry.spacing]
    factors = [f if n >= 2 * f else 1 for f, n in zip(factors, block.shape, strict=True)]
    if max(factors) > 1:
        fz, fy, fx = factors
        nz, ny, nx = (n // f for n, f in zip(block.shape, factors, strict=True))
        # rows and slices by strided sums, which is several times faster than a mean over a reshaped view
        part = block[: nz * fz, : ny * fy, : nx * fx]
        for axis, factor in enumerate(factors):
            if factor > 1:
                sums = [part[(slice(None),) * axis + (slice(k, None, factor),)] for k in range(factor)]
                total = sums[0].copy()
                for other in sums[1:]:
                    total += other
                total /= factor
                part = total
        affine = geometry.affine.copy()
        affine[:3, 3] = geometry.to_world([(f - 1) / 2 for f in factors])
        affine[:3, :3] = geometry.affine[:3, :3] * np.array(factors)
        block, geometry = np.ascontiguousarray(part), Geometry(part.shape, affine)
    zooms = [round(s / target) if interpolate and s > 1.5 * target else 1 for s in geometry.spacing]
    if max(zooms) > 1:
        from scipy.ndimage import spline_filter1d

        for axis, zoom in enumerate(zooms):
            n = block.shape[axis]
            if zoom == 1 or n < 2:
                continue
            smooth = np.moveaxis(
                spline_filter1d(block, order=3, axis=axis, output=np.float32, mode="mirror"), axis, 0
            )
            block = np.moveaxis(_cubic(smooth, zoom), 0, axis)
        block = np.ascontiguousarray(block)
        affine = geometry.affine.copy()
        affine[:3, :3] = geometry.affine[:3, :3] / np.array(zooms)
        geometry = Geometry(block.shape, affine)
    return block, geometry


def _cubic(coefficients: np.ndarray, zoom: int) -> np.ndarray:
    """Cubic B-spline values along axis 0 at every 1/zoom, between the first and the last sample."""
    n = len(coefficients)
    padded = np.concatenate([coefficients[1:2], coefficients, coefficients[-2:-1]])
    out = np.empty(((n - 1) * zoom + 1, *coefficients.shape[1:]), np.float32)
    for k in range(zoom):
        t = k / zoom
        weights = (
            (1 - t) ** 3 / 6,
            2 / 3 - t**2 + t**3 / 2,
            2 / 3 - (1 - t) ** 2 + (1 - t) ** 3 / 2,
            t**3 / 6,
        )
        count = n if k == 0 else n - 1
        part = np.float32(weights[0]) * padded[:count]
        for j in (1, 2, 3):
            if weights[j]:
                part += np.float32(weights[j]) * padded[j : j + count]
        out[k::zoom] = part
    return out


def _around(
    block: np.ndarray, geometry: Geometry, level: float, smooth_mm: float
) -> tuple[np.ndarray, Geometry]:
    """Box that holds all that reaches the level, and as much around as the blur reaches: no surface lies beyond."""
    box = bounds(block >= level)
    if box is None:
        return block, geometry
    reach = [int(3.0 * smooth_mm / s + 0.5) + 2 for s in geometry.spacing]
    box = tuple(
        slice(max(s.start - r, 0), min(s.stop + r, n))
        for s, r, n in zip(box, reach, block.shape, strict=True)
    )
    return block[box], geometry.block([s.start for s in box], [s.stop for s in box])


def _pad(block: np.ndarray, geometry: Geometry, air: float) -> tuple[np.ndarray, Geometry]:
    """Close the surface where the body leaves the field of view."""
    affine = geometry.affine.copy()
    affine[:3, 3] = geometry.to_world((-1, -1, -1))
    block = np.pad(block, 1, constant_values=air)
    return block, Geometry(block.shape, affine)


def _without_small_pieces(block: np.ndarray, level: float, air: float, voxels: float) -> np.ndarray:
    from scipy.ndimage import find_objects, label

    pieces, count = label(block >= level)
    if count < 2:
        return block
    sizes = np.bincount(pieces.ravel())
    small = np.flatnonzero(sizes < voxels)
    boxes = find_objects(pieces)
    for piece in small[small > 0]:
        # one voxel around as well: the iso surface lies between a piece and its neighbours
        box = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in boxes[piece - 1])
        alone = (pieces[box] == piece) | (pieces[box] == 0)
        block[box][alone] = np.minimum(block[box][alone], air)
    return block


def _contour(block: np.ndarray, geometry: Geometry, level: float) -> pyvista.PolyData:
    import pyvista
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    nz, ny, nx = block.shape
    image = vtkImageData()
    image.SetDimensions(nx, ny, nz)
    scalars = numpy_to_vtk(np.ascontiguousarray(block).ravel(), deep=False)
    scalars.SetName("values")
    image.GetPointData().SetScalars(scalars)
    contour = vtkFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, float(level))
    contour.ComputeNormalsOn()
    contour.ComputeGradientsOff()
    contour.ComputeScalarsOff()
    contour.Update()
    surface = pyvista.wrap(contour.GetOutput())
    if surface.n_points == 0:
        return surface
    index = vtk_to_numpy(contour.GetOutput().GetPoints().GetData())[:, ::-1]
    normals = np.asarray(surface.point_data["Normals"])[:, ::-1] @ np.linalg.inv(geometry.affine[:3, :3])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    surface.points = geometry.to_world(index).astype(np.float32)
    surface.point_data["Normals"] = normals.astype(np.float32)
    surface.point_data.active_normals_name = "Normals"
    if np.linalg.det(geometry.affine[:3, :3][:, ::-1]) < 0:
        # a mirrored index frame turns the triangles inside out
        surface.flip_faces(inplace=True)
    return surface
