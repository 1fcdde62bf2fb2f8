"""Networks as onnxruntime runs them: one thread, on the CPU, so that a task takes the core that it was given."""

from __future__ import annotations

import importlib
from typing import Any

from defacedask.errors import InputError, MissingExtraError

__all__ = ["session_of"]


def session_of(content: bytes, what: str) -> Any:
    """Open a network.

    Parameters
    ----------
    content : bytes
        Of an ONNX file.
    what : str
        As an error calls it.

    Raises
    ------
    MissingExtraError
        Without onnxruntime.
    InputError
        If it is no network.
    """
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError:
        raise MissingExtraError(
            "networks in ONNX files need onnxruntime.", "Install it: pip install onnxruntime."
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InputError(f"{what} is not a network that onnxruntime can load ({error}).") from None
