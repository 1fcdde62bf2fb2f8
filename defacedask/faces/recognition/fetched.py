"""Networks that were fetched to this machine, as recognisers by their names; see `nets` and `fetching`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from defacedask import config
from defacedask.errors import ConfigError
from defacedask.faces.recognition.centerface import CenterFace
from defacedask.faces.recognition.nets import Net, net_of
from defacedask.faces.recognition.onnx import OnnxEmbedding

__all__ = ["fetched", "fetched_detector", "is_fetched", "networks_folder", "note_of", "open_fetched"]

#: Options that may stand behind a name, and how their text is read.
_OPTIONS: dict[str, Callable[[str], Any]] = {"crop": float, "detector": str, "metric": str}
#: Those of a detector.
_DETECTOR_OPTIONS: dict[str, Callable[[str], Any]] = {"threshold": float}


def networks_folder() -> Path:
    """Folder of the user that holds fetched networks.

    The option ``recognition.folder`` of the configuration (so also ``DASK_DEFACEDASK__RECOGNITION__FOLDER``), else
    ``defacedask/recognisers`` where the system keeps data of a user. All workers must see it.
    """
    given = config.option("recognition.folder")
    if given:
        return Path(given).expanduser()
    home = os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA") or "~/.local/share"
    return Path(home).expanduser() / "defacedask" / "recognisers"


def note_of(net: Net) -> dict[str, Any] | None:
    """What was written down when a network was fetched; None if it was not, or is another than the pinned one."""
    folder = networks_folder()
    try:
        note = json.loads((folder / f"{net.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    made = isinstance(note, dict) and note.get("files") == dict(net.files) and note.get("sha256")
    return note if made and (folder / f"{net.name}.onnx").is_file() else None


def is_fetched(net: Net) -> bool:
    """Whether the file is there and is the one that was fetched."""
    note = note_of(net)
    if note is None:
        return False
    content = (networks_folder() / f"{net.name}.onnx").read_bytes()
    return hashlib.sha256(content).hexdigest() == note["sha256"]


def open_fetched(name: str, options: str) -> OnnxEmbedding | CenterFace:
    """Open a network with options as a user writes them: ``faceres:crop=0.75:detector=cnn``.

    In the tables such a recogniser has its options in its name, so that it may stand beside the one without.

    Raises
    ------
    ConfigError
        For an option that is not known or has no such value; and as `fetched`.
    """
    known = _DETECTOR_OPTIONS if net_of(name).detects else _OPTIONS
    chosen: dict[str, Any] = {}
    for part in filter(None, options.split(":")):
        key, _, value = part.partition("=")
        try:
            chosen[key] = known[key](value)
        except (KeyError, ValueError):
            raise ConfigError(
                f"{part!r} is no option of {name}.", f"It takes {', '.join(f'{k}=VALUE' for k in known)}."
            ) from None
    label = "_".join([name, *(f"{key}_{value}" for key, value in chosen.items())])
    return fetched(name, **chosen, label=label)


def fetched(net: str, **options: Any) -> OnnxEmbedding | CenterFace:
    """Open a network by its name.

    Parameters
    ----------
    net : str
        One of `NETS`.
    **options
        Instead of its own; see `OnnxEmbedding` and `CenterFace`.

    Raises
    ------
    ConfigError
        If it was not fetched yet. That its file is the one that was fetched is checked when it is first asked.
    """
    about = net_of(net)
    note = note_of(about)
    if note is None:
        raise ConfigError(
            f"the recogniser {net} is not on this machine yet.",
            f"Fetch it once: defacedask recogniser get {net}.",
        )
    file = str(networks_folder() / f"{net}.onnx")
    if about.detects:
        return CenterFace(**{"model": file, "label": net, "sha256": note["sha256"], **options})
    return OnnxEmbedding(
        **{**about.options, "model": file, "label": net, "sha256": note["sha256"], **options}
    )


def fetched_detector() -> CenterFace:
    """The detector that other recognisers take faces from.

    Raises
    ------
    ConfigError
        If it was not fetched yet.
    """
    found = fetched("centerface")
    assert isinstance(found, CenterFace)
    return found
