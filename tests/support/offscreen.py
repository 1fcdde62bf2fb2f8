"""Off-screen OpenGL for VTK: found once, in a process that may crash, and used from one thread.

VTK ends the process with a segmentation fault where it finds no library to draw with, and an OpenGL context
belongs to the thread that made it while Dask runs tasks on any thread. So the first use asks a child process
what works, and everything is drawn on one thread of this process.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["NoOpenGL", "on_render_thread", "opengl"]

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

_lock = threading.Lock()
_thread: ThreadPoolExecutor | None = None
T = TypeVar("T")


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


def on_render_thread(function: Callable[..., T], *args: object, **kwargs: object) -> T:
    """Run a function on this process's one render thread and wait for it."""
    global _thread
    with _lock:
        if _thread is None:
            _thread = ThreadPoolExecutor(1, thread_name_prefix="defacedask-render")
        thread = _thread
    return thread.submit(function, *args, **kwargs).result()
