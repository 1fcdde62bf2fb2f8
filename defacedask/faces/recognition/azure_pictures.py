"""Pictures for Azure's Face service: packed within its limits, and kept behind the face ids, which expire."""

from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.errors import InputError
from defacedask.faces.recognition.base import Box

__all__ = ["cut", "keep", "kept", "packed"]

#: What the service takes, bytes.
SMALLEST, LARGEST = 1024, 6 * 1024 * 1024

_memory: dict[str, np.ndarray] = {}
_lock = threading.Lock()


def keep(face_id: str, picture: np.ndarray, folder: str = "") -> None:
    """Remember what a face id was made from: in a folder, or in this process where none is given.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    if not folder:
        with _lock:
            _memory[face_id] = picture
        return
    from PIL import Image

    from defacedask.io.store import writing
    from defacedask.whole_files import replacing

    path = _place(folder, face_id)
    with writing("the picture behind a face id"), replacing(path) as aside:
        Image.fromarray(picture).save(aside, format="PNG")


def kept(face_id: str, folder: str = "") -> np.ndarray | None:
    """Picture behind a face id, None if it is not known here."""
    with _lock:
        picture = _memory.get(face_id)
    if picture is None and folder and _place(folder, face_id).is_file():
        from PIL import Image

        with Image.open(_place(folder, face_id)) as image:
            picture = np.array(image.convert("RGB"))
    return picture


def _place(folder: str, face_id: str) -> Path:
    # hashed: what a service answers is no safe file name
    return Path(folder) / f"{hashlib.sha256(face_id.encode()).hexdigest()[:32]}.png"


def packed(image: np.ndarray) -> bytes:
    """Pack as PNG within the service's limits; JPEG, then smaller, for what would be too large.

    Raises
    ------
    InputError
        If the picture is too small for a face.
    """
    from PIL import Image

    picture = Image.fromarray(image)

    def saved(**options: Any) -> bytes:
        sink = io.BytesIO()
        picture.save(sink, **options)
        return sink.getvalue()

    data = saved(format="PNG")
    if len(data) < SMALLEST:
        data = saved(format="PNG", compress_level=0)
        if len(data) < SMALLEST:
            raise InputError(
                f"a picture of {image.shape[1]} x {image.shape[0]} pixels is too small for a face."
            )
    if len(data) > LARGEST:
        data = saved(format="JPEG", quality=95)
    while len(data) > LARGEST:
        picture = picture.resize((picture.width // 2, picture.height // 2))
        data = saved(format="JPEG", quality=95)
    return data


def cut(image: np.ndarray, box: Box, margin: float = 0.6) -> np.ndarray:
    """Cut out a box with a margin (part of its size): a detector needs some surroundings."""
    high, wide = (box.bottom - box.top) * margin, (box.right - box.left) * margin
    top, left = max(0, int(box.top - high)), max(0, int(box.left - wide))
    return np.ascontiguousarray(image[top : int(box.bottom + high), left : int(box.right + wide)])
