"""The skin of the average head as a signed distance, completed below the measured field of view."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, spatial
from skimage import measure

from tools.average_head.source import GRID, SPACING, grid_positions

#: Below this height (LPS z, mm) nothing measured is used; over the next `BLEND` mm above it fades in.
TRUSTED = -113.0


def bump(
    points: np.ndarray, centre: tuple[float, float, float], width: tuple[float, float, float]
) -> np.ndarray:
    """Gaussian of peak 1, mirrored in x; ``width`` is one standard deviation along (x, y, z) in mm."""
    x = np.abs(points[..., 0])
    offsets = ((x - centre[0]) / width[0], (points[..., 1] - centre[1]) / width[1])
    return np.exp(-0.5 * (offsets[0] ** 2 + offsets[1] ** 2 + ((points[..., 2] - centre[2]) / width[2]) ** 2))


def smooth_min(a: np.ndarray, b: np.ndarray, k: float) -> np.ndarray:
    """Union of two signed distances with a fillet of about ``k`` mm."""
    h = np.clip(0.5 + 0.5 * (b - a) / k, 0, 1)
    return b + (a - b) * h - k * h * (1 - h)


def signed_distance(level: np.ndarray, band: float = 9.0) -> np.ndarray:
    """Signed distance in mm (negative inside) to the zero level, without the stairs of a voxel mask.

    Near the surface it is the distance to the nearest triangle corner's tangent plane; further away, the
    Euclidean transform.
    """
    inside = level < 0
    rough = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    rough = (rough - 0.5 * np.sign(rough)) * SPACING
    corners, _, normals, _ = measure.marching_cubes(level.astype(np.float32), 0.0)
    near = np.abs(rough) < band
    points = np.argwhere(near)
    _, nearest = spatial.cKDTree(corners).query(points)
    gap = points - corners[nearest]
    length = np.linalg.norm(gap, axis=1)
    height = np.abs(np.einsum("ij,ij->i", gap, normals[nearest]))
    # at sharp edges the tangent plane of the nearest corner is no measure: never less than half the distance
    exact = np.where(length < 1.5, height, np.maximum(height, length - 0.5)) * SPACING
    rough[near] = np.where(level[near] < 0, -exact, exact)
    return rough.astype(np.float32)


def measured_skin(t1: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Level of the average's own skin (negative inside).

    The threshold varies smoothly: higher where the average is smeared outwards by goggles and coils (brow,
    eyes, temples), lower at nose, lips and ears, which differ most between people and so average to grey.
    """
    threshold = np.full(t1.shape, 78.0, np.float32)
    threshold += 45 * bump(points, (0, -95, -12), (14, 14, 13))
    threshold += 28 * bump(points, (32, -88, -25), (22, 16, 16))
    threshold -= 26 * bump(points, (0, -112, -66), (16, 16, 14))
    threshold -= 28 * bump(points, (0, -100, -98), (30, 20, 14))
    threshold -= 28 * bump(points, (84, 15, -45), (10, 18, 26))
    level = 1 - ndimage.gaussian_filter(np.nan_to_num(t1), 0.5) / threshold
    solid = level < 0
    solid = ndimage.binary_fill_holes(solid)
    for k in np.flatnonzero(np.isfinite(t1).any(axis=(1, 2))):
        solid[k] = ndimage.binary_fill_holes(solid[k])
    parts, _ = ndimage.label(solid)
    head = parts == np.argmax(np.bincount(parts[solid]))
    level = np.where(head & (level >= 0), -0.5, level)
    return np.where(~head & (level < 0), 0.5, level)


def ellipse(points: np.ndarray, heights: list[tuple[float, ...]]) -> np.ndarray:
    """Stack of superellipses: rows (z, centre y, half width x, half depth y); about a distance in mm."""
    table = np.array(sorted(heights))
    z = points[..., 2]
    centre, a, b = (np.interp(z, table[:, 0], table[:, i]) for i in (1, 2, 3))
    r = ((np.abs(points[..., 0]) / a) ** 2.3 + (np.abs(points[..., 1] - centre) / b) ** 2.3) ** (1 / 2.3)
    return (r - 1) * np.minimum(a, b)


def tube(points: np.ndarray, knots: list[tuple[float, float, float, float]]) -> np.ndarray:
    """Signed distance to a chain of round cones through (x, y, z, radius), mirrored in x."""
    p = points.copy()
    p[..., 0] = np.abs(p[..., 0])
    out = np.full(p.shape[:-1], np.inf)
    for a, b in zip(np.array(knots[:-1]), np.array(knots[1:]), strict=True):
        along = b[:3] - a[:3]
        t = np.clip((p - a[:3]) @ along / (along @ along), 0, 1)
        radius = a[3] + t * (b[3] - a[3])
        out = np.minimum(out, np.linalg.norm(p - a[:3] - t[..., None] * along, axis=-1) - radius)
    return out


def ball(
    points: np.ndarray, centre: tuple[float, float, float], radii: tuple[float, float, float]
) -> np.ndarray:
    """About the signed distance to an ellipsoid, mirrored in x."""
    p = np.abs(points[..., 0]) - centre[0], points[..., 1] - centre[1], points[..., 2] - centre[2]
    r = np.sqrt(sum((c / s) ** 2 for c, s in zip(p, radii, strict=True)))
    return (r - 1) * min(radii)


def modelled_neck(points: np.ndarray) -> np.ndarray:
    """Chin, jaw, floor of the mouth, neck and the slope of the shoulders, by proportions of an adult."""
    jaw = tube(
        points,
        [
            (49, -18, -92, 9),
            (46, -24, -105, 10),
            (36, -54, -116, 11),
            (20, -77, -122, 11.5),
            (0, -85, -123.5, 12.5),
        ],
    )
    chin = ball(points, (0, -88, -123), (15, 12.5, 12))
    floor = ball(points, (0, -48, -114), (38, 40, 19))
    neck = ellipse(
        points,
        [
            (-80, 12, 57, 52),
            (-121, 12, 56, 51),
            (-150, 10, 54, 51),
            (-180, 12, 57, 54),
            (-205, 18, 66, 60),
            (-228, 20, 80, 66),
        ],
    )
    shoulders = ellipse(
        points,
        [
            (-150, 36, 25, 22),
            (-180, 36, 46, 30),
            (-205, 36, 80, 40),
            (-220, 34, 108, 48),
            (-228, 33, 122, 54),
        ],
    )
    larynx = ball(points, (0, -33, -158), (11, 10, 17))
    out = smooth_min(smooth_min(jaw, chin, 10), floor, 14)
    out = smooth_min(out, smooth_min(neck, shoulders, 24), 16)
    return smooth_min(out, larynx, 10)


def features(skin: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Give nose, lips, lids and brow back the relief that averaging has washed out.

    Positions are read from the average (nasion, tip, base, corners of eyes and mouth); only the relief is
    modelled, a few millimetres, blended into the measured surface.
    """
    nose = tube(
        points, [(0, -89, -23, 6.0), (0, -101.5, -42, 6.0), (0, -110.5, -58, 7.5), (0, -112, -62, 8.0)]
    )
    wings = ball(points, (11.5, -101, -66), (6.5, 9, 6.5))
    septum = tube(points, [(0, -110, -66, 4.5), (0, -103, -74, 4.5)])
    out = smooth_min(skin, smooth_min(nose, smooth_min(wings, septum, 5), 7), 6)
    lids = ball(points, (31, -78, -29), (14.5, 13.5, 12.5))
    out = smooth_min(out, lids, 4)
    upper = tube(points, [(0, -102.0, -87.5, 4.4), (8, -101.0, -88, 4.2), (22, -91.5, -92, 2.5)])
    lower = tube(points, [(0, -100.5, -97.5, 4.8), (10, -98.5, -97, 4.3), (21, -91.5, -93, 2.5)])
    out = smooth_min(out, np.minimum(upper, lower), 7)
    for depth, centre, width in (
        (2.6, (0, -106, -92.3), (15, 7, 1.5)),  # between the lips
        (2.0, (31, -92, -18.5), (11, 5, 3.0)),  # upper lid crease
        (1.6, (31, -92, -31), (9, 5, 1.4)),  # between the lids
        (1.2, (30, -88, -42), (12, 5, 3.0)),  # below the lower lid
        (2.5, (15.5, -92, -31), (3.5, 7, 5)),  # inner corner of the eye
        (2.5, (0, -101, -107), (16, 7, 4.5)),  # above the chin
        (1.2, (0, -106, -80), (3.0, 5, 5)),  # philtrum
        (2.2, (5.5, -107, -74), (3.2, 4.5, 2.5)),  # nostrils
        (1.5, (26, -92, -80), (5, 6, 12)),  # beside mouth and nose
        (-2.0, (27, -96, -9), (14, 6, 4.5)),  # brow
        (-2.2, (0, -101, -124), (13, 8, 8)),  # chin
        (-1.5, (44, -80, -52), (12, 12, 10)),  # cheekbone
    ):
        out = out + depth * bump(points, centre, width)
    return out


def skin_distance(t1: np.ndarray) -> np.ndarray:
    """Signed distance to the whole skin on `GRID`, (z, y, x) float32 mm, negative inside."""
    points = grid_positions(GRID)
    z = points[..., 2]
    top = int(np.ceil(GRID.to_index([0, 0, TRUSTED])[0]))
    part = measured_skin(t1[top:], points[top:])
    measured = np.empty(GRID.shape, np.float32)
    distance = signed_distance(part)
    # goggles, coils and pads leave dents: smooth well, but for the middle of the face and the ears
    fine = np.maximum(
        bump(points[top:], (0, -108, -65), (22, 22, 38)), bump(points[top:], (82, 15, -45), (14, 25, 32))
    )
    fine = np.clip(1.6 * fine, 0, 1)
    smooth = ndimage.gaussian_filter(distance, 5.0 / SPACING)
    distance = fine * ndimage.gaussian_filter(distance, 1.2 / SPACING) + (1 - fine) * smooth
    measured[top:] = distance
    # below the trusted slices the last contour goes on, closing like a bowl
    below = np.maximum(z[top, 0, 0] - z[:top], 0)
    measured[:top] = ndimage.gaussian_filter(distance[0], 4 / SPACING)[None] + 0.022 * below**2
    neck = modelled_neck(points)
    # the neck model only joins from the jaw down; above that the measured skin stands alone
    away = np.maximum(z + 100.0, 0) * 0.9
    whole = smooth_min(measured, neck + away, 12.0)
    below = np.clip((-92 - z) / 10, 0, 1)
    whole = whole + below * (ndimage.gaussian_filter(whole, 5.0 / SPACING) - whole)
    whole = features(whole, points)
    skin = ndimage.gaussian_filter(signed_distance(whole), 0.8 / SPACING).astype(np.float32)
    return (skin + skin[:, :, ::-1]) / 2  # ties between mirror images are broken one way
