"""Which array library a block belongs to: NumPy, or CuPy if the block already lives on a GPU."""

from __future__ import annotations

import sys
import weakref
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["constant", "namespace", "ndimage_of", "to_numpy"]

#: Arrays of plans and their copies: (id of the array, dtype, device) -> (the array, namespace, its copy there).
_COPIES: dict[tuple[Any, ...], tuple[weakref.ref[np.ndarray], ModuleType, Any]] = {}


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


def constant(array: np.ndarray, xp: Any = np, dtype: Any = None) -> Any:
    """A small array of a plan, which no one changes, in a namespace.

    A copy on the device, or of another type, is made once and kept as long as the array lives: not once a block.

    Parameters
    ----------
    array : array
        On the host.
    xp : module
    dtype : dtype, optional
        Of the answer; by default the array's.
    """
    dtype = array.dtype if dtype is None else np.dtype(dtype)
    if xp is np and array.dtype == dtype:
        return array
    key = (id(array), dtype, -1 if xp is np else xp.cuda.runtime.getDevice())
    known = _COPIES.get(key)
    if known is None or known[0]() is not array or known[1] is not xp:
        copy = xp.asarray(np.ascontiguousarray(array, dtype=dtype))
        known = _COPIES[key] = weakref.ref(array, lambda _: _COPIES.pop(key, None)), xp, copy
    return known[2]
