"""Pictures of a skin surface from a camera locked to the head, without a display or a GPU."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.evaluation.gl import on_render_thread, opengl
from defacedask.evaluation.surface import HEAD_BOX, skin_level, skin_surface, write_surface
from defacedask.evaluation.views import FACE, STUDY_VIEWS, Framing, View, view_grid

if TYPE_CHECKING:
    import pyvista

__all__ = [
    "FACE",
    "HEAD_BOX",
    "STUDY_VIEWS",
    "Framing",
    "View",
    "render_depth",
    "render_view",
    "render_views",
    "skin_level",
    "skin_surface",
    "view_grid",
    "write_surface",
]

#: Colours of skin and background, 0..1.
SKIN, BACKGROUND = (0.87, 0.72, 0.61), (0.35, 0.35, 0.38)


def render_view(
    surface: pyvista.PolyData,
    pose: np.ndarray | None = None,
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    light: str = "head",
    size: int = 400,
    framing: Framing = FACE,
) -> np.ndarray:
    """Draw one view; see `render_views`.

    Returns
    -------
    (size, size, 3) uint8 array
        RGB, contiguous.
    """
    return render_views(surface, pose, [View(yaw, pitch, light)], size=size, framing=framing)[0]


def render_views(
    surface: pyvista.PolyData,
    pose: np.ndarray | None = None,
    views: Sequence[View] = STUDY_VIEWS,
    *,
    size: int = 400,
    framing: Framing = FACE,
) -> list[np.ndarray]:
    """Draw several views with one upload of the surface.

    Parameters
    ----------
    surface : pyvista.PolyData
        In LPS mm, with point normals; see `skin_surface`.
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
    MissingExtraError
        If there is no OpenGL library to draw with.

    Notes
    -----
    Safe to call from any thread: drawing happens on one thread of the process.
    """
    opengl()
    return on_render_thread(_draw, surface, _rigid(pose), tuple(views), int(size), framing, False)


def render_depth(
    surface: pyvista.PolyData,
    pose: np.ndarray | None = None,
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    size: int = 400,
    framing: Framing = FACE,
) -> np.ndarray:
    """Draw an orthographic depth picture.

    Returns
    -------
    (size, size) float32 array
        mm by which the skin lies in front of the plane through the framing's focus (positive: nearer to the
        camera); NaN where there is none. A pixel is ``framing.extent / size`` mm wide.
    """
    opengl()
    flat = Framing(framing.focus, framing.extent, math.inf)
    return on_render_thread(_draw, surface, _rigid(pose), (View(yaw, pitch),), int(size), flat, True)[0]


def _rigid(pose: np.ndarray | None) -> np.ndarray:
    return np.eye(4) if pose is None else np.asarray(pose, dtype=np.float64)


_local = threading.local()


def _scene() -> Any:
    """Window, renderer, mapper, actor and lamps of the render thread, made once."""
    if not hasattr(_local, "scene"):
        import vtkmodules.vtkRenderingOpenGL2  # noqa: F401 (registers the implementation)
        from vtkmodules.vtkRenderingCore import (
            vtkActor,
            vtkLight,
            vtkPolyDataMapper,
            vtkRenderer,
            vtkRenderWindow,
        )

        window, renderer, mapper, actor = vtkRenderWindow(), vtkRenderer(), vtkPolyDataMapper(), vtkActor()
        window.SetOffScreenRendering(1)
        window.SetMultiSamples(0)  # four samples cost four times the time in software
        window.AddRenderer(renderer)
        renderer.SetBackground(*BACKGROUND)
        renderer.AutomaticLightCreationOff()
        lamps = [vtkLight(), vtkLight()]
        for lamp in lamps:
            lamp.SetLightTypeToSceneLight()
            lamp.PositionalOff()
            renderer.AddLight(lamp)
        mapper.ScalarVisibilityOff()
        actor.SetMapper(mapper)
        skin = actor.GetProperty()
        skin.SetInterpolationToGouraud()
        skin.SetColor(*SKIN)
        skin.SetAmbient(0.08)
        skin.SetDiffuse(0.92)
        skin.SetSpecular(0.05)
        skin.SetSpecularPower(10.0)
        renderer.AddActor(actor)
        _local.scene = (window, renderer, mapper, actor, lamps)
    return _local.scene


def _draw(
    surface: Any, pose: np.ndarray, views: tuple[View, ...], size: int, framing: Framing, depth: bool
) -> list[np.ndarray]:
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkFloatArray, vtkUnsignedCharArray
    from vtkmodules.vtkCommonDataModel import vtkPolyData
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    window, renderer, mapper, actor, lamps = _scene()
    window.SetSize(size, size)
    matrix = vtkMatrix4x4()
    matrix.DeepCopy(pose.ravel().tolist())
    actor.SetUserMatrix(matrix)
    mapper.SetInputData(surface)
    camera = renderer.GetActiveCamera()
    focus, room = np.array(framing.focus), 400.0
    far = 1500.0 if math.isinf(framing.distance) else framing.distance
    camera.SetParallelProjection(math.isinf(framing.distance))
    camera.SetParallelScale(framing.extent / 2)
    camera.SetViewAngle(math.degrees(2 * math.atan(framing.extent / 2 / far)))
    pictures = []
    try:
        for view in views:
            right, up, towards = view.axes()
            position = focus + far * towards
            camera.SetFocalPoint(*focus)
            camera.SetPosition(*position)
            camera.SetViewUp(*up)
            # fixed, and not reset to the surface's bounds: nothing of the camera may depend on the surface
            camera.SetClippingRange(far - room, far + room)
            key = towards if view.light == "head" else towards - right + up
            for lamp, direction, strength in (
                (lamps[0], key, 1.0 if view.light == "head" else 0.85),
                (lamps[1], towards, 0.0 if view.light == "head" else 0.25),
            ):
                lamp.SetFocalPoint(*focus)
                lamp.SetPosition(*(focus + far * direction / np.linalg.norm(direction)))
                lamp.SetIntensity(strength)
            window.Render()
            if depth:
                buffer: Any = vtkFloatArray()
                window.GetZbufferData(0, 0, size - 1, size - 1, buffer)
                z = vtk_to_numpy(buffer).reshape(size, size)[::-1]
                mm = room - 2 * room * z
                pictures.append(np.where(z < 1.0, mm, np.nan).astype(np.float32))
            else:
                buffer = vtkUnsignedCharArray()
                window.GetPixelData(0, 0, size - 1, size - 1, 0, buffer, 0)
                pictures.append(vtk_to_numpy(buffer).reshape(size, size, 3)[::-1].copy())
    finally:
        mapper.SetInputData(vtkPolyData())  # let the surface go
    return pictures
