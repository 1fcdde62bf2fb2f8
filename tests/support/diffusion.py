"""A virtual patient in an echo-planar sequence: volumes of one grid that show skin well, hardly, or not at all."""

from __future__ import annotations

import functools

import numpy as np
from scipy import ndimage

from defacedask.anatomy.template import load_template
from defacedask.geometry import Geometry
from defacedask.phantom.images import sources
from defacedask.phantom.shape import Pose, Shape
from defacedask.phantom.warp import Warp

__all__ = ["GRID", "adc", "grid", "magnitude", "phase", "t1"]

#: Signal of each tissue without diffusion weighting (fat suppressed in part), and its diffusion, mm2/s.
SIGNAL = {
    "air": (0, 0.0), "skin": (70, 1.0e-3), "fat": (55, 0.05e-3), "muscle": (160, 1.4e-3), "bone": (25, 0.2e-3),
    "brain": (300, 0.8e-3), "csf": (700, 3.0e-3), "eye": (600, 2.8e-3), "cavity": (3, 0.0), "tooth": (5, 0.0),
    "gland": (250, 1.1e-3), "cord": (300, 0.8e-3),
}  # fmt: skip
#: (z, y, x) voxels and mm, and mm below the ears where the field of view ends.
GRID = ((60, 112, 112), (3.5, 2.2, 2.2), -120.0)


def grid(subject: int = 1, *, seed: int = 3, frame: str = "1.2.3", plan: tuple = GRID) -> Geometry:
    """Field of view around a subject's head."""
    shape, spacing, bottom = plan
    shift = Pose.draw(seed, subject, 1).shift
    origin = (
        shift[0] - spacing[2] * (shape[2] - 1) / 2,
        shift[1] - 2.0 - spacing[1] * (shape[1] - 1) / 2,
        shift[2] + bottom,
    )
    return Geometry.from_spacing(shape, spacing, np.round(origin, 2), frame)


@functools.cache
def _painted(b: float, fat: float) -> np.ndarray:
    template = load_template("average_t1")
    table = np.zeros(len(template.tissue_names), np.float32)
    for name, label in template.tissue_names.items():
        signal, diffusion = SIGNAL["skin" if name == "air" else name]
        table[label] = signal * np.exp(-b * diffusion) * (fat if name in ("fat", "bone") else 1.0)
    inside = np.clip(0.5 - template.skin.values.astype(np.float32) * 0.1 / 1.5, 0, 1)
    # white matter is darker than grey, and nothing in a brain is even
    texture = 1.0 + 0.35 * np.clip((300 - template.image.values) / 120.0, -1.0, 1.0)
    values = np.where(
        template.mask("Brain"), table[template.tissue.values] * texture, table[template.tissue.values]
    )
    return np.asarray(ndimage.gaussian_filter(values.astype(np.float32), 0.8) * inside, np.float32)


def _warp(where: Geometry, subject: int, seed: int, moved: tuple[float, ...]) -> Warp:
    # the head moves by so many mm (L, P, S): it is scanned on a grid that moved the other way
    affine = where.affine.copy()
    affine[:3, 3] -= moved
    there = Geometry(where.shape, affine, where.frame_of_reference)
    return Warp(Shape.draw(seed, subject), Pose.draw(seed, subject, 1), there, load_template().geometry)


@functools.lru_cache(maxsize=4)
def _clean(
    where: Geometry, b: float, subject: int, seed: int, moved: tuple[float, ...], fat: float = 1.0
) -> np.ndarray:
    (values,) = _warp(where, subject, seed, moved).pull(_painted(b, fat), outside=(0.0,))
    return np.asarray(ndimage.gaussian_filter(values, (0.0, 0.4, 0.4)))


def _complex(signal: np.ndarray, where: Geometry, sigma: float, number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    u, v, w = (at / 100.0 for at in where.positions(dtype=np.float64))
    field = 2.0 * u - 3.0 * v + 1.5 * w + 2.0 * u * v - 1.5 * v * w + 3.0 * v * v
    noise = sigma * (rng.standard_normal(where.shape) + 1j * rng.standard_normal(where.shape))
    return signal * np.exp(1j * field) + noise


def magnitude(
    where: Geometry,
    b: float = 0.0,
    *,
    subject: int = 1,
    seed: int = 3,
    moved: tuple[float, float, float] = (0.0, 0.0, 0.0),
    sigma: float = 8.0,
    number: int = 0,
    ghost: tuple[float, int] = (0.0, 0),
    fat: float = 1.0,
) -> np.ndarray:
    """Stored values; ``moved`` is by how many mm the head lies elsewhere (L, P, S).

    ``ghost`` is how much of it is shown again, and how many rows off; ``fat`` above 1 is fat that nothing suppressed.
    """
    signal = _clean(where, b, subject, seed, moved, fat)
    if ghost[0]:
        signal = signal + ghost[0] * np.roll(signal, ghost[1], axis=1)
    return np.rint(np.abs(_complex(signal, where, sigma, number))).astype(np.int16)


def phase(where: Geometry, *, sigma: float = 8.0, number: int = 7, **head: object) -> np.ndarray:
    """The phase of the image without weighting, -4096 to 4095: noise where there is no signal."""
    signal = _clean(
        where, 0.0, head.get("subject", 1), head.get("seed", 3), head.get("moved", (0.0, 0.0, 0.0))
    )  # type: ignore[arg-type]
    return np.clip(
        np.rint(np.angle(_complex(signal, where, sigma, number)) / np.pi * 4095), -4096, 4095
    ).astype(np.int16)


def adc(where: Geometry, **head: object) -> np.ndarray:
    """Apparent diffusion, 1e-6 mm2/s: noise where there is no signal."""
    one, other = (np.maximum(magnitude(where, b, number=int(b) + 11, **head), 1) for b in (0.0, 1000.0))  # type: ignore[arg-type]
    return np.clip(np.rint(-np.log(other / one) * 1000), -4096, 4095).astype(np.int16)


def t1(
    where: Geometry, *, subject: int = 1, seed: int = 3, moved: tuple[float, ...] = (0.0, 0.0, 0.0)
) -> np.ndarray:
    """A T1 of the same or another head on the same grid."""
    (values,) = _warp(where, subject, seed, moved).pull(sources()["t1"], outside=(0.0,))
    noise = 8.0 * np.random.default_rng(5).standard_normal(where.shape)
    return np.rint(np.abs(values + noise)).astype(np.int16)
