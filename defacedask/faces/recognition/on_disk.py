"""Networks that were fetched to this machine: where they lie, what is known of them, and the detector among them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from defacedask import config
from defacedask.errors import ConfigError
from defacedask.faces.recognition.centerface import CenterFace
from defacedask.faces.recognition.nets import Net, net_of

__all__ = ["fetched_detector", "file_of", "is_fetched", "networks_folder", "note_of"]


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


def file_of(net: Net) -> dict[str, Any]:
    """Path, label and SHA-256 of a network, as recognisers and detectors take them.

    Raises
    ------
    ConfigError
        If it was not fetched yet.
    """
    note = note_of(net)
    if note is None:
        raise ConfigError(
            f"the recogniser {net.name} is not on this machine yet.",
            f"Fetch it once: defacedask recogniser get {net.name}.",
        )
    return {"model": str(networks_folder() / f"{net.name}.onnx"), "label": net.name, "sha256": note["sha256"]}


def fetched_detector() -> CenterFace:
    """The detector that other recognisers take faces from.

    Raises
    ------
    ConfigError
        If it was not fetched yet.
    """
    return CenterFace(**file_of(net_of("centerface")))
