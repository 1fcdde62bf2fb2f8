"""Virtual MR patients that teach what synthetic voxels look like: sequences, scanners, and what an average has lost.

Beside what a CT's teachers have (`tools.synthetic_teachers`), MR has sequences of any contrast, coils that shade,
Rician noise, images interpolated from fewer samples, slices along any axis, and air that was blanked.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter

from defacedask.anatomy.head import Head
from defacedask.anatomy.template import load_template
from defacedask.geometry import Geometry
from defacedask.phantom.images import sources
from defacedask.phantom.protocol import scan_grid
from defacedask.phantom.shape import Pose, Shape, subject_rng
from defacedask.phantom.warp import Warp
from defacedask.volume import make_volume
from tools.synthetic_teachers import SEED, known_head, texture

__all__ = ["mr_teacher"]

#: Brightness of tissues where T1 is not what is seen, as shares of the brightest: T2, and FLAIR.
CONTRASTS = {
    "T2": {
        "air": 0.0,
        "skin": 0.45,
        "fat": 0.75,
        "muscle": 0.25,
        "bone": 0.12,
        "brain": 0.45,
        "csf": 1.0,
        "eye": 0.95,
        "cavity": 0.03,
        "tooth": 0.03,
        "gland": 0.5,
        "cord": 0.4,
    },
    "FLAIR": {
        "air": 0.0,
        "skin": 0.45,
        "fat": 0.8,
        "muscle": 0.35,
        "bone": 0.15,
        "brain": 0.7,
        "csf": 0.15,
        "eye": 0.15,
        "cavity": 0.03,
        "tooth": 0.03,
        "gland": 0.6,
        "cord": 0.6,
    },
}


def mr_teacher(number: int) -> Head:
    """MR of one virtual patient, whose place is known."""
    shape, pose = Shape.draw(SEED, number), Pose.draw(SEED, number, 1)
    rng = subject_rng(SEED, "MR", "teacher", number)
    grid = _grid(number, pose, rng)
    values = _mr(Warp(shape, pose, grid, load_template("average_t1").geometry), rng)
    # half are stored as sagittal or coronal slices
    order = [(0, 1, 2), (0, 1, 2), (2, 0, 1), (1, 0, 2)][int(rng.integers(4))]
    affine = grid.affine[:, [*order, 3]]
    stored = Geometry(tuple(grid.shape[k] for k in order), affine)  # type: ignore[arg-type]
    volume = make_volume(np.ascontiguousarray(values.transpose(order)), stored, modality="MR", units="")
    return known_head(volume, shape, pose)


def _grid(number: int, pose: Pose, rng: np.random.Generator) -> Geometry:
    """Whole heads of 1 to 2 mm, and thick slices; the finest of them are of a part of the neck less."""
    view = scan_grid("MR", "normal", SEED, number, 1, pose, "")
    kind = number % 3
    pixel = rng.uniform(*((1.0, 1.3) if kind == 0 else (1.6, 2.2) if kind == 1 else (0.9, 1.4)))
    slices = pixel * rng.uniform(0.9, 1.2) if kind < 2 else rng.uniform(3.0, 6.0)
    spacing = tuple(round(float(s), 3) for s in (slices, pixel, pixel))
    low = rng.uniform(0, 40)
    height = view.shape[0] * view.spacing[0] - low - (rng.uniform(20, 60) if rng.random() < 0.2 else 0)
    plane = [int(n * s / t) for n, s, t in zip(view.shape[1:], view.spacing[1:], spacing[1:], strict=True)]
    return Geometry.from_spacing(
        [int(height / spacing[0]), *plane], spacing, view.origin + np.array([0, 0, low])
    )


@functools.cache
def _weighted(name: str) -> np.ndarray:
    """Another sequence than T1 on the average head's grid, as bright as T1."""
    template = load_template("average_t1")
    table = np.zeros(len(template.tissue_names), np.float32)
    for tissue, label in template.tissue_names.items():
        table[label] = 400 * CONTRASTS[name][tissue]
    inside = np.clip(0.5 - sources()["skin"] / 1.5, 0, 1)
    painted = gaussian_filter(table[template.tissue.values], 0.5)
    # where T1 has white matter, water is darker
    brain = gaussian_filter(template.mask("Brain").astype(np.float32), 1.0)
    matter = np.clip((300.0 - sources()["t1"]) / 100.0, -1.0, 1.0)
    return np.asarray(np.maximum((painted + 60 * brain * matter) * inside, 0), np.float32)


def _mr(warp: Warp, rng: np.random.Generator) -> np.ndarray:
    grid = warp.grid
    name = str(rng.choice(["T1", "T1", "T1", "T2", "FLAIR"]))
    seen = sources()["t1"] if name == "T1" else _weighted(name)
    signal, skin = warp.pull(seen, sources()["skin"], outside=(0.0, 12.0))
    signal *= 1 + np.float32(rng.uniform(0.03, 0.16)) * texture(rng, grid)
    signal *= _coils(rng, grid)
    noise = np.float32(np.exp(rng.uniform(np.log(2.0), np.log(22.0))))
    parts = [noise * rng.standard_normal(grid.shape, dtype=np.float32) for _ in range(2)]
    parts[0] += signal
    kind = rng.random()
    if kind < 0.4:
        # fewer samples than voxels: the outer part of k-space is zero
        share = [1.0 if rng.random() < 0.5 else rng.uniform(0.5, 0.9) for _ in range(3)]
        parts = [_sampled(one, share) for one in parts]
    elif kind < 0.75:
        # resampled, as by a registration
        widths = rng.uniform(0.25, 0.6, 3)
        parts = [gaussian_filter(one, widths) for one in parts]
    values = np.hypot(*parts)
    if rng.random() < 0.35:
        # air blanked by the scanner or a tool
        values[(skin > rng.uniform(3, 8)) & (values < 60)] = 0
    scale = np.exp(rng.uniform(np.log(0.3), np.log(6.0)))
    return np.rint(np.clip(values, 0, None) * scale).astype(np.int16)


def _coils(rng: np.random.Generator, grid: Geometry) -> np.ndarray:
    """A smooth field, and often a coil that sees what is near it better."""
    x, y, z = grid.positions()
    middle, extent = grid.centre, np.array(grid.spacing)[::-1] * np.array(grid.shape)[::-1]
    u, v, w = (2 * (p - c) / e for p, c, e in zip((x, y, z), middle, extent, strict=True))
    a = rng.normal(size=6).astype(np.float32) * np.float32(rng.uniform(0.05, 0.25))
    field = np.exp(a[0] * u + a[1] * v + a[2] * w + a[3] * u * v + a[4] * w * w + a[5] * v * v)
    if rng.random() < 0.5:
        field = field * (1 + np.float32(rng.uniform(0.1, 0.8)) * (u * u + v * v + w * w) / 2)
    return np.asarray(np.clip(field, 0.2, 4.0), np.float32)


def _sampled(field: np.ndarray, share: list[float]) -> np.ndarray:
    waves = dctn(field, norm="ortho")
    for axis, part in enumerate(share):
        kept = [slice(None)] * 3
        kept[axis] = slice(int(part * field.shape[axis]), None)
        waves[tuple(kept)] = 0
    return np.asarray(idctn(waves, norm="ortho"), np.float32)
