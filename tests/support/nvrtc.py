"""NVIDIA's runtime compiler, which needs no card: from a kernel's body to what a card is given (PTX)."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from pathlib import Path
from typing import Any

from defacedask.kernels import Kernel

__all__ = ["compiled", "nvrtc"]


@functools.cache
def nvrtc() -> Any:
    """The library, from where its wheel puts it or from the folder ``NVRTC_FOLDER``; None if it is not there."""
    folders = [Path(os.environ["NVRTC_FOLDER"])] if "NVRTC_FOLDER" in os.environ else []
    folders += [
        Path(path, "nvidia", *part) for path in sys.path for part in (("cuda_nvrtc", "lib"), ("cu13", "lib"))
    ]
    for folder in folders:
        for path in sorted(folder.glob("libnvrtc.so.*")):
            if "alt" not in path.name:
                return ctypes.CDLL(str(path))
    return None


def compiled(kernel: Kernel, kind: str, options: tuple[str, ...]) -> str:
    """PTX of a kernel whose free type is ``kind``; raw arrays are pointers."""
    names = {"int8": "signed char", "int16": "short", "int32": "int", "int64": "long long", "bool": "bool"}
    names |= {"uint64": "unsigned long long", "float32": "float", "float64": "double", "T": kind}
    heads, each = [], []
    for texts, const in ((kernel.inputs, "const "), (kernel.outputs, "")):
        for text in texts.split(","):
            *raw, type_, name = text.split()
            c = const + names[type_]
            heads.append(f"{c}* {name}" if raw else f"{c}* _{name}")
            if not raw:
                each.append(f"{c}& {name} = _{name}[i];")
    source = (
        f"typedef {kind} T;\n{kernel.preamble}\n"
        f'extern "C" __global__ void {kernel.name}({", ".join(heads)}) {{\n'
        f"long i = blockIdx.x * (long)blockDim.x + threadIdx.x;\n{' '.join(each)}\n{kernel.body}\n}}"
    )
    library = nvrtc()
    program = ctypes.c_void_p()
    assert library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"k.cu", 0, None, None) == 0
    given = [b"--gpu-architecture=compute_90", b"--std=c++17", *(option.encode() for option in options)]
    failed = library.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*given))
    size = ctypes.c_size_t()
    if failed:
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        library.nvrtcGetProgramLog(program, log)
        raise AssertionError(f"{kernel.name}: {log.value.decode()}")
    library.nvrtcGetPTXSize(program, ctypes.byref(size))
    made = ctypes.create_string_buffer(size.value)
    library.nvrtcGetPTX(program, made)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return made.value.decode()
