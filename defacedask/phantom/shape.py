"""What makes one virtual patient another person: a smooth deformation of the average head.

A subject is a sum of Gaussian displacement fields, each anchored on a landmark and named after what it changes
(jaw width, nose length, ...). The fields are written as the *inverse* map, from the subject's own space to the
average head, because images are made by pulling; the average's landmarks serve as anchors in both.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from scipy import ndimage

from defacedask.geometry import Geometry

__all__ = ["TRAITS", "Pose", "Shape", "Trait", "subject_rng"]


@dataclasses.dataclass(frozen=True)
class Trait:
    """One way heads differ.

    Attributes
    ----------
    name : str
    centre : (x, y, z)
        LPS mm on the average head; x > 0 means a pair, mirrored at x = 0.
    width : (x, y, z)
        One standard deviation of the Gaussian along each axis, mm.
    direction : (x, y, z)
        Where tissue moves for a positive amount; mirrored with the centre.
    spread : float
        Standard deviation over subjects, mm.
    """

    name: str
    centre: tuple[float, float, float]
    width: tuple[float, float, float]
    direction: tuple[float, float, float]
    spread: float


#: Spreads are those of adult anthropometry (about; the amounts are cut at two standard deviations).
TRAITS = (
    Trait("forehead slope", (0, -92, 28), (42, 28, 26), (0, -1, 0.2), 4.0),
    Trait("temple width", (68, -50, -5), (18, 26, 26), (1, 0, 0), 3.0),
    Trait("back of the head", (0, 90, 5), (45, 30, 40), (0, 1, 0), 4.5),
    Trait("brow ridge", (25, -98, -9), (18, 14, 9), (0, -1, 0), 2.6),
    Trait("brow height", (26, -97, -10), (20, 16, 10), (0, 0, 1), 2.8),
    Trait("eye distance", (31, -84, -30), (13, 20, 13), (1, 0, 0), 2.6),
    Trait("eye depth", (31, -88, -30), (13, 14, 10), (0, 1, 0), 2.2),
    Trait("eye height", (31, -88, -30), (16, 20, 11), (0, 0, 1), 2.2),
    Trait("nasion depth", (0, -98, -25), (12, 13, 10), (0, 1, 0), 2.8),
    Trait("bridge height", (0, -106, -43), (9, 13, 11), (0, -1, 0), 3.2),
    Trait("bridge width", (9, -98, -42), (7, 12, 12), (1, 0, 0), 1.6),
    Trait("nose projection", (0, -117, -63), (12, 15, 13), (0, -1, 0), 4.2),
    Trait("nose tip height", (0, -116, -64), (12, 15, 12), (0, 0, 1), 3.2),
    Trait("nose width", (14, -104, -67), (9, 13, 10), (1, 0, 0), 2.4),
    Trait("midface height", (0, -100, -68), (48, 40, 22), (0, 0, -1), 4.0),
    Trait("cheekbone", (47, -76, -50), (18, 22, 16), (0.7, -0.7, 0), 3.6),
    Trait("cheek fullness", (46, -68, -84), (17, 24, 17), (0.8, -0.6, 0), 4.5),
    Trait("upper lip", (0, -104, -86), (17, 11, 6), (0, -0.5, 1), 1.6),
    Trait("lower lip", (0, -102, -99), (17, 11, 6), (0, -0.5, -1), 1.6),
    Trait("mouth width", (23, -94, -92), (11, 13, 10), (1, 0, 0), 2.8),
    Trait("mouth height", (0, -100, -92), (30, 22, 12), (0, 0, 1), 2.6),
    Trait("mouth projection", (0, -102, -91), (24, 18, 14), (0, -1, 0), 3.4),
    Trait("chin projection", (0, -100, -125), (20, 20, 15), (0, -1, 0), 5.0),
    Trait("chin height", (0, -90, -132), (34, 34, 20), (0, 0, -1), 5.0),
    Trait("chin width", (16, -94, -125), (14, 18, 14), (1, 0, 0), 3.6),
    Trait("front of the jaw", (38, -72, -114), (17, 22, 16), (0.8, -0.4, -0.2), 3.8),
    Trait("jaw width", (58, -24, -104), (20, 30, 24), (1, 0, 0), 5.0),
    Trait("jaw angle", (55, -22, -106), (20, 22, 16), (0, -0.4, -1), 4.0),
    Trait("ear protrusion", (82, 18, -42), (9, 20, 26), (1, 0, 0), 2.6),
    Trait("ear size", (80, 20, -20), (14, 22, 16), (0, 0.3, 1), 4.0),
    Trait("ear lobe", (78, 8, -72), (12, 16, 14), (0, 0, -1), 3.2),
    Trait("neck width", (52, 12, -165), (32, 60, 34), (1, 0, 0), 4.5),
    Trait("throat", (0, -40, -160), (22, 22, 26), (0, -1, 0), 3.0),
)

#: Standard deviations of the whole head's size along (x, y, z), as fractions, and of their common part.
SCALE_SPREAD, SIZE_SPREAD = (0.035, 0.035, 0.03), 0.02
#: How much of a paired trait's amount is drawn for each side on its own.
ASYMMETRY = 0.22
#: A subject's map must nowhere shrink tissue to less than this fraction.
LEAST = 0.15
#: Strength of all traits; chosen by measuring the distances between faces (see tests/phantom).
STRENGTH = 1.25


def subject_rng(seed: int, *names: str | int) -> np.random.Generator:
    """Random numbers that depend on the seed and on what they are for, not on the order of drawing."""
    words = [int(seed)]
    for name in names:
        words.append(name if isinstance(name, int) else int.from_bytes(str(name).encode(), "little"))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


@dataclasses.dataclass(frozen=True, eq=False)
class Shape:
    """One subject's anatomy.

    Attributes
    ----------
    scale : (3,) array
        Size relative to the average along x, y, z.
    centres, widths, moves : (n, 3) arrays
        The displacement fields: mm on the average head, LPS.
    amounts : dict of str to float
        Standard scores of the traits, for the curious.
    """

    scale: np.ndarray
    centres: np.ndarray
    widths: np.ndarray
    moves: np.ndarray
    amounts: dict[str, float]

    #: Fixed point of the scaling, LPS mm: between the ears.
    ORIGIN = (0.0, 0.0, -30.0)

    @classmethod
    def draw(cls, seed: int, subject: int, strength: float = STRENGTH) -> Shape:
        """Draw subject number ``subject`` of the cohort ``seed``."""
        rng = subject_rng(seed, "shape", subject)
        size = SIZE_SPREAD * _score(rng)
        scale = np.array([1 + size + spread * _score(rng) for spread in SCALE_SPREAD])
        centres, widths, moves, amounts = [], [], [], {}
        for trait in TRAITS:
            score = _score(rng)
            amounts[trait.name] = round(score, 3)
            sides = (1.0, -1.0) if trait.centre[0] else (1.0,)
            for side in sides:
                own = ASYMMETRY * _score(rng)
                mirror = np.array([side, 1.0, 1.0])
                centres.append(np.array(trait.centre) * mirror)
                widths.append(np.array(trait.width))
                unit = np.array(trait.direction) / np.linalg.norm(trait.direction)
                moves.append(strength * trait.spread * (score + own) * unit * mirror)
        shape = cls(scale, np.array(centres), np.array(widths), np.array(moves), amounts)
        while shape.squeeze() < LEAST:
            # rare: several traits that press the same tissue; a milder version of the same person
            shape = cls(scale, shape.centres, shape.widths, shape.moves * 0.9, amounts)
        return shape

    def squeeze(self) -> float:
        """Smallest local volume ratio of the map to the average head: 0 would be a fold."""
        field, _ = self.field
        a, b, c = (np.gradient(part, 4.0) for part in field)  # each along z, y, x
        (az, ay, ax), (bz, by, bx), (cz, cy, cx) = a, b, c
        ax, by, cz = 1 - ax, 1 - by, 1 - cz
        det = ax * (by * cz - bz * cy) - ay * (bx * cz - bz * cx) + az * (bx * cy - by * cx)
        return float(det.min())

    @functools.cached_property
    def field(self) -> tuple[np.ndarray, Geometry]:
        """Displacement (3, z, y, x) in mm along x, y, z on a 4 mm grid around the average head, and that grid."""
        grid = Geometry.from_spacing((90, 90, 76), (4.0, 4.0, 4.0), (-150.0, -180.0, -240.0))
        x, y, z = (p.ravel() for p in grid.positions(dtype=np.float64))
        out = np.zeros((3, *grid.shape), np.float32)
        for centre, width, move in zip(self.centres, self.widths, self.moves, strict=True):
            gx, gy, gz = (
                np.exp(-0.5 * ((p - c) / w) ** 2) for p, c, w in zip((x, y, z), centre, width, strict=True)
            )
            bump = (gz[:, None, None] * gy[None, :, None] * gx[None, None, :]).astype(np.float32)
            for k in range(3):
                if move[k]:
                    out[k] += np.float32(move[k]) * bump
        return out, grid

    def to_average(self, points: np.ndarray) -> np.ndarray:
        """Map positions in the subject's space (3, ...), LPS mm, to the average head (3, ...)."""
        origin, scale = (np.reshape(v, (3,) + (1,) * (points.ndim - 1)) for v in (self.ORIGIN, self.scale))
        scaled = (points - origin) / scale + origin
        field, grid = self.field
        start = np.reshape(grid.origin, origin.shape)
        index = ((scaled - start) / 4.0)[::-1]
        for k in range(3):
            scaled[k] -= ndimage.map_coordinates(field[k], index, order=1, mode="nearest", prefilter=False)
        return scaled


@dataclasses.dataclass(frozen=True, eq=False)
class Pose:
    """How a head lies in one scan: a small rotation about the ears, and the shift to scanner coordinates.

    Attributes
    ----------
    rotation : (3, 3) array
        From scanner axes to the subject's.
    shift : (3,) array
        Where the subject's origin lies in scanner coordinates, LPS mm.
    """

    rotation: np.ndarray
    shift: np.ndarray

    @classmethod
    def draw(cls, seed: int, subject: int, scan: int) -> Pose:
        """Draw the pose of one scan: about 3 degrees each way."""
        rng = subject_rng(seed, "pose", subject, scan)
        pitch, yaw, roll = np.radians([3.0 * _score(rng), 2.5 * _score(rng), 2.0 * _score(rng)])
        shift = np.array([4 * _score(rng), 6 * _score(rng), 15 * _score(rng)])
        cx, sx, cy, sy, cz, sz = (f(a) for a in (pitch, roll, yaw) for f in (np.cos, np.sin))
        about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
        return cls(about_z @ about_y @ about_x, np.round(shift, 1))

    @property
    def matrix(self) -> np.ndarray:
        """(4, 4): scanner coordinates -> the subject's space, LPS mm."""
        out = np.eye(4)
        out[:3, :3], out[:3, 3] = self.rotation, -self.rotation @ self.shift
        return out

    def to_subject(self, points: np.ndarray) -> np.ndarray:
        """Map scanner coordinates (3, ...), LPS mm, to the subject's space."""
        x, y, z = (p - s for p, s in zip(points, self.shift, strict=True))
        return np.stack([row[0] * x + row[1] * y + row[2] * z for row in self.rotation])


def _score(rng: np.random.Generator) -> float:
    """A standard score, cut at two."""
    return float(np.clip(rng.standard_normal(), -2.0, 2.0))
