"""From the last average to a template: regions and landmarks of the built-in head, and the skin anew."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.anatomy.template import Template, load_template
from defacedask.anatomy.template_folder import write_template
from defacedask.averaging.members import BUILT_IN
from defacedask.averaging.register import affine_step, demons, pull
from defacedask.averaging.steps import average_of, load_average
from defacedask.geometry import Geometry
from defacedask.modality import AIR
from defacedask.sampling import sample_field
from defacedask.volume import make_volume, units_of

__all__ = ["finish", "skin_distance"]


def finish(
    average: str, out: str, *, modality: str, name: str, least: int, facts: dict[str, Any]
) -> dict[str, Any]:
    """Write the template.

    Parameters
    ----------
    average : str
        See `defacedask.averaging.steps.save_average`.
    out : str
        Folder.
    modality, name : str
    least : int
        Heads that a measured voxel must be the mean of; elsewhere the built-in average stands in, fitted.
    facts : dict
        How it was made: heads, iterations, ...

    Returns
    -------
    dict
        sha256, measured (fraction of the body that is the cohort's own).
    """
    values, grid, seen = load_average(average)
    source = load_template(BUILT_IN[modality])
    affine, shift = _fit(values, grid, source, modality)
    air = AIR[modality]
    filled = pull(source.image.values.astype(np.float32), source.geometry, grid, affine, shift, outside=air)
    # sums are gone by now: the mean itself stands in for total / seen
    values = average_of(values * np.maximum(seen, 1.0), seen, filled, least)
    skin = skin_distance(values, grid, modality)

    def carried(part: Any) -> np.ndarray:
        return pull(part.values, source.geometry, grid, affine, shift, outside=0, order=0).astype(part.dtype)

    labels, tissue, structures = (carried(p) for p in (source.labels, source.tissue, source.structures))
    _mend(labels, tissue, structures, skin, source)
    body = skin <= 0
    measured = float((seen[body] >= least - 0.5).mean()) if body.any() else 0.0

    def volume(array: np.ndarray, part: str, **own: Any) -> Any:
        return make_volume(array, grid, **({"modality": "SEG", "units": ""} | own), name=part)

    template = Template(
        name=name,
        modality=modality,
        image=volume(
            np.rint(values).astype(np.int16), "image", modality=modality, units=units_of(source.image)
        ),
        tissue=volume(tissue, "tissue"),
        labels=volume(labels, "labels"),
        structures=volume(structures, "structures"),
        skin=volume(np.rint(np.clip(skin, -12, 12) * 10).astype(np.int8), "skin", slope=0.1),
        label_names=source.label_names,
        tissue_names=source.tissue_names,
        structure_names=source.structure_names,
        landmarks={key: _forward(point, grid, affine, shift) for key, point in source.landmarks.items()},
        sha256="",
        facts={
            **{key: source.facts[key] for key in ("hounsfield", "t1")},
            **facts,
            "source": f"{facts['heads']} heads of one cohort; regions and what they do not show from {source.name}",
            "licence": "of the cohort's owner; what is carried over from the built-in average: MIT",
            "built_in_sha256": source.sha256,
            "measured": round(measured, 4),
            "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        },
    )
    return {"sha256": write_template(template, Path(out)), "measured": measured}


def _fit(
    values: np.ndarray, grid: Geometry, source: Template, modality: str
) -> tuple[np.ndarray, np.ndarray]:
    """The built-in head onto the average: affine (its LPS mm -> the average's) and displacement."""
    air, image = AIR[modality], source.image.values.astype(np.float32)
    affine = np.eye(4)
    moving = pull(image, source.geometry, grid, affine, outside=air)
    affine = affine_step(values, grid, np.ones(grid.shape, bool), moving, modality) @ affine
    moving = pull(image, source.geometry, grid, affine, outside=air)
    return affine, demons(values, grid, moving, modality)


def _forward(
    point: np.ndarray, grid: Geometry, affine: np.ndarray, shift: np.ndarray, rounds: int = 20
) -> np.ndarray:
    """Where a point of the built-in head lies in the average."""
    target = (affine @ np.append(point, 1.0))[:3]
    here = target.copy()
    for _ in range(rounds):
        at = (here[0:1], here[1:2], here[2:3])
        here = target - np.array([float(sample_field(part, grid, at)[0]) for part in shift])
    return np.round(here, 2)


def skin_distance(values: np.ndarray, grid: Geometry, modality: str) -> np.ndarray:
    """Signed distance (mm) to the skin, negative inside; cavities count as inside."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    from defacedask.anatomy.body import body_mask

    # half way up the slope from air to skin; the average's noise is far below
    level = -400.0 if modality == "CT" else 60.0
    step = grid.spacing[0]
    body, _ = body_mask(values, level, step)
    out = distance_transform_edt(~body) - distance_transform_edt(body)
    out = (out - 0.5 * np.sign(out)) * step
    # beside the skin the values tell where between two voxels it runs; a mask alone would make terraces
    smooth = gaussian_filter(values.astype(np.float32), 0.5)
    slope = np.sqrt(sum(g * g for g in np.gradient(smooth, *grid.spacing)))
    steep = (np.abs(out) <= 1.5 * step) & (slope > abs(level - AIR[modality]) / (8 * step))
    finer = (level - smooth[steep]) / slope[steep]
    out[steep] = np.clip(finer, out[steep] - step, out[steep] + step)
    return np.asarray(gaussian_filter(out, 0.6), dtype=np.float32)


def _mend(
    labels: np.ndarray, tissue: np.ndarray, structures: np.ndarray, skin: np.ndarray, source: Template
) -> None:
    """Make body and air of the labels agree with the new skin."""
    names, kinds = source.label_names, source.tissue_names
    inside = skin <= 0
    labels[inside & (labels == names["air"])] = names["body"]
    labels[~inside & (labels == names["body"])] = names["air"]
    tissue[inside & (tissue == kinds["air"])] = kinds["skin"]
    tissue[~inside] = kinds["air"]
    structures[~inside] = 0
    # skin within 4 mm from brow to chin, as the built-in's
    face, near = names["face"], names["brow_to_chin"]
    labels[(labels == near) & (np.abs(skin) >= 4)] = face
