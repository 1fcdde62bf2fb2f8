"""Pictures kept for the report: renders of the skin, and the mid-sagittal slice with the plan's outline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.stages.arm_given import region_of
from defacedask.flow.stages.layout import ORIGINAL, loaded, one_thread, volume_path
from defacedask.geometry import Geometry
from defacedask.io.store import CaseStore, writing
from defacedask.modality import modality_of
from defacedask.sampling import sample_field
from defacedask.volume import geometry_of
from defacedask.whole_files import replacing

__all__ = ["draw_slices", "keep_pictures", "sagittal_grid"]

#: Directions from which renders are kept: name, yaw, pitch.
PICTURED = (("front", 0.0, 0.0), ("45 degrees", 45.0, 0.0), ("side", 90.0, 0.0))

#: mm of the head frame that a slice shows, from vertex to neck and from nose to neck (P from, to; S from, to).
FIELD = ((-140.0, 120.0), (-150.0, 110.0))
STEP = 1.0


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


def keep_pictures(
    surface: Any, pose: np.ndarray, size: int, *, folder: str, case: str, defacer: str, modality: str
) -> list[dict[str, Any]]:
    """Render a skin from the directions the report shows, and save the pictures.

    Parameters
    ----------
    surface : pyvista.PolyData
    pose : (4, 4) array
        World LPS mm to the head frame.
    size : int
        Pixels.
    folder : str
        Of the pictures.
    case, defacer, modality : str
        What it is a picture of.

    Returns
    -------
    list of dict
        case, defacer, modality, view, kind, file (below the folder).

    Raises
    ------
    OutputError
        If a picture cannot be written.
    """
    from defacedask.faces.render import View, render_views

    images = render_views(surface, pose, [View(yaw, pitch) for _, yaw, pitch in PICTURED], size=size)
    kept: list[dict[str, Any]] = []
    for (view, _, _), image in zip(PICTURED, images, strict=True):
        name = f"{case}/{defacer}-{modality}-{view.replace(' ', '')}.png"
        _save(Path(folder), name, image)
        about = {"case": case, "defacer": defacer, "modality": modality, "view": view, "kind": "render"}
        kept.append({**about, "file": name})
    return kept


def _save(folder: Path, name: str, image: np.ndarray) -> None:
    """Write one picture, below the folder."""
    from PIL import Image

    path = folder / name
    with writing(f"the picture {name}"), replacing(path) as aside:
        # the smallest file would be 4 % smaller and take four times as long
        Image.fromarray(image).save(aside, format="PNG")


def draw_slices(
    ingested: TaskResult,
    planned: TaskResult,
    *before: TaskResult,
    case: str,
    defacer: str,
    plans: str,
    folder: str,
) -> Outcome:
    """Draw the mid-sagittal slice of every image, and the outline of what the plan may change."""
    store = CaseStore(ingested.facts["store"])
    grid = sagittal_grid(np.array(planned.facts["pose"]))
    kept: list[dict[str, Any]] = []
    for path in store.images:
        if before and path not in before[0].facts["changed"]:
            continue  # an arm need not give back all images
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
            rgb[_outline(region_of(store, plans, case, defacer, path).region(grid)[..., 0])] = (255, 96, 32)
        name = f"{case}/{defacer}-{path.split('/')[1]}-sagittal.png"
        _save(Path(folder), name, rgb)
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
    if fixed := modality_of(modality).window:
        return fixed
    low, high = (float(v) for v in np.percentile(values[::2, ::2, ::2], [1, 99.5]))
    return low, max(high, low + 1e-6)


def _outline(region: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_erosion

    region = np.broadcast_to(np.asarray(region), region.shape).astype(bool)
    return region & ~binary_erosion(region)
