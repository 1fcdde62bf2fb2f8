"""Teach the detectors of synthetic voxels that come with the package: ``python -m tools.synthetic_detectors``.

The teachers are virtual patients, on grids and with noise as scanners have them, as they are and defaced under keys
of their own. To be run again when a defacer's fill, a weak defacer or the features change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import defacedask
from defacedask.anatomy.head import Head
from defacedask.anatomy.template import load_template
from defacedask.attacks.layer_classifier import Lesson
from defacedask.attacks.planted import Ground
from defacedask.attacks.synthetic.detector import SyntheticDetector, lesson
from defacedask.attacks.synthetic.learned import FILE
from defacedask.attacks.synthetic.planted import WEAK, weakly_defaced
from defacedask.attacks.target import target_of
from defacedask.defacers import get_defacer
from defacedask.faces.surface import skin_level
from defacedask.geometry import Geometry
from defacedask.phantom.images import ct_values, mr_values
from defacedask.phantom.protocol import scan_grid
from defacedask.phantom.shape import Pose, Shape, subject_rng
from defacedask.phantom.warp import Warp
from defacedask.volume import geometry_of, make_volume, real_values

#: Modality -> (z, y, x) mm between voxels and noise of each virtual patient.
TEACHERS = {
    "CT": (
        ((2.5, 4.5, 4.5), 12.0),
        ((3.0, 3.9, 3.9), 25.0),
        ((3.0, 1.3, 1.3), 14.0),
        ((2.5, 2.2, 2.2), 20.0),
        ((3.0, 5.0, 5.0), 8.0),
    ),
    "MR": (((1.2, 1.2, 1.2), 9.0), ((2.0, 2.0, 2.0), 14.0), ((2.4, 1.3, 1.3), 20.0)),
}
#: Whose fill is learnt, and the seed of the patients.
DEFACERS, SEED = ("mri_reface", "carina", "surrogate"), 77
#: How often an untouched head counts beside one that a defacer left.
UNTOUCHED = 3


def patient(modality: str, number: int, spacing: tuple[float, float, float], sigma: float) -> Any:
    """One virtual patient's image."""
    shape, pose = Shape.draw(SEED, number), Pose.draw(SEED, number, 1)
    view = scan_grid(modality, "normal", SEED, number, 1, pose, "")
    size = [int(n * s / t) for n, s, t in zip(view.shape, view.spacing, spacing, strict=True)]
    grid = Geometry.from_spacing(size, list(spacing), view.origin)
    warp = Warp(shape, pose, grid, load_template("average_t1").geometry)
    rng = subject_rng(SEED, modality, number)
    ct = modality == "CT"
    values = ct_values(warp, rng, sigma=sigma)[0] if ct else mr_values(warp, rng, sigma=sigma)
    return make_volume(np.rint(values).astype(np.int16), grid, modality=modality, units="HU" if ct else "")


def lessons_of(volume: Any, number: int) -> Iterator[Lesson]:
    """What one head teaches: as it is, defaced, and weakly defaced."""
    head = Head(volume)
    head.require()

    def target(one: Any) -> Any:
        values = real_values(one).load().values
        level = float(skin_level(head.modality, real_values(volume).load().values))
        about = {"modality": head.modality, "pose": head.pose, "to_template": head.to_template}
        return target_of(values, geometry_of(volume), level=level, drop=head.drop, **about)

    original = target(volume)
    for seed in range(UNTOUCHED):
        yield lesson(original, original, seed)
    ground = Ground.of(original)
    for kind in WEAK:
        yield lesson(original, weakly_defaced(original, kind, 100 + number, ground))
    for name in DEFACERS:
        plan = get_defacer(name).plan(head, key=b"synthetic teacher %d" % number)
        yield lesson(original, target(plan.apply(volume)))


def taught() -> dict[str, dict[str, dict[str, list[float]]]]:
    """Modality -> looks or place -> fields of the detector."""
    out: dict[str, dict[str, dict[str, list[float]]]] = {}
    for modality, teachers in TEACHERS.items():
        known = [
            one
            for number, (spacing, sigma) in enumerate(teachers, 1)
            for one in lessons_of(patient(modality, number, spacing, sigma), number)
        ]
        detectors = {"looks": SyntheticDetector.trained(known), "place": SyntheticDetector.of_place(known)}
        out[modality] = {}
        for kind, found in detectors.items():
            numbers = found.classifier
            fields = {name: getattr(numbers, name).astype(float).tolist() for name in ("middle", "spread")}
            weights = numbers.weights.astype(float).tolist()
            out[modality][kind] = {**fields, "weights": weights, "columns": list(found.columns)}
    return out


def main() -> None:
    """Write the file."""
    path = Path(defacedask.__file__).parent / "data" / FILE
    path.write_text(json.dumps(taught(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
