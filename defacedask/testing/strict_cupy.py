"""A stand-in for CuPy on machines without a GPU, as strict as CuPy about mixing with NumPy.

Its arrays hold NumPy's and give the same numbers. As CuPy's do, they refuse to become NumPy arrays unasked, and to be
reckoned with NumPy arrays of one or more dimensions or indexed by them; numbers and NumPy scalars are fine. Sums and
the like of a whole array stay arrays.
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["ndarray", "strict_cupy"]

_METHODS = [
    "all",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "astype",
    "clip",
    "copy",
    "cumsum",
    "dot",
    "fill",
    "flatten",
    "max",
    "mean",
    "min",
    "nonzero",
    "prod",
    "ravel",
    "repeat",
    "reshape",
    "round",
    "squeeze",
    "std",
    "sum",
    "swapaxes",
    "take",
    "transpose",
    "var",
    "view",
]
_BOTH = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift"]


def _bare(value: Any) -> Any:
    """What NumPy can work on.

    Raises
    ------
    TypeError
        For a NumPy array, which CuPy does not take.
    """
    if isinstance(value, ndarray):
        return value.held
    if isinstance(value, np.ndarray) and value.ndim > 0:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, (list, tuple)):
        return type(value)(_bare(part) for part in value)
    if isinstance(value, dict):
        return {name: _bare(part) for name, part in value.items()}
    return value


def _index(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_index(part) for part in key)
    if isinstance(key, np.ndarray) and key.ndim > 0:
        raise IndexError("arrays used as indices must be arrays of this library")
    return key.held if isinstance(key, ndarray) else key


def _held(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray(np.asarray(value))
    if isinstance(value, (list, tuple)):
        return type(value)(_held(part) for part in value)
    return value


def _call(function: Any, *given: Any, **named: Any) -> Any:
    return _held(function(*_bare(given), **_bare(named)))


class ndarray:
    """Array of the stand-in."""

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, held: np.ndarray) -> None:
        self.held = held

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use `.get()`.")

    def __array_ufunc__(self, function: Any, method: str, *given: Any, **named: Any) -> Any:
        return _call(getattr(function, method), *given, **named)

    def __array_function__(self, function: Any, _: Any, given: Any, named: Any) -> Any:
        return _call(function, *given, **named)

    def get(self) -> np.ndarray:
        """Copy as a NumPy array."""
        return self.held.copy()

    def __getitem__(self, key: Any) -> ndarray:
        return _held(self.held[_index(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.held[_index(key)] = _bare(value)

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "dtype", "ndim", "size", "nbytes", "itemsize", "flags"):
            return getattr(self.held, name)
        if name == "T":
            return ndarray(self.held.T)
        if name in _METHODS:
            return lambda *given, **named: _call(getattr(self.held, name), *given, **named)
        raise AttributeError(name)

    def __len__(self) -> int:
        return len(self.held)

    def __iter__(self) -> Iterator[Any]:
        return (_held(part) for part in self.held)

    def __bool__(self) -> bool:
        return bool(self.held)

    def __int__(self) -> int:
        return int(self.held)

    def __index__(self) -> int:
        return self.held.__index__()

    def __float__(self) -> float:
        return float(self.held)


def _operator(name: str) -> Any:
    def reckon(self: ndarray, *other: Any) -> Any:
        answer = getattr(self.held, name)(*_bare(other))
        return answer if answer is NotImplemented else _held(answer)

    return reckon


def _in_place(name: str) -> Any:
    def reckon(self: ndarray, other: Any) -> Any:
        getattr(self.held, name)(_bare(other))
        return self

    return reckon


for _name in [
    *_BOTH,
    *(f"r{one}" for one in _BOTH),
    "lt",
    "le",
    "gt",
    "ge",
    "eq",
    "ne",
    "neg",
    "invert",
    "abs",
]:
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
for _name in _BOTH:
    setattr(ndarray, f"__i{_name}__", _in_place(f"__i{_name}__"))


def _module(name: str, behind: Any) -> types.ModuleType:
    """Functions of a module, for arrays of the stand-in."""
    module = types.ModuleType(name)

    def attribute(what: str) -> Any:
        found = getattr(behind, what)
        if isinstance(found, type) or not callable(found):
            return found
        return lambda *given, **named: _call(found, *given, **named)

    module.__getattr__ = attribute  # type: ignore[method-assign]
    return module


def _asarray(value: Any, dtype: Any = None) -> ndarray:
    """From anything, NumPy arrays included: this is how they are sent to the device."""
    if isinstance(value, ndarray):
        return ndarray(value.held.astype(dtype, copy=False) if dtype is not None else value.held)
    return ndarray(np.array(_bare(value) if isinstance(value, (list, tuple)) else value, dtype=dtype))


@contextlib.contextmanager
def strict_cupy() -> Iterator[types.ModuleType]:
    """Put the stand-in where ``import cupy`` finds it, for as long as the block runs."""
    import scipy.ndimage

    cupy = _module("cupy", np)
    cupy.ndarray = ndarray  # type: ignore[attr-defined]
    cupy.asarray = cupy.array = _asarray  # type: ignore[attr-defined]
    cupy.ascontiguousarray = _asarray  # type: ignore[attr-defined]
    cupy.asnumpy = lambda value: value.get()  # type: ignore[attr-defined]
    cupyx, inner = types.ModuleType("cupyx"), types.ModuleType("cupyx.scipy")
    image = _module("cupyx.scipy.ndimage", scipy.ndimage)
    cupyx.scipy, inner.ndimage = inner, image  # type: ignore[attr-defined]
    ours = {"cupy": cupy, "cupyx": cupyx, "cupyx.scipy": inner, "cupyx.scipy.ndimage": image}
    before = {name: sys.modules.get(name) for name in ours}
    sys.modules.update(ours)
    try:
        yield cupy
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
