"""Kernels of CuPy on machines without a card: their bodies are compiled for the host and run over the arrays.

The C++ that a card's compiler gets is compiled by the host's, without contraction, and every operation that
`defacedask.kernels` allows is rounded alike by both. So the bits that a kernel gives here are those of a card. It is
stricter than CuPy: a kernel that does not forbid contraction is refused, and an index beyond a raw array, which a
card reads or writes all the same, is an error.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.kernels import OPTIONS

__all__ = ["FLAGS", "FOLDER", "StrictKernel", "compiler", "why_none"]

#: Environment variable: folder in which what is compiled is kept for other processes.
FOLDER = "DEFACEDASK_HOST_KERNELS"
#: Single operations, each rounded on its own.
FLAGS = ("-O2", "-ffp-contract=off", "-fno-fast-math", "-std=c++17", "-shared", "-fPIC", "-w")

_C_NAMES = {
    "bool": "bool", "int8": "signed char", "uint8": "unsigned char", "int16": "short", "uint16": "unsigned short",
    "int32": "int", "uint32": "unsigned int", "int64": "long long", "uint64": "unsigned long long",
    "float32": "float", "float64": "double",
}  # fmt: skip

_HEAD = """
// the compiler's own, rounded correctly: no header, which takes longer than all of a kernel
inline double floor(double v) { return __builtin_floor(v); }
inline float floor(float v) { return __builtin_floorf(v); }
inline double rint(double v) { return __builtin_rint(v); }
inline float rint(float v) { return __builtin_rintf(v); }
inline double sqrt(double v) { return __builtin_sqrt(v); }
inline float sqrt(float v) { return __builtin_sqrtf(v); }
inline double ldexp(double v, int power) { return __builtin_ldexp(v, power); }
#define __device__
#define __forceinline__ inline
static thread_local long long _strayed = 0;
template <typename A> struct Raw {
    A* data; long long size;
    A& operator[](long long k) {
        static A none;
        if (k < 0 || k >= size) { _strayed = 1; return none; }
        return data[k];
    }
    const A& operator[](long long k) const { return const_cast<Raw&>(*this)[k]; }
};
"""


@functools.cache
def compiler() -> str | None:
    """Path of a C++ compiler: ``CXX``, or the first of the usual names."""
    names = [os.environ.get("CXX", ""), "g++", "c++", "clang++"]
    return next((found for name in names if name and (found := shutil.which(name))), None)


def why_none() -> str:
    """What to say where kernels cannot be compiled; empty where they can."""
    return (
        "" if compiler() else "kernels are not compiled: there is no C++ compiler (install g++, or set CXX)"
    )


class _Parameter:
    def __init__(self, text: str, given: bool) -> None:
        *words, kind, self.name = text.split()
        self.raw, self.given = words == ["raw"], given
        self.placeholder = kind if len(kind) == 1 else ""
        self.dtype = None if self.placeholder else np.dtype(kind)
        if words not in ([], ["raw"]) or self.name in ("i", "n", "_ind"):
            raise ValueError(f"CuPy takes no parameter {text!r}")


class StrictKernel:
    """Stands for CuPy's ``ElementwiseKernel``.

    Parameters
    ----------
    array : type
        Of the arrays that it takes; their ``held`` is NumPy's.
    launched : callable
        Is called at each launch.
    in_params, out_params, operation, name, preamble, options
        As CuPy's.
    flags : sequence of str
        For the host's compiler.

    Raises
    ------
    ValueError
        For options that allow contraction, and parameters that CuPy does not take.
    """

    def __init__(
        self,
        array: Any,
        launched: Callable[[], None],
        in_params: str,
        out_params: str,
        operation: str,
        name: str = "kernel",
        *,
        preamble: str = "",
        options: Sequence[str] = (),
        flags: Sequence[str] = FLAGS,
    ) -> None:
        if not set(OPTIONS) <= set(options):
            raise ValueError(f"the kernel {name} lacks the option {OPTIONS[0]}: it may have other bits")
        self.array, self.launched = array, launched
        self.body, self.name, self.preamble, self.flags = operation, name, preamble, tuple(flags)
        self.inputs = [_Parameter(text, True) for text in in_params.split(",")]
        self.outputs = [_Parameter(text, False) for text in out_params.split(",")]

    def __call__(self, *given: Any, size: int | None = None) -> Any:
        """Launch it: see CuPy.

        Raises
        ------
        TypeError
            For arrays of another library or type.
        ValueError
            For shapes that do not fit, or no size.
        IndexError
            Where the body leaves a raw array.
        """
        parameters = [*self.inputs, *self.outputs]
        if len(given) not in (len(self.inputs), len(parameters)):
            raise TypeError(f"{self.name} takes {len(self.inputs)} arguments, or {len(parameters)}")
        types: dict[str, np.dtype] = {}
        for p, a in zip(parameters, given, strict=False):
            self._take_type(p, a, types)
        shapes = [
            a.held.shape
            for p, a in zip(parameters, given, strict=False)
            if isinstance(a, self.array) and not p.raw
        ]
        if (size is None) == (not shapes):
            raise ValueError(f"the size of {self.name} is undecided, or told twice")
        shape = (size,) if size is not None else np.broadcast_shapes(*shapes)
        arrays, back = [], []
        for k, p in enumerate(parameters):
            dtype = p.dtype if p.dtype is not None else types[p.placeholder]
            if k >= len(given):
                if p.raw:
                    raise ValueError(f"the output {p.name} of {self.name} has no size")
                arrays.append(np.empty(shape, dtype))
                back.append(self.array(arrays[-1]))
            elif not isinstance(given[k], self.array):
                arrays.append(np.full((), given[k]).astype(dtype, casting="unsafe"))
            else:
                arrays.append(self._laid_out(p, given[k].held, shape))
                if not p.given:
                    back.append(given[k])
        count = int(np.prod(shape))
        if count:
            self.launched()
            self._run(parameters, arrays, count)
        for p, array, out in zip(self.outputs, arrays[len(self.inputs) :], back, strict=True):
            if not p.raw and out.held is not array:
                out.held[...] = array
        return back[0] if len(back) == 1 else tuple(back)

    def _take_type(self, p: _Parameter, a: Any, types: dict[str, np.dtype]) -> None:
        if isinstance(a, self.array):
            wanted = p.dtype if p.dtype is not None else types.setdefault(p.placeholder, a.held.dtype)
            if a.held.dtype != wanted:
                raise TypeError(f"Type is mismatched. {p.name} {a.held.dtype} {wanted}")
        elif isinstance(a, np.ndarray) or not isinstance(a, (bool, int, float, np.generic)):
            raise TypeError(f"Unsupported type {type(a)}")
        elif p.raw or not p.given:
            raise TypeError(f"{p.name} of {self.name} must be an array")

    def _laid_out(self, p: _Parameter, held: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        if p.raw:
            if not held.flags.c_contiguous:
                raise TypeError(f"the raw array {p.name} of {self.name} does not lie in one piece")
            return held
        if not p.given and held.shape != shape:
            raise ValueError("Out shape is mismatched")
        return np.ascontiguousarray(np.broadcast_to(held, shape))

    def _run(self, parameters: list[_Parameter], arrays: list[np.ndarray], count: int) -> None:
        lines, each, kinds = [], [], []
        for k, (p, a) in enumerate(zip(parameters, arrays, strict=True)):
            kind = _C_NAMES[a.dtype.name]
            if p.placeholder and f"typedef {kind} {p.placeholder};" not in kinds:
                kinds.append(f"typedef {kind} {p.placeholder};")
            const = "const " if p.given else ""
            if p.raw:
                lines.append(f"{const}Raw<{kind}> {p.name} = {{({kind}*)_data[{k}], _sizes[{k}]}};")
            elif a.ndim == 0 and p.given:
                lines.append(f"const {kind} {p.name} = *({kind}*)_data[{k}];")
            else:
                each.append(f"{const}{kind}& {p.name} = (({kind}*)_data[{k}])[i];")
        source = "\n".join(
            [
                _HEAD,
                *kinds,
                self.preamble,
                'extern "C" long long run(long long _count, void** _data, long long* _sizes) {',
                *lines,
                "for (long long i = 0; i < _count; ++i) {",
                *each,
                self.body,
                "} long long _was = _strayed; _strayed = 0; return _was; }",
            ]
        )
        call = _compiled(source, self.flags)
        data = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
        sizes = (ctypes.c_longlong * len(arrays))(*(a.size for a in arrays))
        if call(ctypes.c_longlong(count), data, sizes):
            raise IndexError(f"the kernel {self.name} leaves a raw array")


@functools.cache
def _private() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="defacedask-kernels-")


@functools.cache
def _compiled(source: str, flags: tuple[str, ...]) -> Any:
    folder = Path(os.environ.get(FOLDER) or _private().name)
    name = hashlib.sha256("\0".join([source, *flags, str(compiler())]).encode()).hexdigest()[:24]
    path = folder / f"{name}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=folder) as own:
            text, made = Path(own, "kernel.cpp"), Path(own, "kernel.so")
            text.write_text(source, encoding="utf-8")
            done = subprocess.run(
                [str(compiler()), *flags, str(text), "-o", str(made)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise ValueError(f"the kernel does not compile:\n{done.stderr[:2000]}")
            made.replace(path)
    call = ctypes.CDLL(str(path)).run
    call.restype = ctypes.c_longlong
    return call
