"""Which array library a block belongs to: NumPy, or CuPy if the block already lives on a GPU."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["namespace", "ndimage_of", "to_numpy"]


def namespace(*arrays: Any) -> ModuleType:
    """Return ``cupy`` if any array is CuPy's, else ``numpy``; never imports CuPy by itself."""
    cupy = sys.modules.get("cupy")
    if cupy is not None and any(isinstance(a, cupy.ndarray) for a in arrays):
        return cupy
    return np


def ndimage_of(xp: ModuleType) -> ModuleType:
    """`scipy.ndimage` or its CuPy twin for a namespace."""
    if xp is np:
        import scipy.ndimage

        return scipy.ndimage
    import cupyx.scipy.ndimage

    return cupyx.scipy.ndimage


def to_numpy(array: Any) -> np.ndarray:
    """Copy a block to the host if it is on a GPU."""
    return array.get() if hasattr(array, "get") and namespace(array) is not np else np.asarray(array)
