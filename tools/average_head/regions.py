"""Regions a defacer asks for (face, ears), the study's structures as blobs, and landmarks on the skin."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from defacedask.anatomy.structure_names import STUDY_NAMES
from tools.average_head.skin import ball
from tools.average_head.source import GRID, SPACING
from tools.average_head.tissue import EYE, EYE_RADIUS, TISSUES, brainstem, mandible, optic_nerve

#: Exclusive regions. Face and ears hold the tissue near the skin and the air in front of it.
REGIONS = {"air": 0, "body": 1, "face": 2, "brow_to_chin": 3, "ear_left": 4, "ear_right": 5}

#: One bit each, for they overlap.
STRUCTURES = (*STUDY_NAMES, "SpinalCord")


def structure_bits(points: np.ndarray, tissue: np.ndarray, skull: np.ndarray) -> np.ndarray:
    """(z, y, x) uint16: bit i is set where structure ``STRUCTURES[i]`` lies. Left is +x."""
    z = points[..., 2]
    left = points[..., 0] > 0
    skin = (tissue == TISSUES["skin"]) | (tissue == TISSUES["air"])
    hard = (tissue == TISSUES["bone"]) | (tissue == TISSUES["tooth"])
    eye = ball(points, EYE, (EYE_RADIUS,) * 3) < 0
    nerve = (optic_nerve(points) < 0) & ~eye & (np.abs(points[..., 0]) > 4)
    stem = brainstem(points) < 0
    head = (tissue == TISSUES["brain"]) | ((tissue == TISSUES["csf"]) & (skull < -3) & (z > -66))
    masks = {
        "Bone_Mandible": (mandible(points) < 0) & hard,
        "Brain": ndimage.binary_fill_holes(head),
        "Brainstem": stem & (z > -66) & (z < -22),
        "Target": (ball(points - np.array([16.0, -22.0, -100.0]), (0, 0, 0), (20, 19, 26)) < 0) & ~skin,
        "Cavity_Oral": (ball(points, (0, -62, -91), (25, 30, 16)) < 0) & ~hard & ~skin,
        "OpticChiasm": ball(points, (0, -20, -21), (8, 5, 3.5)) < 0,
        "Eye_L": eye & left,
        "Eye_R": eye & ~left,
        "OpticNrv_L": nerve & left,
        "OpticNrv_R": nerve & ~left,
        "Parotid_L": (tissue == TISSUES["gland"]) & left,
        "Parotid_R": (tissue == TISSUES["gland"]) & ~left,
        "SpinalCord": stem & (z <= -66),
    }
    bits = np.zeros(tissue.shape, np.uint16)
    for i, name in enumerate(STRUCTURES):
        bits |= masks[name].astype(np.uint16) << np.uint16(i)
    return bits


def region_map(points: np.ndarray, skin: np.ndarray, skull: np.ndarray, facemask: np.ndarray) -> np.ndarray:
    """(z, y, x) uint8, see `REGIONS`.

    ``facemask`` is the published one of the average head (True where pydeface removes); the face is its union
    with everything near the skin in front, from above the brow to below the chin.
    """
    x, y, z = np.moveaxis(points, -1, 0)
    out = (skin <= 0).astype(np.uint8)
    near = (skin > -16) & (skin < 24) & (skull > 9)
    # the border runs from the outer corner of the eye down to the angle of the jaw
    border = np.interp(z, [-150, -125, -70, -30, 0], [-30, -38, -42, -66, -74]) - 0.004 * (x / 8) ** 2
    face = near & (y < border) & (z > -140) & (z < -1) & (np.abs(x) < 70)
    face |= facemask & near & (z > -140) & (z < -1)
    out[face] = REGIONS["face"]
    skin_shell = (skin > -4) & (skin < 4)
    out[skin_shell & face & (y < -62) & (z > -137) & (z < -4)] = REGIONS["brow_to_chin"]
    ear = (
        (np.abs(x) > 66)
        & (y > -8)
        & (y < 46)
        & (z > -84)
        & (z < -8)
        & (skin > -9)
        & (skin < 10)
        & (skull > 9)
    )
    out[ear & (x > 0)] = REGIONS["ear_left"]
    out[ear & (x < 0)] = REGIONS["ear_right"]
    return out


def landmarks(skin: np.ndarray) -> dict[str, list[float]]:
    """Points on the skin (LPS mm), found on the surface; paired ones end in _left (+x) and _right."""
    origin = GRID.origin

    def depth_at(x: float, z: float) -> float:
        """Y of the first skin met when coming from the front."""
        ys = origin[1] + SPACING * np.arange(0, GRID.shape[1] * 4) / 4
        index = GRID.to_index(np.stack([np.full_like(ys, x), ys, np.full_like(ys, z)], axis=-1))
        values = ndimage.map_coordinates(skin, index.T, order=1, mode="nearest")
        hits = np.flatnonzero(values < 0)
        return float(ys[hits[0]]) if len(hits) else np.nan

    def profile(low: float, high: float, x: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        zs = np.arange(low, high, 0.5)
        return zs, np.array([depth_at(x, z) for z in zs])

    def extreme(low: float, high: float, front: bool) -> list[float]:
        zs, ys = profile(low, high)
        k = int(np.nanargmin(ys) if front else np.nanargmax(ys))
        return [0.0, float(ys[k]), float(zs[k])]

    found = {
        "glabella": extreme(-18, 2, True),
        "nasion": extreme(-42, -18, False),
        "nose_tip": extreme(-74, -50, True),
        "subnasale": extreme(-84, -72, False),
        "stomion": extreme(-95, -90, False),
        "labiomental": extreme(-114, -101, False),
        "pogonion": extreme(-130, -115, True),
    }
    zs, ys = profile(-145, -120)
    chin = np.flatnonzero(ys < -80)
    found["menton"] = [0.0, float(ys[chin[0]]), float(zs[chin[0]])]
    inside = np.argwhere(skin < 0)
    world = GRID.to_world(inside)
    crown = world[:, 2].max()
    found["vertex"] = [0.0, float(np.median(world[world[:, 2] > crown - 2, 1])), float(crown)]
    back = world[(np.abs(world[:, 0]) < 3) & (world[:, 2] > -60)]
    found["opisthocranion"] = back[np.argmax(back[:, 1])].tolist()
    for name, x, z in (
        ("eye", 31.0, -30.0),
        ("endocanthion", 16.0, -31.0),
        ("exocanthion", 44.0, -31.0),
        ("brow", 27.0, -9.0),
        ("ala", 16.0, -67.0),
        ("cheilion", 23.0, -92.5),
        ("cheek", 44.0, -55.0),
        ("jaw", 40.0, -112.0),
    ):
        y = depth_at(x, z)
        found[f"{name}_left"], found[f"{name}_right"] = [x, y, z], [-x, y, z]
    for name, y, z in (("tragion", 4.0, -48.0), ("gonion", -20.0, -104.0), ("euryon", 0.0, 20.0)):
        near = world[(np.abs(world[:, 1] - y) < 2) & (np.abs(world[:, 2] - z) < 2)]
        x = float(np.abs(near[:, 0]).max())
        found[f"{name}_left"], found[f"{name}_right"] = [x, y, z], [-x, y, z]
    return {name: [round(float(v), 2) for v in point] for name, point in found.items()}
