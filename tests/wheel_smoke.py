"""What `tests/wheel` runs in an environment that has the wheel and nothing else: no test of pytest."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import defacedask
from defacedask.costs.texture import check_classes
from defacedask.errors import MissingExtraError
from defacedask.faces.recognition import get_recogniser
from defacedask.testing import compare_face_recognition


def encoding() -> np.ndarray:
    """Of noise in a given box: it needs the landmarks' and the encoder's files, and no person."""
    picture = np.random.default_rng(1).integers(0, 256, (150, 150, 3), np.uint8)
    return get_recogniser().analyse([picture], [[(25, 125, 125, 25)]])[0][0].encoding


def main(kept: Path) -> None:
    """Compare with the encoding of the Python before, kept in a file."""
    place = Path(defacedask.__file__).parent
    assert "site-packages" in place.parts, place
    assert (place / "py.typed").is_file()
    assert defacedask.__version__ == importlib.metadata.version("defacedask")
    found = encoding()
    if kept.exists():
        assert np.array_equal(np.load(kept), found), np.abs(np.load(kept) - found).max()
    np.save(kept, found)
    said = {
        "radiomics": refusal(lambda: check_classes("glcm")),
        "face_recognition": refusal(lambda: compare_face_recognition([])),
    }
    for extra, sentence in said.items():
        assert f"defacedask[{extra}]" in sentence, sentence
        print(f"without the extra {extra}: {sentence}")


def refusal(ask: Callable[[], object]) -> str:
    """What is said where an extra is missing."""
    try:
        ask()
    except MissingExtraError as error:
        return str(error)
    return "nothing: the extra is there"


main(Path(sys.argv[1]))
