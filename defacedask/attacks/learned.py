"""Classifiers that have learnt on the average head that is shipped, and on virtual patients: on nobody.

The average head is smooth and fine. Virtual patients have the voxels, the noise and the fat below the skin of many
scans; on CT a second classifier learnt on these (`tools.synthetic_teachers`).

What is learnt is the same in every study, so it is kept as a file (``python -m tools.layer_classifiers`` writes it).
Better teachers are other persons' heads (``benchmarks/heads/unmasking.py``); of these a study knows only its own.
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any

import numpy as np

from defacedask.attacks.layer_classifier import LayerClassifier, Lesson, lesson
from defacedask.attacks.planted import Ground, planted
from defacedask.attacks.target import target_of
from defacedask.modality import FACES, MODALITIES

__all__ = ["TEACHERS", "learned", "lessons_of"]

#: Modality -> the average head that is taught on.
TEACHERS = {name: MODALITIES[name].average for name in FACES}
#: Keys of the layers that the classifier learns on.
_KEYS = (b"lesson 1", b"lesson 2")
#: Below the package's data.
FILE = "layer_classifiers.json"


@functools.cache
def learned(modality: str, weak: bool = False, teachers: str = "average") -> LayerClassifier | None:
    """A classifier of a modality.

    Parameters
    ----------
    modality : str
    weak : bool
        One for the control, which knows the planted layer, instead of one that knows carina's.
    teachers : str
        ``average`` or ``patients``.

    Returns
    -------
    LayerClassifier or None
        None for a modality that these teachers do not teach.
    """
    known = json.loads(resources.files("defacedask").joinpath("data", FILE).read_text("utf-8"))
    one = known.get(modality, {}).get(teachers, {}).get("planted" if weak else "carina")
    if one is None:
        return None
    return LayerClassifier(*(np.array(one[name]) for name in ("middle", "spread", "weights")))


def lessons_of(modality: str, weak: bool = False) -> list[Lesson]:
    """What the average head teaches, defaced with carina under keys of its own or (``weak``) with a planted layer."""
    from defacedask.anatomy.head import Head
    from defacedask.anatomy.template import load_template
    from defacedask.defacers import get_defacer
    from defacedask.faces.surface import skin_level
    from defacedask.volume import geometry_of, real_values

    volume = load_template(TEACHERS[modality]).image
    head = Head(volume)
    values, geometry = real_values(volume).values, geometry_of(volume)
    level = float(skin_level(modality, values))
    common: dict[str, Any] = {"modality": modality, "level": level, "pose": head.pose}
    original = target_of(values, geometry, **common)
    if weak:
        ground = Ground.of(original)
        return [lesson(original, planted(original, "classifier", k, ground)) for k in (11, 12)]
    after = [get_defacer("carina").plan(head, key=key).apply(volume) for key in _KEYS]
    return [lesson(original, target_of(real_values(one).values, geometry, **common)) for one in after]
