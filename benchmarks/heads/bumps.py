"""How natural a defaced head's outline is: bumps beside the face, slabs for ears, lips like a snout.

    uv run python -m benchmarks.heads.bumps DATA --out bumps.csv [--only mr_trio_b17,ct_headsq]

The measure takes nothing from a plan. The head is laid into the average's space by its own affine and seen from a
vertical axis in its middle: how far out its skin lies, by direction and height. What lies farther out than a smooth
copy of that map (16 mm) is relief; relief that the average head does not have there is a bump. DATA is a folder of
real heads (see `benchmarks.heads.data`); the table has a row for the original and one for the defaced image.
"""

from __future__ import annotations

import argparse
import csv
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.heads.data import named_heads
from defacedask.geometry import Geometry

#: mm of a step along the axis, and degrees of one around it.
STEP, TURN = 2.5, 3.0
#: x, y of the axis in the average's space, mm; heights and radii that are looked at.
AXIS, HEIGHTS, RADII = (0.0, -30.0), (-125.0, 10.0), (30.0, 140.0)
#: mm of the smooth copy.
SMOOTH = 16.0


def main(arguments: Sequence[str] | None = None) -> None:
    from defacedask.anatomy.head import Head
    from defacedask.defacers import get_defacer
    from defacedask.errors import RefusedError

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="names, separated by commas")
    options = parser.parse_args(arguments)
    only = {n for n in options.only.split(",") if n}
    rows: list[dict[str, Any]] = []
    for name, read in named_heads(options.data):
        if only and name not in only:
            continue
        head = Head(read())
        try:
            plan = get_defacer("mri_reface").plan(head, key=bytes(range(32)))
        except RefusedError as error:
            print(name, error, flush=True)
            continue
        for what, volume in (("original", head.volume), ("mri_reface", plan.apply(head.volume))):
            rows.append({"head": name, "image": what, **bumps(head, volume)})
            print(rows[-1], flush=True)
    with options.out.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]) if rows else ["head"])
        table.writeheader()
        table.writerows(rows)


def bumps(head: Any, volume: xr.DataArray) -> dict[str, float]:
    """Relief of a head's skin that the average head does not have.

    Parameters
    ----------
    head : Head
        Of the original.
    volume : xarray.DataArray
        The original, or a defaced image on its grid.

    Returns
    -------
    dict
        ``side``: highest bump on temples, cheeks and jaw (99.5th percentile), mm; ``ears``: the same on and round the
        ears; ``mouth``: on nose, lips and chin; ``cut``: part of the ears' skin that ends where the image ends.
    """
    from defacedask.volume import geometry_of, real_values

    values = real_values(volume).load().values
    # the headrest is dropped where it still stands; what a defacer laid there counts
    gone = np.asarray(head.drop) & np.asarray(volume.values == head.volume.values)
    body = (np.where(gone, np.float32(head.air), values) > head.level).astype(np.float32)
    radius, ends = _outline(body, geometry_of(volume), np.linalg.inv(head.to_template))
    average, regions = _average()
    extra = _relief(radius) - average
    out = {}
    for name in ("side", "ears", "mouth"):
        seen = extra[regions[name] & np.isfinite(extra)]
        out[name] = round(float(np.percentile(seen, 99.5)), 1) if seen.size else float("nan")
    ears = regions["ear"] & np.isfinite(radius)
    out["cut"] = round(float(ends[ears].mean()), 3) if ears.any() else float("nan")
    return out


@functools.cache
def _average() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Relief of the average head and the regions of the map."""
    from scipy.ndimage import binary_dilation

    from defacedask.anatomy.template import load_template
    from defacedask.volume import real_values

    template = load_template("average_ct")
    solid = (real_values(template.skin).values <= 0).astype(np.float32)
    radius, _ = _outline(solid, template.geometry, np.eye(4))

    def shadow(name: str) -> np.ndarray:
        found, _ = _outline(template.mask(name).astype(np.float32), template.geometry, np.eye(4))
        return np.isfinite(found)

    angles, heights = _directions()
    ear = shadow("ears")
    around = binary_dilation(ear, iterations=3)
    side = (np.abs(angles) > 40) & (np.abs(angles) < 150) & ~binary_dilation(around, iterations=2)
    mouth = (np.abs(angles) < 35) & (heights[:, None] < -40)
    return _relief(radius), {"side": side & ~mouth, "ears": around, "ear": ear, "mouth": mouth}


def _directions() -> tuple[np.ndarray, np.ndarray]:
    """Degrees from the front (positive: the patient's left), and heights, mm."""
    return np.arange(-160.0, 160.0, TURN), np.arange(*HEIGHTS, STEP)


def _outline(body: np.ndarray, grid: Geometry, back: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Radius of the outermost skin, mm, NaN outside of the image; and whether the image ends there.

    ``back`` maps the average's space to the grid's world.
    """
    from scipy.ndimage import map_coordinates

    angles, heights = _directions()
    radii = np.arange(*RADII, 0.5)
    a = np.radians(angles)
    x = AXIS[0] + np.sin(a)[None, :, None] * radii
    y = AXIS[1] - np.cos(a)[None, :, None] * radii
    x, y, z = np.broadcast_arrays(x, y, heights[:, None, None])
    world = np.stack([x, y, z], axis=-1) @ back[:3, :3].T + back[:3, 3]
    index = np.moveaxis(grid.to_index(world), -1, 0)
    size = np.array(grid.shape)[:, None, None, None]
    within = ((index > -0.5) & (index < size - 0.5)).all(axis=0)
    found = (map_coordinates(body, index, order=1, mode="constant") > 0.5) & within
    # noise in the air is no skin
    found &= np.roll(found, 3, axis=2) & np.roll(found, 6, axis=2)
    last = found.shape[2] - 1 - found[..., ::-1].argmax(axis=2)
    rim = np.minimum(last + 4, found.shape[2] - 1)
    ends = found.any(axis=2) & ~np.take_along_axis(within, rim[..., None], axis=2)[..., 0]
    return np.where(found.any(axis=2), radii[last], np.nan), ends


def _relief(radius: np.ndarray) -> np.ndarray:
    """How far a map stands out from a smooth copy of itself, mm; NaN where it is not known."""
    from scipy.ndimage import gaussian_filter

    known = np.isfinite(radius)
    # at a radius of 85 mm
    sigma = (SMOOTH / STEP, SMOOTH / (85 * np.radians(TURN)))
    total = gaussian_filter(np.where(known, radius, 0.0), sigma, mode="nearest")
    weight = gaussian_filter(known.astype(float), sigma, mode="nearest")
    return np.where(known & (weight > 0.3), radius - total / np.maximum(weight, 1e-6), np.nan)


if __name__ == "__main__":
    main()
