"""Pictures of a skin surface from a camera locked to the head, without a display or a GPU.

NumPy alone draws them: that needs no OpenGL library, runs in any thread and process, and gives the same bytes on
every machine of a cluster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from defacedask.errors import InputError
from defacedask.faces.software import rasterise
from defacedask.faces.surface import HEAD_BOX, skin_level, skin_surface, write_surface
from defacedask.faces.views import (
    AMBIENT,
    BACKGROUND,
    DIFFUSE,
    FACE,
    SKIN,
    STUDY_VIEWS,
    Framing,
    View,
    view_grid,
)

if TYPE_CHECKING:
    import pyvista

__all__ = [
    "FACE",
    "HEAD_BOX",
    "STUDY_VIEWS",
    "Framing",
    "View",
    "render_view",
    "render_views",
    "skin_level",
    "skin_surface",
    "view_grid",
    "write_surface",
]


def render_view(
    surface: pyvista.PolyData,
    pose: np.ndarray | None = None,
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    light: str = "studio",
    size: int = 400,
    framing: Framing = FACE,
) -> np.ndarray:
    """Draw one view; see `render_views`.

    Returns
    -------
    (size, size, 3) uint8 array
        RGB, contiguous.
    """
    view = View(yaw, pitch, light)
    return render_views(surface, pose, [view], size=size, framing=framing)[0]


def render_views(
    surface: pyvista.PolyData,
    pose: np.ndarray | None = None,
    views: Sequence[View] = STUDY_VIEWS,
    *,
    size: int = 400,
    framing: Framing = FACE,
) -> list[np.ndarray]:
    """Draw several views of a surface.

    Parameters
    ----------
    surface : pyvista.PolyData
        Triangles in LPS mm, with point normals; see `skin_surface`.
    pose : (4, 4) array, optional
        Rigid map from world LPS to the head frame (axes L, P, S of the upright head). Default: identity.
    views : sequence of View
    size : int
        Width and height, pixels.
    framing : Framing
        What part of the head frame fills the picture.

    Returns
    -------
    list of (size, size, 3) uint8 arrays
        RGB, contiguous; row 0 is the top, the patient's left is to the right in a frontal view.

    Raises
    ------
    InputError
        If the pose is not a rigid map, or the surface has no normals.

    Notes
    -----
    Safe to call from any thread.
    """
    matrix = _rigid(pose)
    points, normals, faces = _arrays(surface, matrix)
    pictures = []
    for view in views:
        seen = _project(points, view, framing, size)
        bright, _ = rasterise(seen, faces, _shade(normals, view), size)
        skin = bright[..., None] * np.array(SKIN, np.float32)
        colour = np.where(np.isnan(skin), np.array(BACKGROUND, np.float32), skin)
        pictures.append((np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8))
    return pictures


def _rigid(pose: np.ndarray | None) -> np.ndarray:
    matrix = np.eye(4) if pose is None else np.asarray(pose, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-4):
        raise InputError(
            "the pose of a head must be a rigid 4 x 4 map from patient LPS mm to the head frame."
        )
    return matrix


def _turn(vectors: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Rotate (n, 3) vectors term by term, so that every machine gives the same bits (a matrix product need not)."""
    x, y, z = (np.asarray(vectors[:, k], dtype=np.float64) for k in range(3))
    return np.stack([row[0] * x + row[1] * y + row[2] * z for row in matrix[:3, :3]], axis=1)


def _arrays(surface: pyvista.PolyData, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (mm) and normals in the head frame, and the triangles."""
    if surface.n_cells == 0:
        return np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    if "Normals" not in surface.point_data or not surface.is_all_triangles:
        raise InputError("the surface must be triangles with point normals.", "Make it with skin_surface.")
    points = _turn(np.asarray(surface.points), pose) + pose[:3, 3]
    return points, _turn(np.asarray(surface.point_data["Normals"]), pose), np.asarray(surface.regular_faces)


def _project(points: np.ndarray, view: View, framing: Framing, size: int) -> np.ndarray:
    """Column, row (pixel centres at whole numbers) and mm in front of the focus."""
    right, up, near = _turn(points - np.array(framing.focus), np.array(view.axes())).T
    scale = size / framing.extent
    if not math.isinf(framing.distance):
        scale = scale / np.maximum(1.0 - near / framing.distance, 1e-3)
    middle = (size - 1) / 2
    return np.stack([middle + right * scale, middle - up * scale, near], axis=1)


def _shade(normals: np.ndarray, view: View) -> np.ndarray:
    """Brightness of each vertex: a little everywhere, the rest by Lambert's law, both sides lit alike."""
    lamps = view.lamps()
    directions = np.array([view.axes()[2], *(direction for direction, _ in lamps)])
    cosines = [d[0] * normals[:, 0] + d[1] * normals[:, 1] + d[2] * normals[:, 2] for d in directions]
    side = np.where(cosines[0] < 0, -1.0, 1.0)
    total = np.full(len(normals), AMBIENT)
    for cosine, (_, strength) in zip(cosines[1:], lamps, strict=True):
        total += DIFFUSE * strength * np.maximum(side * cosine, 0.0)
    return total
