"""Tissues under the skin: what the average shows (brain, skull, fat), and modelled bones and air spaces."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage import segmentation

from tools.average_head.skin import ball, ellipse, tube
from tools.average_head.source import GRID, SPACING, grid_positions

TISSUES = {
    "air": 0,
    "skin": 1,
    "fat": 2,
    "muscle": 3,
    "bone": 4,
    "brain": 5,
    "csf": 6,
    "eye": 7,
    "cavity": 8,
    "tooth": 9,
    "gland": 10,
    "cord": 11,
}

#: Eyeballs: centre (of the left one) and radius, read from the average.
EYE, EYE_RADIUS = (30.0, -77.0, -29.0), 12.0


def floor_of_brain(points: np.ndarray) -> np.ndarray:
    """Height (z, mm) of the skull's inner base, read from the average at the middle and at the sides."""
    y, x = points[..., 1], np.abs(points[..., 0])
    middle = np.interp(
        y, [-90, -30, -24, -12, 2, 10, 30, 60, 80, 95], [-18, -20, -30, -34, -56, -64, -64, -54, -32, -10]
    )
    side = np.interp(
        y, [-90, -48, -38, 0, 6, 16, 22, 60, 75, 95], [-6, -8, -40, -42, -36, -34, -56, -54, -32, -10]
    )
    weight = np.clip((x - 10) / 14, 0, 1)
    return middle + weight * (side - middle)


def inner_skull(t1: np.ndarray, skin: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Signed distance (mm, negative inside) to the middle of the skull: the dark ring in the average T1."""
    above = points[..., 2] - floor_of_brain(points)
    markers = np.zeros(t1.shape, np.int32)
    markers[(skin < -19) & (above > 7)] = 1
    markers[(skin > -6) | (above < -3)] = 2
    bright = ndimage.gaussian_filter(np.nan_to_num(t1), 1.0)
    inside = segmentation.watershed(-bright, markers) == 1
    distance = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    skull = ndimage.gaussian_filter(distance * SPACING, 2.0 / SPACING)
    return (skull + skull[:, :, ::-1]) / 2


def mandible(points: np.ndarray) -> np.ndarray:
    """About the signed distance to the lower jaw: body, ramus, both processes."""
    p = points
    body = [
        tube(
            p,
            [
                (0, -90 + 3 * t, -122 + 15 * t, 5.2),
                (17, -84 + 2 * t, -120 + 14 * t, 5.2),
                (33, -58 + 0 * t, -113 + 12 * t, 5),
                (46, -26 - 3 * t, -101 + 12 * t, 4.6),
            ],
        )
        for t in (0, 0.5, 1)
    ]
    ramus = tube(p, [(46, -22, -100, 4.6), (48, -14, -72, 4), (51, -4, -54, 5)])
    coronoid = tube(p, [(46, -30, -96, 4.6), (45, -36, -80, 4.2), (46, -38, -60, 2.6)])
    plate = tube(p, [(46, -24, -96, 4), (47, -26, -74, 3.6)])
    return np.minimum.reduce([*body, ramus, coronoid, plate])


def bones(points: np.ndarray) -> np.ndarray:
    """About the signed distance to the bones of face and neck."""
    p = points
    zygoma = tube(
        p,
        [(26, -82, -46, 4.5), (44, -75, -48, 5.5), (53, -56, -47, 4.5), (63, -25, -48, 3), (63, -5, -48, 4)],
    )
    orbit = ball(p, (31, -66, -29), (20, 24, 19))
    rim = np.maximum(np.abs(orbit + 1.5) - 1.5, -(p[..., 1] + 85))
    alveolus = tube(p, [(0, -92, -82, 5.5), (14, -86, -82, 5.5), (25, -66, -80, 6), (28, -46, -78, 5)])
    sinus = ball(p, (28, -62, -55), (17, 19, 19))
    walls = np.abs(sinus + 1) - 1.4
    palate = np.maximum(np.abs(p[..., 2] + 75) - 2.2, ball(p, (0, -62, -75), (26, 28, 20)))
    nasal = tube(p, [(0, -90, -26, 4.5), (0, -98, -42, 3.5)])
    hyoid = tube(p, [(0, -36, -138, 3), (17, -24, -136, 2.4)])
    mastoid = ball(p, (58, 18, -62), (10, 12, 18))
    out = zygoma
    for part in (rim, alveolus, walls, palate, nasal, hyoid, mastoid, mandible(p), spine(p)):
        out = np.minimum(out, part)
    return out


def spine(points: np.ndarray) -> np.ndarray:
    """Cervical vertebrae: bodies with discs between, and the arch around the canal."""
    z = points[..., 2]
    bodies = ellipse(points, [(-228, 3, 14, 9), (-66, 3, 12, 8)])
    disc = np.abs((z + 76 + 8.5) % 17 - 8.5) - 2.0  # negative within a disc
    bodies = np.maximum(bodies, -disc)
    bodies = np.maximum(bodies, z + 64)
    arch = np.abs(ellipse(points, [(-228, 19, 15, 11), (-66, 19, 15, 12)])) - 2.6
    arch = np.maximum(arch, np.maximum(z + 68, np.abs((z + 76) % 17 - 8.5) - 5.5))
    spinous = ball(points, (0, 40, 0), (3.5, 13, 1e4))
    spinous = np.maximum(spinous, np.maximum(z + 84, np.abs((z + 76) % 17 - 8.5) - 4.0))
    transverse = tube(points * np.array([1, 1, 0]), [(13, 6, 0, 4.5), (26, 10, 0, 4.0)])
    transverse = np.maximum(transverse, np.maximum(z + 70, np.abs((z + 76) % 17 - 8.5) - 4.0))
    return np.minimum(np.minimum(bodies, arch), np.minimum(spinous, transverse))


def teeth(points: np.ndarray) -> np.ndarray:
    """About the signed distance to both rows of teeth."""
    upper = tube(points, [(0, -95, -88, 3.4), (12, -90, -88, 3.4), (22, -70, -87, 4), (25, -54, -86, 4.2)])
    lower = tube(points, [(0, -93, -97, 3.2), (11, -88, -97, 3.2), (22, -68, -95, 4), (27, -52, -93, 4.2)])
    return np.minimum(upper, lower)


def brainstem(points: np.ndarray) -> np.ndarray:
    """About the signed distance to the brain stem and, below z = -66, the spinal cord."""
    return tube(
        points,
        [
            (0, 2, -30, 12),
            (0, 6, -45, 10.5),
            (0, 12, -58, 7),
            (0, 16, -70, 5.5),
            (0, 18, -105, 4.6),
            (0, 18, -240, 4.6),
        ],
    )


def optic_nerve(points: np.ndarray) -> np.ndarray:
    """About the signed distance to both optic nerves, from eyeball to chiasm."""
    return tube(points, [(28, -64, -29, 2.2), (14, -38, -24, 2.2), (3, -22, -21, 2.4)])


def cavities(points: np.ndarray) -> np.ndarray:
    """About the signed distance to air inside the head: sinuses, nose, mouth, pharynx, trachea, ear canals."""
    p = points
    x = np.abs(p[..., 0])
    nose = np.maximum(
        np.abs(x - 4.5 - 1.5 * np.sin(p[..., 2] / 4.0)) - 1.9, ball(p, (0, -62, -56), (14, 30, 18))
    )
    ethmoid = np.maximum(ball(p, (7, -60, -33), (6, 16, 8)), 0.8 - np.abs((p[..., 1] + 60) % 9 - 4.5))
    parts = [
        nose,
        ethmoid,
        ball(p, (28, -62, -55), (14.5, 16.5, 16.5)),
        ball(p, (8, -91, -6), (8, 4, 8)),
        ball(p, (7, -30, -37), (6.5, 9, 7)),
        tube(p, [(5.5, -107, -74, 2.6), (5, -96, -66, 3.2), (4.5, -82, -62, 3.0)]),
        tube(
            p, [(0, -32, -58, 7), (0, -24, -66, 8), (0, -16, -82, 6), (0, -14, -108, 6.5), (0, -16, -128, 8)]
        ),
        tube(p, [(0, -16, -128, 7), (0, -24, -150, 7), (0, -26, -165, 7.5), (0, -22, -240, 8.5)]),
        ball(p, (0, -60, -80.5), (17, 24, 2.4)),
        tube(p, [(76, 10, -50, 2.6), (58, 6, -48, 2.6)]),
        np.maximum(ball(p, (57, 18, -50), (6, 9, 10)), 1.0 - np.abs((p[..., 1] + p[..., 2]) % 7 - 3.5)),
    ]
    return np.minimum.reduce(parts)


def tissue_map(t1: np.ndarray, skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label every voxel of `GRID` with its tissue.

    Returns
    -------
    uint8 labels (see `TISSUES`), signed distance to the middle of the skull (mm).
    """
    points = grid_positions(GRID)
    depth = -skin
    skull = inner_skull(t1, skin, points)
    bright = ndimage.gaussian_filter(np.nan_to_num(t1), 0.7)
    out = np.full(GRID.shape, TISSUES["muscle"], np.uint8)

    cheek = np.exp(-0.5 * (((np.abs(points[..., 0]) - 42) / 14) ** 2 + ((points[..., 2] + 75) / 22) ** 2))
    cheek = np.where(points[..., 1] < -30, cheek, 0)
    layer = 4.0 + 6.0 * cheek + 2.5 * np.clip((-80 - points[..., 2]) / 40, 0, 1)
    fat = (depth < layer) | ((bright > 285) & (depth < 22) & (skull > 0))
    orbit = (ball(points, (31, -66, -29), (18, 22, 17)) < 0) & (depth > 3)
    out[fat | orbit] = TISSUES["fat"]
    # ears are cartilage and skin, lips and nose wings muscle: no fat in thin parts
    thick = ndimage.binary_opening(depth > 0, ndimage.generate_binary_structure(3, 1), iterations=5)
    out[~thick & (out == TISSUES["fat"])] = TISSUES["muscle"]
    out[ball(points, (55, -6, -76), (9, 15, 21)) < 0] = TISSUES["gland"]
    out[(np.abs(skull) < 3.0) & (depth > 3.5)] = TISSUES["bone"]
    out[(skull < -3.0)] = TISSUES["csf"]
    ventricle = (bright < 215) & (skull < -28) & (ball(points, (12, 0, 15), (26, 50, 26)) < 0)
    out[(skull < -4.2) & ~ventricle] = TISSUES["brain"]
    out[(bones(points) < 0) & (depth > 2.2) & (skull > -2)] = TISSUES["bone"]
    canal = tube(points, [(0, 13, -50, 9), (0, 17, -70, 8), (0, 18, -105, 7), (0, 18, -240, 7)])
    out[(canal < 0) & (skull > -4.2)] = TISSUES["csf"]
    stem = brainstem(points)
    out[(stem < 0) & (points[..., 2] < -28)] = TISSUES["cord"]
    out[(stem < 0) & (points[..., 2] > -66)] = TISSUES["brain"]
    out[ball(points, EYE, (EYE_RADIUS,) * 3) < 0] = TISSUES["eye"]
    out[optic_nerve(points) < 0] = TISSUES["muscle"]
    out[(teeth(points) < 0) & (depth > 2.5)] = TISSUES["tooth"]
    cavity = cavities(points) < 0
    canal_of_ear = (tube(points, [(82, 10, -50, 2.6), (58, 6, -48, 2.6)]) < 0) & (depth > 0)
    out[cavity & (depth > 2.5) & (skull > 0) & (out != TISSUES["eye"])] = TISSUES["cavity"]
    # the nostrils stay dimples: an open one, 3 mm wide, renders as a bright slit at this resolution
    out[canal_of_ear] = TISSUES["cavity"]
    out[(depth < 1.8) & (out != TISSUES["cavity"])] = TISSUES["skin"]
    out[depth <= 0] = TISSUES["air"]
    return out, skull
