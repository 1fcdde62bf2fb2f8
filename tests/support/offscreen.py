"""Off-screen OpenGL for VTK, found once, in a process that may crash.

VTK ends the process with a segmentation fault where it finds no library to draw with.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys

__all__ = ["NoOpenGL", "opengl"]

_VARIABLE = "VTK_DEFAULT_OPENGL_WINDOW"
#: Windows that need no display: hardware or Mesa through EGL, then Mesa's software renderer alone.
_WINDOWS = ("vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow")
_PROBE = """
from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper, vtkRenderer, vtkRenderWindow
import vtkmodules.vtkRenderingOpenGL2
from vtkmodules.vtkCommonCore import vtkUnsignedCharArray
from vtkmodules.vtkFiltersSources import vtkSphereSource
window = vtkRenderWindow()
window.SetOffScreenRendering(1)
window.SetSize(16, 16)
renderer = vtkRenderer()
window.AddRenderer(renderer)
source, mapper, actor = vtkSphereSource(), vtkPolyDataMapper(), vtkActor()
mapper.SetInputConnection(source.GetOutputPort())
actor.SetMapper(mapper)
renderer.AddActor(actor)
window.Render()
pixels = vtkUnsignedCharArray()
window.GetPixelData(0, 0, 15, 15, 0, pixels, 0)
middle = [pixels.GetValue(3 * (8 * 16 + 8) + k) for k in range(3)]
print("drawn" if max(middle) > 0 else "black")
"""


class NoOpenGL(Exception):
    """There is nothing to draw with."""


@functools.lru_cache(maxsize=1)
def opengl() -> str:
    """Find a way to draw without a display and make VTK use it.

    Returns
    -------
    str
        Class name of the VTK window, which is also left in the environment for child processes.

    Raises
    ------
    NoOpenGL
        If nothing works.
    """
    chosen = os.environ.get(_VARIABLE)
    said = ""
    for window in (chosen,) if chosen else _WINDOWS:
        try:
            result = subprocess.run(
                [sys.executable, "-c", _PROBE],
                env={**os.environ, _VARIABLE: window},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
            continue
        if result.returncode == 0 and result.stdout.strip().endswith("drawn"):
            os.environ[_VARIABLE] = window
            return window
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        said = lines[-1] if lines else f"ended with code {result.returncode}"
    raise NoOpenGL(f"VTK cannot draw on this machine: there is no off-screen OpenGL ({said}).")
