"""The five objects of dlib that the package ``face_recognition`` is made of, without that package.

They are dlib's own code with the files of ``face_recognition_models``. ``face_recognition`` itself requires a
``dlib`` that must be compiled, and importing its models needs ``pkg_resources``, which setuptools has dropped; so the
files are looked up here and their package is never imported. Boxes, landmarks and encodings are the same, to the
last bit. Each object is loaded when it is first asked for.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from pathlib import Path
from typing import Any

from defacedask.errors import MissingExtraError

__all__ = [
    "cnn_face_detector",
    "dlib",
    "face_detector",
    "face_encoder",
    "face_encoder_onnx",
    "pose_predictor",
]

_HINT = "Install them: pip install dlib-bin face_recognition_models."
_ENCODER = "dlib_face_recognition_resnet_model_v1.dat"
_LANDMARKS = {
    "small": "shape_predictor_5_face_landmarks.dat",
    "large": "shape_predictor_68_face_landmarks.dat",
}


@functools.cache
def dlib() -> Any:
    """Import dlib, which comes as ``dlib-bin`` (wheels) or ``dlib`` (source).

    Raises
    ------
    MissingExtraError
    """
    try:
        return importlib.import_module("dlib")
    except ImportError as error:
        raise MissingExtraError(f"the recogniser face_recognition needs dlib ({error}).", _HINT) from None


def _file(name: str) -> str:
    """Path of a file of ``face_recognition_models``, which is found and not imported."""
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / "models" / name
        if path.is_file():
            return str(path)
    raise MissingExtraError(
        f"the recogniser face_recognition needs {name} of face_recognition_models.", _HINT
    )


@functools.cache
def face_detector() -> Any:
    """Detector by histograms of oriented gradients (HOG)."""
    return dlib().get_frontal_face_detector()


@functools.cache
def cnn_face_detector() -> Any:
    """Detector by a network."""
    return dlib().cnn_face_detection_model_v1(_file("mmod_human_face_detector.dat"))


@functools.cache
def pose_predictor(landmarks: str) -> Any:
    """Finder of landmarks inside a box: ``small`` (5 points) or ``large`` (68 points; 100 MB)."""
    return dlib().shape_predictor(_file(_LANDMARKS[landmarks]))


@functools.cache
def face_encoder() -> Any:
    """Network that gives 128 numbers for a face."""
    return dlib().face_recognition_model_v1(_file(_ENCODER))


@functools.cache
def face_encoder_onnx() -> tuple[Any, str]:
    """The same network for onnxruntime, and the name of its input; see `convert.dlib_resnet`.

    Raises
    ------
    MissingExtraError
        Without onnxruntime, or onnx, which writes the network down.
    """
    from defacedask.faces.recognition.convert.dlib_resnet import convert_dlib_resnet
    from defacedask.faces.recognition.sessions import session_of

    session = session_of(convert_dlib_resnet(Path(_file(_ENCODER)).read_bytes()), "dlib's network")
    return session, session.get_inputs()[0].name
