"""Our recogniser ``face_recognition`` beside the package of that name, face by face."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable
from types import ModuleType

import numpy as np

from defacedask.errors import MissingExtraError

__all__ = ["compare_face_recognition", "load_face_recognition"]


def load_face_recognition() -> ModuleType:
    """Import the package ``face_recognition``.

    Raises
    ------
    MissingExtraError
        If it is not installed, or its models cannot be imported for want of ``pkg_resources``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pkg_resources' deprecation notice
            importlib.import_module("pkg_resources")  # without it the package ends the process
            package = importlib.import_module("face_recognition")
    except ImportError as error:
        raise MissingExtraError(
            f"the package face_recognition cannot be imported ({error}).",
            "Install it with: pip install 'defacedask[face_recognition]' (see docs/install.md).",
        ) from None
    return package


def compare_face_recognition(
    pictures: Iterable[np.ndarray],
    *,
    detector: str = "hog",
    landmarks: str = "small",
    upsample: int = 1,
    net: str = "dlib",
) -> dict[str, float]:
    """Largest differences between our recogniser and the package.

    Parameters
    ----------
    pictures : iterable of (rows, columns, 3) uint8 arrays
        RGB. Where neither finds a face, both are given one box in the middle.
    detector : str
        ``hog`` or ``cnn``.
    landmarks : str
        ``small`` or ``large``.
    upsample : int
        How many times the detector doubles the image.
    net : str
        What computes our encodings: ``dlib``, as the package does, or ``onnx``, which differs by 1e-6.

    Returns
    -------
    dict
        ``detected``: how many faces both found; ``boxes``, ``landmarks`` (pixels) and ``encodings``: the largest
        absolute difference, 0.0 where there is none, inf where one found faces that the other did not.

    Raises
    ------
    MissingExtraError
        See `load_face_recognition`.
    """
    from defacedask.faces.recognition import Box, get_recogniser

    theirs = load_face_recognition()
    ours = get_recogniser(
        "face_recognition", detector=detector, landmarks=landmarks, upsample=upsample, net=net
    )
    out = {"detected": 0.0, "boxes": 0.0, "landmarks": 0.0, "encodings": 0.0}

    def note(name: str, a: object, b: object) -> None:
        one, other = np.asarray(a, np.float64), np.asarray(b, np.float64)
        same = one.shape == other.shape
        out[name] = max(out[name], float(np.abs(one - other).max(initial=0.0)) if same else float("inf"))

    for picture in pictures:
        faces = ours.analyse([picture])[0]
        boxes = theirs.face_locations(picture, upsample, detector)
        note("boxes", sorted(face.box for face in faces), sorted(boxes))
        out["detected"] += len(boxes)
        if not faces:
            rows, columns = picture.shape[:2]
            box = Box(rows // 4, columns - columns // 4, rows - rows // 4, columns // 4)
            faces = ours.analyse([picture], [[box]])[0]
        known = [tuple(face.box) for face in faces]
        points = theirs.api._raw_face_landmarks(picture, known, landmarks)
        note("landmarks", [f.landmarks for f in faces], [[(p.x, p.y) for p in one.parts()] for one in points])
        codes = theirs.face_encodings(picture, known, model=landmarks)
        note("encodings", [face.encoding for face in faces], codes)
    return out
