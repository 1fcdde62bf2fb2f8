"""Face recognisers behind one small protocol (see `base`); others join by an entry point."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any

from defacedask.errors import ConfigError
from defacedask.evaluation.recognition.base import (
    Box,
    Face,
    Recogniser,
    RecogniserError,
    analyse_each,
    as_rgb,
)

__all__ = [
    "Box",
    "Face",
    "Recogniser",
    "RecogniserError",
    "analyse_each",
    "as_rgb",
    "get_recogniser",
    "recogniser_names",
]

#: Built-in recognisers and the options that make them, imported when asked for. Others join through the entry
#: point group ``defacedask.recognisers``.
BUILT_IN: dict[str, tuple[str, dict[str, Any]]] = {
    "face_recognition": ("defacedask.evaluation.recognition.face_recognition:FaceRecognition", {}),
    "face_recognition_cnn": (
        "defacedask.evaluation.recognition.face_recognition:FaceRecognition",
        {"detector": "cnn", "detect_size": 200},  # a face fills half of our renders
    ),
    "onnx": ("defacedask.evaluation.recognition.onnx:OnnxEmbedding", {}),
    "azure": ("defacedask.evaluation.recognition.azure:AzureFace", {}),
}


def recogniser_names() -> list[str]:
    """Names of all recognisers, built-in first."""
    third = {e.name for e in entry_points(group="defacedask.recognisers")}
    return [*BUILT_IN, *sorted(third - set(BUILT_IN))]


def get_recogniser(name: str = "face_recognition", **options: Any) -> Recogniser:
    """Make a recogniser by name.

    Raises
    ------
    ConfigError
        For an unknown name or option; the message lists the valid ones.
    """
    kind: Any = None
    preset: dict[str, Any] = {}
    if name in BUILT_IN:
        path, preset = BUILT_IN[name]
        module, _, attribute = path.partition(":")
        kind = getattr(importlib.import_module(module), attribute)
    for entry in entry_points(group="defacedask.recognisers") if kind is None else ():
        if entry.name == name:
            kind = entry.load()
            break
    if kind is None:
        raise ConfigError(
            f"there is no recogniser {name!r}.", f"Choose from: {', '.join(recogniser_names())}."
        )
    try:
        return kind(**{**preset, **options})
    except TypeError as error:
        known = ", ".join(getattr(kind, "__dataclass_fields__", {})) or "none"
        raise ConfigError(f"{name} does not take these options ({error}).", f"It knows: {known}.") from None
