"""A stand-in for CuPy on machines without a GPU: as strict as CuPy about mixing with NumPy, and it counts.

Its arrays hold NumPy's and give the same numbers: but for kernels it says nothing about a card's arithmetic, and
nothing about its time. As CuPy's do,
they refuse to become NumPy arrays unasked, and to be reckoned with NumPy arrays or indexed by them; numbers and NumPy
scalars are fine. Sums and the like of a whole array stay arrays. There are no functions but those that CuPy has
(``cupy_names.txt``). Kernels are compiled for the host (`strict_kernels`); without a C++ compiler there are none, and
the plain expressions are evaluated. What is launched, what is sent to the device and brought back, and how often the
host has to wait for the device is counted (`counted`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Counts", "counted", "install", "ndarray", "strict_cupy"]

_NAMES: dict[str, set[str]] = {}
for _line in Path(__file__).with_name("cupy_names.txt").read_text(encoding="utf-8").splitlines():
    if _line.startswith("["):
        _known = _NAMES.setdefault(_line.strip("[]"), set())
    elif not _line.startswith("#"):
        _known.update(_line.split())
_IMPLICIT = "Implicit conversion to a NumPy array is not allowed; use `.get()`."
#: Functions whose answer's size only the device knows: the host waits for it.
_WAITED_FOR = {"argwhere", "compress", "extract", "flatnonzero", "nonzero", "unique", "unique_values"}
#: Make room alone: no kernel.
_ROOM = {"empty", "empty_like"}
_BOTH = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift"]


@dataclasses.dataclass
class Counts:
    """What was asked of the device.

    Attributes
    ----------
    operations : int
        That give new values; on a card each is a kernel, some are two.
    waits : int
        The host read a number, or needed the size of an answer, and had to wait for all before it.
    uploads, downloads : int
        Arrays that crossed from host to device, and back.
    bytes_up, bytes_down : int
    """

    operations: int = 0
    waits: int = 0
    uploads: int = 0
    downloads: int = 0
    bytes_up: int = 0
    bytes_down: int = 0


_total = Counts()
_dispatching = [True]


@contextlib.contextmanager
def counted() -> Iterator[Counts]:
    """Counts of the block, complete when it ends."""
    before, found = dataclasses.astuple(_total), Counts()
    try:
        yield found
    finally:
        for field, was in zip(dataclasses.fields(Counts), before, strict=True):
            setattr(found, field.name, getattr(_total, field.name) - was)


def _bare(value: Any) -> Any:
    """What NumPy can work on.

    Raises
    ------
    TypeError
        For a NumPy array, which CuPy does not take.
    """
    if isinstance(value, ndarray):
        return value.held
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, (list, tuple)):
        return type(value)(_bare(part) for part in value)
    if isinstance(value, dict):
        return {name: _bare(part) for name, part in value.items()}
    return value


def _index(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_index(part) for part in key)
    if isinstance(key, np.ndarray):
        raise IndexError("only CuPy's arrays, whole numbers, slices and the like are indices")
    if isinstance(key, ndarray) and key.held.dtype == bool:
        _total.waits += 1
    return key.held if isinstance(key, ndarray) else key


def _held(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray(np.asarray(value))
    if isinstance(value, (list, tuple)):
        return type(value)(_held(part) for part in value)
    return value


def _call(name: str, function: Any, *given: Any, **named: Any) -> Any:
    bare = _bare(given)
    answer = function(*bare, **_bare(named))
    arrays = [part for part in bare if isinstance(part, np.ndarray)]
    first = answer[0] if isinstance(answer, (list, tuple)) and answer else answer
    if isinstance(first, (np.ndarray, np.generic)):
        view = any(np.may_share_memory(first, part) for part in arrays)
        _total.operations += not view and name not in _ROOM
    _total.operations += function is np.copyto
    _total.waits += name in _WAITED_FOR
    return _held(answer)


class ndarray:
    """Array of the stand-in."""

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]
    __module__ = "cupy"

    def __init__(self, held: np.ndarray) -> None:
        self.held = held

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError(_IMPLICIT)

    def __array_ufunc__(self, function: Any, method: str, *given: Any, **named: Any) -> Any:
        return _dispatched(function, function.__name__, method, given, named)

    def __array_function__(self, function: Any, _: Any, given: Any, named: Any) -> Any:
        return _dispatched(function, function.__name__, "__call__", given, named)

    def get(self, *_: Any, **__: Any) -> np.ndarray:
        """Copy as a NumPy array."""
        _total.downloads += 1
        _total.bytes_down += self.held.nbytes
        return self.held.copy()

    def set(self, values: np.ndarray) -> None:
        """Take over a NumPy array's values."""
        _sent(values)
        self.held[...] = values

    def item(self, *at: int) -> Any:
        """One number, on the host."""
        _total.waits += 1
        return self.held.item(*at)

    def tolist(self) -> Any:
        """All numbers, on the host."""
        _total.waits += 1
        return self.held.tolist()

    def __getitem__(self, key: Any) -> ndarray:
        found = self.held[_index(key)]
        _total.operations += not (isinstance(found, np.ndarray) and np.may_share_memory(found, self.held))
        # a number of the array is a view of it, as CuPy's is
        if isinstance(found, np.generic) and isinstance(key, (int, np.integer)):
            return ndarray(self.held[key : key + 1 or None].reshape(()))
        return _held(found)

    def __setitem__(self, key: Any, value: Any) -> None:
        _total.operations += 1
        if isinstance(key, ndarray) and not isinstance(value, ndarray):
            self.held[key.held] = _bare(value)  # one value for a mask: no size is asked for
        else:
            self.held[_index(key)] = _bare(value)

    def __getattr__(self, name: str) -> Any:
        if name not in _NAMES["arrays"] or name.startswith("_") or "held" not in self.__dict__:
            raise AttributeError(f"arrays of CuPy have no {name}")
        found = getattr(self.held, name)
        if callable(found):
            return lambda *given, **named: _method(self.held, name, found, given, named)
        return _held(found)

    def __len__(self) -> int:
        return len(self.held)

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self.held)))

    def __copy__(self) -> ndarray:
        return ndarray(self.held.copy())

    def __deepcopy__(self, _: Any) -> ndarray:
        return ndarray(self.held.copy())

    def __repr__(self) -> str:
        return f"stand-in {self.held!r}"

    def __reduce__(self) -> Any:
        return _unpickled, (self.get(),)


def _launched() -> None:
    _total.operations += 1


def _unpickled(held: np.ndarray) -> ndarray:
    return ndarray(held)


def _method(held: np.ndarray, name: str, found: Any, given: Any, named: Any) -> Any:
    _total.waits += name in _WAITED_FOR
    answer = found(*_bare(given), **_bare(named))
    first = answer[0] if isinstance(answer, tuple) and answer else answer
    view = isinstance(first, np.ndarray) and np.may_share_memory(first, held)
    _total.operations += not view
    return _held(answer)


def _dispatched(function: Any, name: str, method: str, given: Any, named: Any) -> Any:
    """NumPy was called with an array of ours: as CuPy, find the function of that name."""
    if not _dispatching[0] and not isinstance(
        given[0], np.generic
    ):  # a NumPy scalar, and an operator: CuPy's affair
        raise TypeError(f"numpy.{name} was called with an array on the device: ask its own namespace.")
    if name not in _NAMES["functions"] or method != "__call__":
        return NotImplemented
    return _call(name, function, *given, **named)


def _operator(name: str) -> Any:
    def reckon(self: ndarray, *other: Any) -> Any:
        answer = getattr(self.held, name)(*_bare(other))
        _total.operations += 1
        return answer if answer is NotImplemented else _held(answer)

    return reckon


def _in_place(name: str) -> Any:
    def reckon(self: ndarray, other: Any) -> Any:
        getattr(self.held, name)(_bare(other))
        _total.operations += 1
        return self

    return reckon


def _read(kind: Any) -> Any:
    def number(self: ndarray) -> Any:
        _total.waits += 1
        return kind(self.held)

    return number


for _name in [*_BOTH, *(f"r{one}" for one in _BOTH), "lt", "le", "gt", "ge", "eq", "ne"]:
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
for _name in ["neg", "pos", "invert", "abs"]:
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
for _name in _BOTH:
    setattr(ndarray, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _kind in (bool, int, float, complex):
    setattr(ndarray, f"__{_kind.__name__}__", _read(_kind))
ndarray.__index__ = _read(lambda held: held.__index__())  # type: ignore[attr-defined]


def _sent(values: Any) -> None:
    _total.uploads += 1
    _total.bytes_up += np.asarray(values).nbytes


def _array(value: Any, dtype: Any = None, copy: bool | None = None, **_: Any) -> ndarray:
    """From anything, NumPy arrays included: this is how they are sent to the device."""
    if isinstance(value, ndarray):
        new = value.held.astype(dtype or value.held.dtype, copy=bool(copy))
        _total.operations += not np.may_share_memory(new, value.held)
        return ndarray(new)
    if isinstance(value, (list, tuple)) and any(isinstance(part, ndarray) for part in value):
        return _held(np.array(_bare(value), dtype=dtype))
    _sent(value)
    return ndarray(np.array(value, dtype=dtype))


def _module(name: str, behind: Any, known: set[str]) -> types.ModuleType:
    """Functions of a module, for arrays of the stand-in; its types and numbers as they are."""
    module = types.ModuleType(name)

    def attribute(what: str) -> Any:
        found = None if what.startswith("_") else getattr(behind, what, None)
        if what == "broadcast_shapes" and what in known:
            return found  # it looks at no array
        if callable(found) and what in known:
            return lambda *given, **named: _call(what, found, *given, **named)
        kind = isinstance(found, type) and issubclass(found, (np.generic, np.dtype, np.iinfo, np.finfo))
        if kind or isinstance(found, float) or what == "newaxis":
            return found
        raise AttributeError(f"{name} has no {what}")

    module.__getattr__ = attribute  # type: ignore[method-assign]
    return module


def _modules() -> dict[str, types.ModuleType]:
    import scipy.ndimage

    from defacedask.testing.strict_cuda import cuda, pool
    from defacedask.testing.strict_kernels import StrictKernel, compiler

    cupy = _module("cupy", np, _NAMES["functions"])
    cupyx, inner = types.ModuleType("cupyx"), types.ModuleType("cupyx.scipy")
    image = _module("cupyx.scipy.ndimage", scipy.ndimage, _NAMES["ndimage"])
    vars(cupy).update(
        __version__="14.2.0",
        __path__=[],
        STAND_IN=True,
        ndarray=ndarray,
        asarray=_array,
        ascontiguousarray=_array,
        array=lambda value, dtype=None, copy=True, **_: _array(value, dtype, copy),
        asnumpy=lambda value, **_: value.get() if isinstance(value, ndarray) else np.asarray(value),
        get_array_module=lambda *given: cupy if any(isinstance(a, ndarray) for a in given) else np,
        is_available=cuda.is_available,
        get_default_memory_pool=lambda: pool,
        get_default_pinned_memory_pool=lambda: pool,
        cuda=cuda,
    )
    if compiler() is not None:
        cupy.ElementwiseKernel = functools.partial(StrictKernel, ndarray, _launched)  # type: ignore[attr-defined]
    cupyx.scipy, inner.ndimage = inner, image  # type: ignore[attr-defined]
    return {"cupy": cupy, "cupyx": cupyx, "cupyx.scipy": inner, "cupyx.scipy.ndimage": image}


def install() -> types.ModuleType:
    """Put the stand-in where ``import cupy`` finds it, for as long as the process lives."""
    sys.modules.update(ours := _modules())
    return ours["cupy"]


@contextlib.contextmanager
def strict_cupy(*, dispatch: bool = True) -> Iterator[types.ModuleType]:
    """Put the stand-in where ``import cupy`` finds it, for as long as the block runs.

    Parameters
    ----------
    dispatch : bool
        Whether NumPy's functions hand its arrays on to its own, as CuPy's do. Kernels have no need of that, and where
        they do it by oversight CuPy may lack the function or have other rules for types: without it they fail.
    """
    ours = _modules()
    before = {name: sys.modules.get(name) for name in ours}
    was = _dispatching[0]
    sys.modules.update(ours)
    _dispatching[0] = dispatch
    try:
        yield ours["cupy"]
    finally:
        _dispatching[0] = was
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
