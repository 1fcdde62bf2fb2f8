"""Teach the classifiers that come with the package: ``python -m tools.layer_classifiers``.

To be run again when carina, the planted layer, the classifier's features or the virtual patients change: a test
compares the file with what the average heads teach, and asks the others about a patient.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import defacedask
from defacedask.anatomy.head import Head
from defacedask.attacks.layer_classifier import LayerClassifier, Lesson, lesson
from defacedask.attacks.learned import FILE, TEACHERS, lessons_of
from defacedask.attacks.planted import planted
from defacedask.attacks.target import Target, target_of
from defacedask.defacers import get_defacer
from defacedask.faces.surface import skin_level
from defacedask.volume import geometry_of, real_values
from tools.synthetic_teachers import ct_teacher

#: Who makes the virtual patients of a modality, and their numbers. Those of MR were not tried.
PATIENTS: dict[str, tuple[Callable[[int, bool], Head], Iterable[int]]] = {
    "CT": (ct_teacher, (1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 16, 17, 18)),
}
#: Samples of one patient that are learnt from.
SAMPLES = 3_000


def taught() -> dict[str, Any]:
    """Modality -> average or patients -> planted or carina -> fields of the classifier."""
    out: dict[str, Any] = {}
    for modality in TEACHERS:
        average = {"planted": lessons_of(modality, True), "carina": lessons_of(modality, False)}
        out[modality] = {"average": {name: kept(lessons) for name, lessons in average.items()}}
        if modality in PATIENTS:
            make, numbers = PATIENTS[modality]
            known = [patient_lessons(number, make(number, True)) for number in numbers]
            out[modality]["patients"] = {name: kept([one[name] for one in known]) for name in average}
    return out


def patient_lessons(number: int, head: Head) -> dict[str, Lesson]:
    """What one virtual patient teaches, below a planted layer and below carina's."""
    volume = head.volume
    modality = str(volume.attrs["modality"])
    level = float(skin_level(modality, real_values(volume).load().values))

    def target(one: Any) -> Target:
        about = {"modality": modality, "pose": head.pose, "to_template": head.to_template, "drop": head.drop}
        return target_of(real_values(one).load().values, geometry_of(volume), level=level, **about)

    original = target(volume)
    plan = get_defacer("carina").plan(head, key=b"layer teacher %d" % number)
    layers = {
        "planted": planted(original, "classifier", 100 + number),
        "carina": target(plan.apply(volume)),
    }
    return {name: some(lesson(original, one)) for name, one in layers.items()}


def some(one: Lesson) -> Lesson:
    """The first samples of a lesson, which are drawn at random."""
    return Lesson(one.features[:SAMPLES], one.added[:SAMPLES])


def kept(lessons: list[Lesson]) -> dict[str, list[float]]:
    """A classifier's fields, as `learned.learned` reads them."""
    one = LayerClassifier.trained(lessons)
    return {f.name: getattr(one, f.name).astype(float).tolist() for f in dataclasses.fields(one)}


def main() -> None:
    """Write the file."""
    path = Path(defacedask.__file__).parent / "data" / FILE
    path.write_text(json.dumps(taught(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
