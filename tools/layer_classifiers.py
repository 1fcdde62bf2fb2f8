"""Teach the classifiers that come with the package: ``python -m tools.layer_classifiers``.

To be run again when carina, the planted layer or the classifier's features change: a test compares the file with what
the average heads teach.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import defacedask
from defacedask.attacks.layer_classifier import LayerClassifier
from defacedask.attacks.learned import FILE, TEACHERS, lessons_of


def taught() -> dict[str, dict[str, dict[str, list[float]]]]:
    """Modality -> planted or carina -> fields of the classifier."""
    out: dict[str, dict[str, dict[str, list[float]]]] = {}
    for modality in TEACHERS:
        out[modality] = {}
        for name, weak in (("planted", True), ("carina", False)):
            one = LayerClassifier.trained(lessons_of(modality, weak))
            fields = (f.name for f in dataclasses.fields(one))
            out[modality][name] = {field: getattr(one, field).astype(float).tolist() for field in fields}
    return out


def main() -> None:
    """Write the file."""
    path = Path(defacedask.__file__).parent / "data" / FILE
    path.write_text(json.dumps(taught(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
