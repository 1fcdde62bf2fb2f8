"""T1 and CT images of the average head, with a sharp skin."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tools.average_head.source import GRID, SPACING, grid_positions
from tools.average_head.tissue import TISSUES

#: Hounsfield units and T1 intensity (arbitrary, white matter about 330) of each tissue.
HU = {
    "air": -1000,
    "skin": 30,
    "fat": -95,
    "muscle": 55,
    "bone": 950,
    "brain": 36,
    "csf": 8,
    "eye": 14,
    "cavity": -985,
    "tooth": 1900,
    "gland": 22,
    "cord": 34,
}
T1 = {
    "air": 0,
    "skin": 170,
    "fat": 370,
    "muscle": 185,
    "bone": 70,
    "brain": 290,
    "csf": 95,
    "eye": 110,
    "cavity": 8,
    "tooth": 25,
    "gland": 255,
    "cord": 270,
}


def painted(tissue: np.ndarray, values: dict[str, float]) -> np.ndarray:
    """Each voxel's tissue value; air takes the skin's, so that blurring does not eat the edge."""
    table = np.zeros(len(TISSUES), np.float32)
    for name, label in TISSUES.items():
        table[label] = values["skin" if name == "air" else name]
    return table[tissue]


def edge(skin: np.ndarray, width: float) -> np.ndarray:
    """Fraction of body in a voxel: 1 inside, 0 outside, linear over ``width`` mm."""
    return np.clip(0.5 - skin / width, 0, 1)


def ct_image(tissue: np.ndarray, skin: np.ndarray, skull: np.ndarray) -> np.ndarray:
    """(z, y, x) int16 HU."""
    values = painted(tissue, HU)
    diploe = (tissue == TISSUES["bone"]) & (np.abs(skull) < 1.0)
    values[diploe] = 520
    values = ndimage.gaussian_filter(values, 0.6 / SPACING)
    body = edge(skin, 1.5)
    return np.rint(values * body + HU["air"] * (1 - body)).astype(np.int16)


def t1_image(t1: np.ndarray, tissue: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """(z, y, x) int16: the measured average inside, its rim rebuilt, goggles gone, modelled below the chin."""
    z = grid_positions(GRID)[..., 2]
    model = ndimage.gaussian_filter(painted(tissue, T1), 1.0 / SPACING)
    known = np.isfinite(t1)
    # the outermost millimetres of the average are smeared into air: rebuild them from what lies below
    weight = np.clip((-skin - 2.0) / 4.0, 0, 1) * known
    values = np.nan_to_num(t1)
    total = ndimage.gaussian_filter(values * weight, 2.0)
    near = ndimage.gaussian_filter(weight.astype(np.float32), 2.0)
    spread = total / np.maximum(near, 1e-3)
    rim = np.where(near > 0.02, 0.5 * spread + 0.5 * model, model)
    measured = weight * values + (1 - weight) * rim
    trust = np.clip((z + 112) / 12, 0, 1) * ndimage.gaussian_filter(known.astype(np.float32), 1.5) * known
    return np.rint((trust * measured + (1 - trust) * model) * edge(skin, 2.0)).astype(np.int16)
