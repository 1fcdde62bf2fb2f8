"""Pictures by VTK: another renderer, which shares nothing with the one that is tested; and depth pictures of both."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from defacedask.faces import render
from defacedask.faces.software import rasterise
from defacedask.faces.views import AMBIENT, BACKGROUND, DIFFUSE, FACE, SKIN, Framing, View
from support.offscreen import opengl

__all__ = ["render_depth", "vtk_depth", "vtk_views"]


def vtk_views(
    surface: Any, views: Sequence[View], *, size: int = 400, framing: Framing = FACE
) -> list[np.ndarray]:
    """What `defacedask.faces.render.render_views` draws, of a head in its own frame, by VTK.

    Raises
    ------
    NoOpenGL
        If there is no library to draw with.
    """
    opengl()
    return _draw(surface, tuple(views), size, framing)


def vtk_depth(surface: Any, *, size: int = 400, framing: Framing = FACE) -> np.ndarray:
    """Depth from the front; see `render_depth`."""
    opengl()
    flat = Framing(framing.focus, framing.extent, math.inf)
    return _draw(surface, (View(),), size, flat, depth=True)[0]


def render_depth(
    surface: Any, *, yaw: float = 0.0, pitch: float = 0.0, size: int = 400, framing: Framing = FACE
) -> np.ndarray:
    """Orthographic depth by the product's rasteriser.

    (size, size) float32: mm by which the skin lies in front of the plane through the framing's focus, NaN where
    there is none. A pixel is ``framing.extent / size`` mm wide.
    """
    view, flat = View(yaw, pitch), Framing(framing.focus, framing.extent, math.inf)
    points, _, faces = render._arrays(surface, np.eye(4))
    seen = render._project(points, view, flat, size)
    return rasterise(seen, faces, seen[:, 2], size)[0]


@functools.cache
def _scene() -> Any:
    """Window, renderer, mapper and lamps, made once."""
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
    return window, renderer, mapper, lamps


def _draw(
    surface: Any, views: tuple[View, ...], size: int, framing: Framing, depth: bool = False
) -> list[np.ndarray]:
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkFloatArray, vtkUnsignedCharArray
    from vtkmodules.vtkCommonDataModel import vtkPolyData

    window, renderer, mapper, lamps = _scene()
    window.SetSize(size, size)
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
