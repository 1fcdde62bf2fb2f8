"""Face recognisers behind one small protocol (see `base`); others join by an entry point."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

from defacedask.errors import ConfigError, DefacedaskError
from defacedask.faces.recognition.base import Box, Face, Recogniser, RecogniserError, analyse_each, as_rgb
from defacedask.faces.recognition.nets import NETS
from defacedask.plugins import Plugins, is_ours

__all__ = [
    "ABOUT",
    "Box",
    "Face",
    "Recogniser",
    "RecogniserError",
    "analyse_each",
    "as_rgb",
    "compares",
    "distance_of",
    "get_recogniser",
    "is_plug_in",
    "open_recogniser",
    "open_recognisers",
    "recogniser_names",
    "split_names",
]

#: Entry points through which other packages' recognisers join: ``name = "module:Class"``.
GROUP = "defacedask.recognisers"
_PLUGINS = Plugins(GROUP, "recogniser")

#: Built-in recognisers and the options that make them, imported when asked for.
BUILT_IN: dict[str, tuple[str, dict[str, Any]]] = {
    "face_recognition": ("defacedask.faces.recognition.face_recognition:FaceRecognition", {}),
    "face_recognition_cnn": (
        "defacedask.faces.recognition.face_recognition:FaceRecognition",
        {"detector": "cnn", "detect_size": 200},  # a face fills half of our renders
    ),
    "onnx": ("defacedask.faces.recognition.onnx:OnnxEmbedding", {}),
    "azure": ("defacedask.faces.recognition.azure:AzureFace", {}),
    **{name: ("defacedask.faces.recognition.fetched:fetched", {"net": name}) for name in NETS},
}


#: What each of them is, for who chooses.
ABOUT = {
    "face_recognition": "dlib's detector and embedding, on this machine",
    "face_recognition_cnn": "the same with dlib's CNN as the detector: slower, and it finds more",
    "onnx": "any embedding that comes as an ONNX file, on this machine",
    "azure": "the Azure Face service: pictures leave this machine (--allow-upload)",
    **{name: f"{net.about}, once fetched (recogniser get {name})" for name, net in NETS.items()},
}


def recogniser_names() -> list[str]:
    """Names of all recognisers, built-in first."""
    return [*BUILT_IN, *(name for name in _PLUGINS.names() if name not in BUILT_IN)]


def get_recogniser(name: str = "face_recognition", **options: Any) -> Recogniser:
    """Make a recogniser by name.

    Raises
    ------
    ConfigError
        For an unknown name or option (the message lists the valid ones), or a plug-in that cannot be used.
    """
    _PLUGINS.require_one(name, name in BUILT_IN)
    if name in BUILT_IN:
        path, preset = BUILT_IN[name]
        module, _, attribute = path.partition(":")
        return _made(name, getattr(importlib.import_module(module), attribute), {**preset, **options})
    kind, where = _PLUGINS.load(name)
    if not where:
        raise ConfigError(
            f"there is no recogniser {name!r}.", f"Choose from: {', '.join(recogniser_names())}."
        )
    if not callable(kind):
        raise _PLUGINS.unusable(name, where, "it is nothing that makes a recogniser")
    try:
        made = _made(name, kind, options)
    except DefacedaskError:
        raise
    except (Exception, SystemExit) as error:
        raise _PLUGINS.unusable(name, where, f"{type(error).__name__}: {error}") from error
    if not isinstance(made, Recogniser):
        parts = ", ".join(sorted(part for part in _PARTS if not hasattr(made, part)))
        raise _PLUGINS.unusable(name, where, f"what it makes lacks {parts} of a Recogniser")
    return made


#: What a `Recogniser` has.
_PARTS = ("name", "tolerance", "remote", "detect", "encode", "distance", "analyse")


def _made(name: str, kind: Any, options: dict[str, Any]) -> Any:
    try:
        return kind(**options)
    except TypeError as error:
        known = ", ".join(getattr(kind, "__dataclass_fields__", {})) or "none"
        raise ConfigError(f"{name} does not take these options ({error}).", f"It knows: {known}.") from None


def compares(recogniser: Any) -> bool:
    """Whether it tells persons apart; else it says only whether there is a face."""
    return bool(getattr(recogniser, "compares", True))


def is_plug_in(recogniser: Recogniser) -> bool:
    """Whether another package's code is at work."""
    return not is_ours(type(recogniser))


def split_names(text: str | Iterable[str]) -> list[str]:
    """Names of recognisers as the user gives them: comma-separated, each once, in order.

    ``onnx:PATH`` names a network file (which must have no comma in its path).

    Raises
    ------
    ConfigError
        If none is named.
    """
    parts = text.split(",") if isinstance(text, str) else list(text)
    names = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not names:
        raise ConfigError("no recogniser was named.", f"Choose from: {', '.join(recogniser_names())}.")
    return names


def open_recogniser(
    name: str, *, allow_upload: bool = False, folder: str = "", per_second: float = 0.0
) -> Recogniser:
    """Make a recogniser from what the user gave.

    A name; ``onnx:PATH``; ``azure:detect`` (detection alone); a fetched network with options, ``faceres:crop=0.75``;
    ``face_recognition:net=dlib`` (its network by dlib's own code, under the same name in the tables);
    ``face_recognition:detector=centerface`` (another detector, in the name).

    Parameters
    ----------
    name : str
    allow_upload : bool
        Whether pictures may be sent to a service; without it such a recogniser refuses, and says what it would send
        and where to.
    folder : str
        Where a service's recogniser keeps the pictures behind its face ids, which expire; "" for memory alone.
    per_second : float
        Requests a second of the whole cohort to a service; 0 for its default.

    Raises
    ------
    ConfigError
        For an unknown name, or a service without ``allow_upload``.
    """
    kind, _, path = name.partition(":")
    if kind == "onnx":
        if not path:
            raise ConfigError("the recogniser onnx needs its network file.", "Write onnx:PATH.")
        return get_recogniser("onnx", model=path)
    if kind == "azure":
        if path not in ("", "detect"):
            raise ConfigError(f"there is no way {path!r} to use azure.", "Write azure, or azure:detect.")
        options: dict[str, Any] = {"allow_upload": allow_upload, "folder": folder, "verify": path != "detect"}
        return get_recogniser("azure", **options, **({"per_second": per_second} if per_second else {}))
    if kind in ("face_recognition", "face_recognition_cnn") and path:
        return get_recogniser(kind, **_chosen(kind, path))
    if kind in NETS and path:
        from defacedask.faces.recognition.fetched import open_fetched

        return open_fetched(kind, path)
    found = get_recogniser(name)
    if found.remote and not allow_upload:
        raise ConfigError(
            f"the recogniser {name} sends rendered pictures of patients' faces to a service.",
            "Use --allow-upload only if the data's usage policy and your site permit it.",
        )
    return found


def _chosen(kind: str, text: str) -> dict[str, Any]:
    """Options of dlib's recogniser as a user writes them behind its name."""
    known = {"net": ("onnx", "dlib"), "detector": ("hog", "cnn", "centerface")}
    found: dict[str, Any] = {}
    for part in filter(None, text.split(":")):
        key, _, value = part.partition("=")
        if value not in known.get(key, ()):
            several = ", ".join(f"{key}={value}" for key, values in known.items() for value in values)
            raise ConfigError(f"{part!r} is no option of {kind}.", f"It takes {several}.")
        found[key] = value
    return found


def open_recognisers(names: str | Iterable[str], **options: Any) -> list[Recogniser]:
    """Make several; see `split_names` and `open_recogniser`.

    Raises
    ------
    ConfigError
        Also if two of them would have one name in the tables.
    """
    found = [open_recogniser(name, **options) for name in split_names(names)]
    labels = [one.name for one in found]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(
                f"two recognisers would both be called {label} in the tables.", "Rename one of the files."
            )
    return found


def distance_of(recogniser: Recogniser) -> Callable[[Any, Any], float] | None:
    """How two of its encodings are compared: None for Euclidean distance, which is computed for many at once."""
    from defacedask.faces.recognition.face_recognition import FaceRecognition

    return None if isinstance(recogniser, FaceRecognition) else recogniser.distance
