"""Whether a face detector that is not dlib's finds faces: on real heads, defaced ones, and where there is no face.

    python -m benchmarks.heads.detectors DATA --out detectors [--only pt_100,pt_101]

DATA is a folder of real heads (see `benchmarks.heads.data`), or of DICOM folders, one a patient. CenterFace must have
been fetched (`defacedask recogniser get centerface`). ``NAME.npz`` holds the pictures of a head, which identify the
person, so that a second call goes on. Printed are, for each kind of picture, the heads in which each detector finds a
face in any of four views (pitch -20 to 10 degrees), and CenterFace's best score. No face is there on the back of a
head, nor where everything before the plane through its middle is cut off.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

DEFACERS = ("quickshear", "biometric_mask", "mri_reface", "carina", "surrogate")
KINDS = ("original", *DEFACERS, "cut", "back")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="names, separated by commas")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    only = {n for n in options.only.split(",") if n}
    for name, read in readers(options.data):
        if (not only or name in only) and not (options.out / f"{name}.npz").exists():
            np.savez_compressed(options.out / f"{name}.npz", **pictures_of(read()))
            print(f"{name} is drawn", flush=True)
    for line in table(sorted(options.out.glob("*.npz"))):
        print(line)


def readers(data: Path) -> list[tuple[str, Any]]:
    """Name and reader of each head."""
    from benchmarks.heads.data import named_heads, scanned

    known = list(named_heads(data))
    folders = sorted(path for path in data.iterdir() if path.is_dir())
    return known or [(path.name, lambda path=path: scanned(path)) for path in folders]


def pictures_of(volume: Any) -> dict[str, np.ndarray]:
    """``KIND|VIEW`` -> picture; nothing of a head that is refused."""
    from defacedask.anatomy.head import Head
    from defacedask.attacks.target import target_of
    from defacedask.defacers import get_defacer
    from defacedask.errors import RefusedError
    from defacedask.faces.render import View, render_views, skin_level, skin_surface, view_grid
    from defacedask.modality import air_of
    from defacedask.volume import geometry_of, real_values

    head, front, back = Head(volume), view_grid((0.0,), (-20.0, -10.0, 0.0, 10.0)), (View(180.0, -10.0),)
    values, geometry, modality = real_values(volume).values, geometry_of(volume), head.modality
    level, pose = skin_level(modality, values), np.asarray(head.pose)
    about: dict[str, Any] = {"modality": modality, "level": level, "pose": pose}
    whole = target_of(values, geometry, **about, to_template=head.to_template)
    cut = np.where(whole.front, np.float32(air_of(modality)), whole.values)
    shown = {
        "original": (values, geometry, front),
        "back": (values, geometry, back),
        "cut": (cut, whole.geometry, front),
    }
    for name in DEFACERS:
        try:
            done = get_defacer(name).plan(head, key=b"benchmark " * 4).apply(volume)
        except RefusedError:
            continue
        shown[name] = (real_values(done).values, geometry, front)
    out = {}
    for kind, (some, grid, views) in shown.items():
        surface = skin_surface(some, grid, level=level, pose=pose)
        for view, picture in zip(views, render_views(surface, pose, views, size=400), strict=True):
            out[f"{kind}|{view.name}"] = picture
    return out


def table(files: Sequence[Path]) -> list[str]:
    """Lines of the table, over all heads that were drawn."""
    from defacedask.faces.recognition import open_recogniser

    net, hog = open_recogniser("centerface"), open_recogniser("face_recognition")
    every = dataclasses.replace(net, threshold=0.01)
    seen: dict[str, list[tuple[float, bool]]] = {}
    for file in files:
        with np.load(file) as pictures:
            for kind in KINDS:
                mine = [pictures[name] for name in pictures.files if name.split("|")[0] == kind]
                if mine:
                    best = max((face.score for found in every.locate(mine) for face in found), default=0.0)
                    seen.setdefault(kind, []).append((best, any(hog.detect(one) for one in mine)))
    lines = [
        "| | heads | CenterFace | HOG | CenterFace's best score: least, median, most |",
        "|" + " --- |" * 5,
    ]
    for kind, found in seen.items():
        scores = np.array([score for score, _ in found])
        spread = ", ".join(f"{v:.2f}" for v in (scores.min(), np.median(scores), scores.max()))
        counts = int((scores > net.threshold).sum()), sum(dlib for _, dlib in found)
        lines.append(f"| {kind} | {len(found)} | {counts[0]} | {counts[1]} | {spread} |")
    return lines


if __name__ == "__main__":
    main()
