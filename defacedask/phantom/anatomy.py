"""Structures, target and dose of a virtual patient on a grid of its own."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from defacedask.anatomy.template import load_template
from defacedask.geometry import Geometry
from defacedask.phantom.shape import subject_rng
from defacedask.phantom.warp import Warp

__all__ = ["ROIS", "Target", "dose_values", "structure_masks", "target_fraction"]

#: Structures of the average head that are written, besides BODY: name and colour.
ROIS: dict[str, tuple[int, int, int]] = {
    "Bone_Mandible": (240, 220, 160),
    "Brain": (200, 160, 220),
    "Brainstem": (120, 60, 200),
    "Cavity_Oral": (230, 120, 120),
    "OpticChiasm": (255, 255, 0),
    "Eye_L": (0, 160, 255),
    "Eye_R": (0, 90, 200),
    "OpticNrv_L": (0, 220, 180),
    "OpticNrv_R": (0, 160, 120),
    "Parotid_L": (255, 150, 0),
    "Parotid_R": (200, 110, 0),
    "SpinalCord": (0, 200, 0),
    "Target": (255, 0, 0),
}


@dataclasses.dataclass(frozen=True)
class Target:
    """What is treated: an ellipsoid on the average head, deformed with it.

    Attributes
    ----------
    site : str
        ``oropharynx`` or ``brain``.
    centre, radii : (x, y, z)
        LPS mm on the average head.
    prescription : float
        Gy.
    """

    site: str
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    prescription: float

    @classmethod
    def draw(cls, seed: int, subject: int) -> Target:
        """Subjects alternate: a tumour of the oropharynx, on either side, then one of the brain."""
        rng = subject_rng(seed, "target", subject)
        u = rng.uniform(-1, 1, 6)
        side = 1.0 if u[0] > 0 else -1.0
        if subject % 2 == 0:
            centre = (side * (28 + 12 * u[1]), 5 + 35 * u[2], 22 + 14 * u[3])
            radii = (15 + 4 * u[4], 17 + 4 * u[5], 15 + 3 * u[4])
            return cls("brain", centre, radii, 60.0)
        centre = (side * (15 + 5 * u[1]), -20 + 6 * u[2], -100 + 8 * u[3])
        radii = (17 + 3 * u[4], 17 + 3 * u[5], 25 + 5 * u[4])
        return cls("oropharynx", centre, radii, 70.0)


def target_fraction(target: Target, source: Geometry) -> np.ndarray:
    """Fraction of each voxel of ``source`` that is target, (z, y, x) float32; nearly binary."""
    x, y, z = source.positions()
    parts = ((p - c) / r for p, c, r in zip((x, y, z), target.centre, target.radii, strict=True))
    radius = np.sqrt(sum(part**2 for part in parts))
    return np.clip(0.5 - (radius - 1) * min(target.radii) / 1.5, 0, 1).astype(np.float32)


def structure_masks(warp: Warp, target: Target, skin: np.ndarray) -> dict[str, tuple[np.ndarray, tuple]]:
    """Structures on the warp's grid.

    Parameters
    ----------
    warp : Warp
    target : Target
    skin : (z, y, x) array
        Signed distance to the skin (mm) on the same grid; the target keeps 3 mm below it.

    Returns
    -------
    dict of name to (bool mask of its box, the box as slices), with ``Target`` and without BODY. Structures
    outside the field of view are missing.
    """
    template = load_template()
    volume = template.structures.values.copy()
    bit = template.structure_names.index("Target")
    volume &= np.uint16(0xFFFF ^ (1 << bit))
    volume[target_fraction(target, warp.source) > 0.5] |= np.uint16(1 << bit)
    bits = np.empty(warp.grid.shape, np.uint16)
    for rows, index in warp.slabs():
        bits[rows] = ndimage.map_coordinates(volume, index, order=0, mode="constant", prefilter=False)
    out = {}
    for i, name in enumerate(template.structure_names):
        if name not in ROIS:
            continue
        mask = (bits & np.uint16(1 << i)) != 0
        if name == "Target":
            mask &= skin < -3
        where = ndimage.find_objects(mask.view(np.uint8))
        if where and where[0] is not None:
            out[name] = (mask[where[0]], where[0])
    return out


def dose_values(warp: Warp, target: Target) -> np.ndarray:
    """Dose of a plan with nine coplanar beams on the warp's grid.

    The target gets the prescription, with a penumbra of some millimetres around it and the beams' entrance and
    exit beyond; skin builds up, air around the patient gets next to nothing, as in a treatment planning system.

    Returns
    -------
    (z, y, x) float32, Gy.
    """
    fraction = target_fraction(target, warp.source)
    skin = load_template().skin.values.astype(np.float32) * np.float32(0.1)
    inside, depth = warp.pull(fraction, skin, outside=(0.0, 12.0))
    spacing = np.array(warp.grid.spacing)
    hit = inside > 0.5
    if not hit.any():
        return np.zeros(warp.grid.shape, np.float32)
    distance = ndimage.distance_transform_edt(~hit, sampling=spacing).astype(np.float32)
    x, y, z = warp.grid.positions()
    centre = warp.grid.to_world(np.argwhere(hit).mean(axis=0))
    radius = float(np.sqrt((np.argwhere(hit).std(axis=0) * spacing).max()) * 5)
    along_z = 1 / (1 + np.exp((np.abs(z - centre[2]) - radius - 4) / 3))
    bath = np.zeros(warp.grid.shape, np.float32)
    for angle in np.radians(np.arange(9) * 40.0):
        across = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
        onward = -(x - centre[0]) * np.sin(angle) + (y - centre[1]) * np.cos(angle)
        bath += (
            np.exp(-0.0045 * onward) / (1 + np.exp((np.abs(across) - radius - 4) / 3)) * along_z / 9
        ).astype(np.float32)
    conformal = 1 / (1 + np.exp(np.minimum((distance - 5) / 2.5, 60)))
    dose = 0.8 * conformal + 0.24 * bath
    dose *= 1.02 * target.prescription / float(np.median(dose[hit]))
    build_up = np.clip((1.5 - depth) / 6, 0, 1)
    return np.maximum(dose * build_up, 0).astype(np.float32)
