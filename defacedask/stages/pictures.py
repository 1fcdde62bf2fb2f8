"""The mid-sagittal slice of the head, as it came and as a defacer left it, with the plan's outline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from defacedask.geometry import Geometry
from defacedask.pieces import Outcome, Piece
from defacedask.sampling import sample_field
from defacedask.stages.places import ORIGINAL, loaded, one_thread, volume_path
from defacedask.stages.plans import load_plan
from defacedask.store import CaseStore, writing
from defacedask.volume import geometry_of

__all__ = ["draw_slices", "sagittal_grid"]

#: mm of the head frame that a slice shows, from vertex to neck and from nose to neck (P from, to; S from, to).
FIELD = ((-140.0, 120.0), (-150.0, 110.0))
STEP = 1.0

#: Real values shown black and white.
WINDOWS = {"CT": (-400.0, 600.0)}


def sagittal_grid(pose: np.ndarray, left: float = 0.0) -> Geometry:
    """One-slice grid in the sagittal plane of the head.

    Parameters
    ----------
    pose : (4, 4) array
        Rigid map from world LPS to the head frame.
    left : float
        mm to the patient's left of the midline.

    Returns
    -------
    Geometry
        Shape (rows from superior to inferior, columns from anterior to posterior, 1), in world LPS.
    """
    (p0, p1), (s0, s1) = FIELD
    affine = np.eye(4)
    affine[:3, 0] = (0, 0, -STEP)
    affine[:3, 1] = (0, STEP, 0)
    affine[:3, 2] = (STEP, 0, 0)
    affine[:3, 3] = (left, p0, s1)
    return Geometry((int((s1 - s0) / STEP), int((p1 - p0) / STEP), 1), np.linalg.inv(pose) @ affine)


def draw_slices(
    ingested: Piece, looked: Piece, *before: Piece, case: str, defacer: str, plans: str, folder: str
) -> Outcome:
    """Draw the mid-sagittal slice of every image, and the outline of what the plan may change."""
    from PIL import Image

    store = CaseStore(ingested.facts["store"])
    grid = sagittal_grid(np.array(looked.facts["pose"]))
    kept: list[dict[str, Any]] = []
    for path in store.images:
        with one_thread():
            original = loaded(store.volume(path))
            values = (
                original if defacer == ORIGINAL else loaded(store.volume(volume_path(defacer, path)))
            ).values
        modality = original.attrs["modality"]
        low, high = window(modality, original.values)
        plane = sample_field(values, geometry_of(original), grid.positions(dtype=np.float64), outside=low)[
            ..., 0
        ]
        grey = (np.clip((plane - low) / (high - low), 0, 1) * 255).astype(np.uint8)
        rgb = np.repeat(grey[..., None], 3, axis=2)
        if defacer != ORIGINAL:
            rgb[_outline(load_plan(plans, case, defacer).region(grid)[..., 0])] = (255, 96, 32)
        name = f"{case}/{defacer}-{path.split('/')[1]}-sagittal.png"
        with writing(f"the picture {name}"):
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(".partial")
            Image.fromarray(rgb).save(partial, format="PNG", optimize=True)
            partial.replace(target)
        kept.append(
            {
                "case": case,
                "defacer": defacer,
                "modality": modality,
                "view": "mid-sagittal",
                "kind": "slice",
                "file": name,
            }
        )
    return Outcome(facts={"pictures": kept})


def window(modality: str, values: np.ndarray) -> tuple[float, float]:
    """Real values to show black and white: fixed on CT, the 1st and 99.5th percentile elsewhere."""
    if modality in WINDOWS:
        return WINDOWS[modality]
    low, high = (float(v) for v in np.percentile(values[::2, ::2, ::2], [1, 99.5]))
    return low, max(high, low + 1e-6)


def _outline(region: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_erosion

    region = np.broadcast_to(np.asarray(region), region.shape).astype(bool)
    return region & ~binary_erosion(region)
