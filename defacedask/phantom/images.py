"""CT, MR and PET of a virtual patient: what a scanner would see of the deformed average head."""

from __future__ import annotations

import functools

import numpy as np
from scipy import ndimage

from defacedask.anatomy.template import load_template
from defacedask.geometry import Geometry
from defacedask.phantom.warp import Warp

__all__ = ["SUV", "ct_values", "mr_values", "pet_values", "sources"]

#: Uptake of each tissue, SUV (body weight), about as in FDG PET.
SUV = {
    "air": 0.0,
    "skin": 0.35,
    "fat": 0.3,
    "muscle": 0.75,
    "bone": 0.6,
    "brain": 7.0,
    "csf": 1.2,
    "eye": 0.8,
    "cavity": 0.1,
    "tooth": 0.2,
    "gland": 2.2,
    "cord": 1.6,
}


@functools.cache
def sources() -> dict[str, np.ndarray]:
    """Float32 volumes on the average head's grid from which images are pulled: ct, t1, suv, skin (mm)."""
    template = load_template("average_t1")
    tissue = template.tissue.values
    skin = template.skin.values.astype(np.float32) * 0.1
    inside = np.clip(0.5 - skin / 1.5, 0, 1)

    def painted(values: dict[str, float]) -> np.ndarray:
        table = np.zeros(len(template.tissue_names), np.float32)
        for name, label in template.tissue_names.items():
            table[label] = values["skin" if name == "air" else name]
        return table[tissue]

    # The average is hazy where people differ: half of it, half its tissues, and its brain with more contrast.
    t1 = template.image.values.astype(np.float32)
    model = ndimage.gaussian_filter(painted(template.facts["t1"]), 0.5) * inside
    brain = ndimage.gaussian_filter(template.mask("Brain").astype(np.float32), 1.0)
    crisp = t1 + 1.5 * (t1 - ndimage.gaussian_filter(t1, 2.0))
    t1 = np.maximum(brain * crisp + (1 - brain) * (0.45 * t1 + 0.55 * model), 0)
    # grey matter takes up more than white, which is brighter in T1
    grey = np.clip((330 - template.image.values) / 60.0, 0.0, 1.2).astype(np.float32)
    suv = painted(SUV) * inside
    suv = np.where(tissue == template.tissue_names["brain"], 4.0 + 4.5 * grey, suv)
    out = {
        "ct": load_template("average_ct").image.values.astype(np.float32),
        "t1": t1,
        "suv": suv,
        "skin": skin,
    }
    return {name: np.ascontiguousarray(volume, dtype=np.float32) for name, volume in out.items()}


def noise(rng: np.random.Generator, shape: tuple[int, ...], blur: float) -> np.ndarray:
    """Unit-variance noise, correlated in the slice plane over ``blur`` pixels; one slice at a time."""
    out = np.empty(shape, np.float32)
    for k in range(shape[0]):
        plane = rng.standard_normal(shape[1:], dtype=np.float32)
        out[k] = ndimage.gaussian_filter(plane, blur, mode="wrap") if blur else plane
    # variance of white noise after a Gaussian of this width, from the kernel itself
    if blur:
        impulse = np.zeros(65)
        impulse[32] = 1.0
        out /= np.float32((ndimage.gaussian_filter1d(impulse, blur) ** 2).sum())
    return out


def couch_values(grid: Geometry, skin: np.ndarray) -> np.ndarray:
    """HU of couch and headrest on the grid, -1000 elsewhere.

    Parameters
    ----------
    grid : Geometry
        Axis-aligned scanner grid.
    skin : (z, y, x) array
        Signed distance to the skin (mm), negative inside.
    """
    x, y, z = grid.positions()
    inside = skin < 0
    columns = np.abs(x[0, 0]) < 60
    touched = np.flatnonzero(inside[:, :, columns].any(axis=(0, 2)))
    back = float(y[0, touched[-1], 0]) if len(touched) else 100.0
    widest = int(np.argmax(inside.sum(axis=(1, 2)))) if len(touched) else 0
    behind = np.array([plane[:, columns].any(axis=1).nonzero()[0].max(initial=0) for plane in inside])
    pole = float(z[int(np.argmax(behind)), 0, 0]) if len(touched) else float(z[widest, 0, 0])
    out = np.full(grid.shape, -1000.0, np.float32)
    top = back + 24.0
    slab = (y >= top) & (y < top + 18) & (np.abs(x) < 210)
    shell = slab & ((y < top + 2.5) | (y > top + 15.5) | (np.abs(x) > 207))
    out[np.broadcast_to(slab, grid.shape)] = -930
    out[np.broadcast_to(shell, grid.shape)] = -180
    # the headrest is a bowl under the back of the head, on two walls
    radius = np.sqrt(x**2 + (y - (back - 78)) ** 2)
    length = (z > pole - 62) & (z < pole + 48)
    bowl = (np.abs(radius - 84.5) < 1.6) & (y > back - 38) & length
    foot = (np.abs(np.abs(x) - 40) < 1.6) & (y > back - 8) & (y < top) & (radius > 84) & length
    out[(bowl | foot) & (skin > 1)] = -120
    return out


def ct_values(warp: Warp, rng: np.random.Generator, *, sigma: float = 14.0) -> tuple[np.ndarray, np.ndarray]:
    """CT of a subject.

    Parameters
    ----------
    warp : Warp
    rng : numpy.random.Generator
    sigma : float
        Noise in HU.

    Returns
    -------
    (z, y, x) float32 HU with couch, headrest, mild blur and noise; (z, y, x) float32 signed distance to the skin
    in the average head's mm (negative inside, clipped at 12).
    """
    volumes = sources()
    hu, skin = warp.pull(volumes["ct"], volumes["skin"], outside=(-1000.0, 12.0))
    hu = np.maximum(hu, couch_values(warp.grid, skin))
    spacing = warp.grid.spacing
    for k in range(len(hu)):
        hu[k] = ndimage.gaussian_filter(hu[k], (0.5 / spacing[1], 0.5 / spacing[2]))
    noisy = noise(rng, hu.shape, 0.7)
    # denser surroundings, more noise; air is quieter
    noisy *= np.float32(sigma) * np.where(hu < -600, np.float32(0.6), np.float32(1.0))
    hu += noisy
    return np.clip(hu, -1024, 3071), skin


def mr_values(warp: Warp, rng: np.random.Generator, *, sigma: float = 9.0, bias: float = 0.18) -> np.ndarray:
    """T1-weighted MR of a subject: bias field and Rician noise, arbitrary units (white matter about 330)."""
    (t1,) = warp.pull(sources()["t1"], outside=(0.0,))
    x, y, z = warp.grid.positions()
    centre, extent = warp.grid.centre, np.array(warp.grid.spacing)[::-1] * np.array(warp.grid.shape)[::-1]
    u, v, w = (2 * (p - c) / e for p, c, e in zip((x, y, z), centre, extent, strict=True))
    a = rng.normal(size=6).astype(np.float32)
    field = a[0] * u + a[1] * v + a[2] * w + a[3] * u * v + a[4] * w * w + a[5] * v * v
    t1 *= np.exp(np.float32(bias) * field / 2)
    real = rng.standard_normal(t1.shape, dtype=np.float32)
    real *= np.float32(sigma)
    real += t1
    other = rng.standard_normal(t1.shape, dtype=np.float32)
    other *= np.float32(sigma)
    return np.hypot(real, other)


def pet_values(warp: Warp, rng: np.random.Generator, lesion: np.ndarray, *, fwhm: float = 6.0) -> np.ndarray:
    """FDG PET of a subject, SUV.

    Parameters
    ----------
    warp : Warp
    rng : numpy.random.Generator
    lesion : (z, y, x) array
        Fraction of each voxel that is target, on the warp's grid.
    fwhm : float
        Resolution, mm.
    """
    (suv,) = warp.pull(sources()["suv"], outside=(0.0,))
    suv = np.maximum(suv, 9.0 * lesion.astype(np.float32))
    sigma = fwhm / 2.3548 / np.array(warp.grid.spacing)
    suv = ndimage.gaussian_filter(suv, sigma)
    grain = ndimage.gaussian_filter(rng.standard_normal(suv.shape, dtype=np.float32), 0.8)
    suv += np.float32(0.25) * np.sqrt(np.maximum(suv, 0.02)) * grain / np.float32(0.35)
    return np.maximum(suv, 0)
