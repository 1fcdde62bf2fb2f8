"""Draw a surface with VTK, off screen: for comparison with the software renderer, and where a GPU is at hand."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from defacedask.faces.gl import on_render_thread, opengl
from defacedask.faces.views import AMBIENT, BACKGROUND, DIFFUSE, SKIN, Framing, View

__all__ = ["draw"]


def draw(
    surface: Any, pose: np.ndarray, views: tuple[View, ...], size: int, framing: Framing, depth: bool = False
) -> list[np.ndarray]:
    """Draw views (RGB) or depth pictures; see `defacedask.faces.render`.

    Raises
    ------
    MissingExtraError
        If there is no OpenGL library to draw with.
    """
    opengl()
    return on_render_thread(_draw, surface, pose, views, size, framing, depth)


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
        skin.SetAmbient(AMBIENT)
        skin.SetDiffuse(DIFFUSE)
        skin.SetSpecular(0.0)
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
            _, up, towards = view.axes()
            position = focus + far * towards
            camera.SetFocalPoint(*focus)
            camera.SetPosition(*position)
            camera.SetViewUp(*up)
            # fixed, and not reset to the surface's bounds: nothing of the camera may depend on the surface
            camera.SetClippingRange(far - room, far + room)
            shining = view.lamps()
            for k, lamp in enumerate(lamps):
                direction, strength = shining[k] if k < len(shining) else (towards, 0.0)
                lamp.SetFocalPoint(*focus)
                lamp.SetPosition(*(focus + far * direction))
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
