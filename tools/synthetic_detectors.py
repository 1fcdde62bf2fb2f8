"""Teach the detectors of synthetic voxels that come with the package: ``python -m tools.synthetic_detectors``.

The teachers are virtual patients, on grids and with noise as scanners have them, as they are and defaced under keys
of their own (`tools.synthetic_teachers`, `tools.synthetic_mr_teachers`). To be run again when a defacer's fill, a
weak defacer or the features change. It takes about fifteen minutes of CPU for CT, and fifteen for MR, and 9 GB of
memory. Trees are grown with scikit-learn; the package asks them without it.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import defacedask
from defacedask.anatomy.head import Head
from defacedask.attacks.layer_classifier import Lesson
from defacedask.attacks.synthetic.context import around
from defacedask.attacks.synthetic.detector import SyntheticDetector, changed
from defacedask.attacks.synthetic.features import LEARNT, Looks, near_skin
from defacedask.attacks.synthetic.learned import FILE, TREES
from defacedask.attacks.synthetic.trees import Trees
from tools.synthetic_mr_teachers import mr_teacher
from tools.synthetic_teachers import ct_teacher, versions

#: Who makes the virtual patients of a modality, and their numbers. CT's every fourth has voxels of about 1 mm, which
#: take longest. Each of the others is there twice: most of the second ones have skin and fat (`benchmarks/HEADS.md`).
TEACHERS: dict[str, tuple[tuple[Callable[[int], Head], ...], tuple[int, ...]]] = {
    "CT": ((ct_teacher, partial(ct_teacher, fat=True)), tuple(n for n in range(1, 51) if n % 4 != 3)),
    "MR": ((mr_teacher,), tuple(range(1, 19))),
}
#: Voxels of one version that are learnt from, how often an untouched head's count, and how many times the weight.
SAMPLES, UNTOUCHED, WEIGHT = 1_800, 2, 2.0
#: Logarithm of the odds that make it sure. On half of 46 real CTs all controls hold from 1.75 to 3.
SURE = {"CT": 2.5, "MR": 0.0}
#: Trees of each look, and their leaves.
TREES_GROWN, LEAVES = {"CT": 100, "MR": 60}, 16


@dataclasses.dataclass(frozen=True, eq=False)
class Taught:
    """One version of one teacher."""

    teacher: int
    looks: Looks
    added: np.ndarray
    untouched: bool

    def drawn(self, seed: int) -> np.ndarray:
        """Some of its voxels."""
        count = SAMPLES * (UNTOUCHED if self.untouched else 1)
        return np.random.default_rng(seed).permutation(len(self.looks.where))[:count]


def taught_by(makers: Iterable[Callable[[int], Head]], numbers: Iterable[int]) -> list[Taught]:
    """All versions of some teachers, each as every maker makes it."""
    out = []
    for number, make in itertools.product(numbers, makers):
        for name, original, version in versions(number, make(number)):
            looks = near_skin(version)
            added = changed(original, version).ravel()[looks.where]
            out.append(Taught(number, looks, added, name == "original"))
    return out


def grown(trees: int, features: np.ndarray, added: np.ndarray, weight: np.ndarray) -> Trees:
    """Trees, by gradient boosting (Friedman 2001)."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=trees,
        max_leaf_nodes=LEAVES,
        learning_rate=0.12,
        l2_regularization=5.0,
        min_samples_leaf=40,
        max_bins=64,
        early_stopping=False,
        random_state=0,
    ).fit(features, added, sample_weight=weight)
    return kept_trees(model, features)


def kept_trees(model: Any, features: np.ndarray) -> Trees:
    """What the library grew, as the package asks it.

    Raises
    ------
    RuntimeError
        If both do not say the same of some features.
    """
    nodes = [one[0].nodes for one in model._predictors]
    shape = (len(nodes), max(map(len, nodes)))
    feature, left, right = (np.zeros(shape, np.int16) for _ in range(3))
    threshold, value = np.zeros(shape), np.zeros(shape, np.float32)
    feature[:] = -1
    for k, tree in enumerate(nodes):
        own = np.arange(len(tree))
        leaf = tree["is_leaf"].astype(bool)
        feature[k, own] = np.where(leaf, -1, tree["feature_idx"])
        threshold[k, own] = np.where(leaf, 0.0, tree["num_threshold"])
        left[k, own], right[k, own] = (np.where(leaf, own, tree[side]) for side in ("left", "right"))
        value[k, own] = tree["value"]
    trees = Trees(feature, threshold, left, right, value, float(model._baseline_prediction.ravel()[0]))
    some = features[:2000].astype(np.float32)
    if not np.allclose(trees.odds(some), model.decision_function(some), atol=1e-3):
        raise RuntimeError("The trees as kept do not say what the library's say: its inner form has changed.")
    return trees


def _of(known: list[Taught], seed: int, features: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    chosen = [one.drawn(seed) for one in known]
    columns = [features(one)[some] for one, some in zip(known, chosen, strict=True)]
    added = [one.added[some] for one, some in zip(known, chosen, strict=True)]
    weight = [
        np.full(len(some), WEIGHT if one.untouched else 1.0) for one, some in zip(known, chosen, strict=True)
    ]
    return np.concatenate(columns), np.concatenate(added), np.concatenate(weight)


def two_looks(known: list[Taught], sure: float, trees: int) -> SyntheticDetector:
    """The second look learns from what a first one tells of teachers that it did not learn from."""
    numbers = sorted({one.teacher for one in known})

    def first(some: list[Taught]) -> Trees:
        return grown(trees, *_of(some, 0, lambda one: one.looks.features[:, LEARNT]))

    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for half in (0, 1):
        mine = set(numbers[half::2])
        asked = first([one for one in known if one.teacher not in mine])

        def both(one: Taught, asked: Trees = asked) -> np.ndarray:
            features = one.looks.features[:, LEARNT]
            return np.concatenate([around(one.looks, asked.odds(features)), features], axis=1)

        parts.append(_of([one for one in known if one.teacher in mine], 1, both))
    second = grown(trees, *(np.concatenate(one) for one in zip(*parts, strict=True)))
    return SyntheticDetector(first(known), LEARNT, second, sure)


def main() -> None:
    """Write the files: the trees of each modality, and where its heads are usually changed."""
    trees: dict[str, np.ndarray] = {}
    places: dict[str, Any] = {}
    for modality, (makers, numbers) in TEACHERS.items():
        known = taught_by(makers, numbers)
        trees |= as_arrays(modality, two_looks(known, SURE[modality], TREES_GROWN[modality]))
        places[modality] = {"place": of_place(known)}
    data = Path(defacedask.__file__).parent / "data"
    np.savez_compressed(data / TREES, **trees)  # type: ignore[arg-type]
    (data / FILE).write_text(json.dumps(places, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {data / TREES} and {data / FILE}")


def as_arrays(modality: str, detector: SyntheticDetector) -> dict[str, np.ndarray]:
    """A detector as `learned.shipped` reads it."""
    assert isinstance(detector.classifier, Trees)
    assert detector.second is not None
    looks = {"first": detector.classifier, "second": detector.second}
    out = {f"{modality} columns": np.array(detector.columns), f"{modality} sure": np.array(detector.sure)}
    for look, trees in looks.items():
        out |= trees.to_arrays(f"{modality} {look}")
    return out


def of_place(known: list[Taught]) -> dict[str, Any]:
    """One that knows only the place, as `learned.shipped` reads it."""
    lessons = [Lesson(one.looks.features[one.drawn(0)], one.added[one.drawn(0)]) for one in known]
    place = SyntheticDetector.of_place(lessons)
    numbers: Any = place.classifier
    fields = {name: getattr(numbers, name).astype(float).tolist() for name in ("middle", "spread", "weights")}
    return {**fields, "columns": list(place.columns)}


if __name__ == "__main__":
    main()
