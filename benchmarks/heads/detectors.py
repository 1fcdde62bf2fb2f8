"""Whether a face detector that is not dlib's finds faces: on real heads, defaced ones, and where there is no face.

    python -m benchmarks.heads.detectors DATA --out detectors [--only pt_100,pt_101] [--defacers surrogate] [--cnn]

DATA is a folder of real heads (see `benchmarks.heads.data`), or of DICOM folders, one a patient. CenterFace must have
been fetched (`defacedask recogniser get centerface`). ``NAME.npz`` holds the pictures of a head, which identify the
person, so that a second call goes on. Printed are, for each kind of picture, the heads in which each detector finds a
face in any of four views (pitch -20 to 10 degrees), and CenterFace's best score. No face is there on the back of a
head, nor where everything before the plane through its middle is cut off. With ``--cnn`` dlib's network looks, too,
which takes seconds a head.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

DEFACERS = ("quickshear", "biometric_mask", "mri_reface", "carina", "surrogate")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--defacers", default=",".join(DEFACERS))
    parser.add_argument("--cnn", action="store_true")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    only = {n for n in options.only.split(",") if n}
    for name, read in readers(options.data):
        if (not only or name in only) and not (options.out / f"{name}.npz").exists():
            np.savez_compressed(
                options.out / f"{name}.npz", **pictures_of(read(), options.defacers.split(","))
            )
            print(f"{name} is drawn", flush=True)
    for line in table(sorted(options.out.glob("*.npz")), cnn=options.cnn):
        print(line)


def readers(data: Path) -> list[tuple[str, Any]]:
    """Name and reader of each head."""
    from benchmarks.heads.data import named_heads, scanned

    known = list(named_heads(data))
    folders = sorted(path for path in data.iterdir() if path.is_dir())
    return known or [(path.name, lambda path=path: scanned(path)) for path in folders]


def pictures_of(volume: Any, defacers: Sequence[str] = DEFACERS) -> dict[str, np.ndarray]:
    """``KIND|VIEW`` -> picture; nothing of a head that is refused."""
    from defacedask.anatomy.head import Head
    from defacedask.attacks.target import target_of
    from defacedask.defacers import get_defacer
    from defacedask.errors import RefusedError
    from defacedask.faces.render import View, render_views, skin_level, skin_surface, view_grid
    from defacedask.modality import air_of
    from defacedask.volume import geometry_of, real_values

    try:
        head = Head(volume)
    except RefusedError:
        return {}
    front, back = view_grid((0.0,), (-20.0, -10.0, 0.0, 10.0)), (View(180.0, -10.0),)
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
    for name in defacers:
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


def table(files: Sequence[Path], cnn: bool = False) -> list[str]:
    """Lines of the table, over all heads that were drawn."""
    from defacedask.faces.recognition import open_recogniser

    net = open_recogniser("centerface")
    every = dataclasses.replace(net, threshold=0.01)
    dlib = {"HOG": open_recogniser("face_recognition")}
    if cnn:
        dlib["dlib's CNN"] = open_recogniser("face_recognition_cnn")
    seen: dict[str, list[tuple[float, ...]]] = {}
    for file in files:
        with np.load(file) as pictures:
            kinds = dict.fromkeys(name.split("|")[0] for name in pictures.files)
            for kind in kinds:
                mine = [pictures[name] for name in pictures.files if name.split("|")[0] == kind]
                best = max((face.score for found in every.locate(mine) for face in found), default=0.0)
                found = [float(any(one.detect(picture) for picture in mine)) for one in dlib.values()]
                seen.setdefault(kind, []).append((best, *found))
    lines = [
        f"| | heads | CenterFace | {' | '.join(dlib)} | CenterFace's best score: least, median, most |",
        "|" + " --- |" * (4 + len(dlib)),
    ]
    for kind, rows in seen.items():
        scores, *others = np.array(rows).T
        spread = ", ".join(f"{v:.2f}" for v in (scores.min(), np.median(scores), scores.max()))
        counts = [int((scores > net.threshold).sum()), *(int(one.sum()) for one in others)]
        lines.append(f"| {kind} | {len(rows)} | {' | '.join(map(str, counts))} | {spread} |")
    return lines


if __name__ == "__main__":
    main()
