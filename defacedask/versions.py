"""Versions of everything a result may depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["versions"]

PACKAGES = (
    "defacedask",
    "dask",
    "distributed",
    "xarray",
    "zarr",
    "numpy",
    "scipy",
    "SimpleITK",
    "pydicom",
    "pyradiomics",
    "face_recognition",
    "face_recognition_models",
    "dlib-bin",
    "dlib",
    "onnx",
    "onnxruntime",
    "vtk",
    "pyvista",
    "scikit-image",
    "pandas",
    "cupy-cuda12x",
    "cupy-cuda13x",
)


def versions() -> dict[str, str]:
    """Name -> version of Python and the packages that are installed."""
    out = {"python": platform.python_version(), "platform": platform.platform()}
    for name in PACKAGES:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out
