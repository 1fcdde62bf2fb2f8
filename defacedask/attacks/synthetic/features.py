"""What synthetic voxels may be told by: local features of the tissue near the skin, on the image's own grid.

Noise and its spectrum are measured beside the image's own deep tissue (the front of the brain, which no defacer
touches), so that the scanner does not matter. No voxel of air takes part: the step at the skin is many times the
noise. A finer image is measured in its own voxels, and told at some of them: what is synthetic is no single voxel.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.synthetic.shells import SHELL, Layers, shifted
from defacedask.sampling import apply_affine

if TYPE_CHECKING:
    from defacedask.attacks.target import Target

__all__ = ["DEEPEST", "FAMILIES", "LEARNT", "LOCAL", "NAMES", "PLACE", "Looks", "near_skin"]

#: mm below the released skin down to which tissue is looked at.
DEEPEST = 25.0
#: Low and high corner, mm in the head's frame, of the tissue that all else is measured beside.
DEEP = ((-50.0, -50.0, -5.0), (50.0, 5.0, 45.0))
#: Number of its voxels without which the deepest tissue in view stands in for it.
ENOUGH = 300
#: mm between the voxels at which it is told, where the image's own are finer.
STEP = 2.5
#: Edges, in voxels, of the cubes that are averaged over.
CUBES = (3, 5, 9)
#: Features by what they look at.
FAMILIES: dict[str, tuple[str, ...]] = {
    "noise": ("finest", "fine", "middle", "broad"),
    "spectrum": ("along z", "along y", "along x", "two steps"),
    "edges": ("slope", "radial slope", "bend"),
    "values": ("value", "around"),
    "levels": ("rare", "repeated"),
    "place": ("depth", "aside", "front", "height"),
}
#: Features of the cube about a voxel; those of its shell follow.
LOCAL = tuple(name for names in FAMILIES.values() for name in names)
FAMILIES["shells"] = SHELL
NAMES = tuple(name for names in FAMILIES.values() for name in names)
#: Features that no fill need have: those of teachers have a fat's level, and a fill may have any.
LEVEL = ("value", "around", "shell value")
#: Columns of the features that a detector of CT learns from.
LEARNT = tuple(k for k, name in enumerate(NAMES) if name not in LEVEL)
#: Columns of the features that say where a voxel is, and nothing of what it looks like.
PLACE = tuple(NAMES.index(name) for name in FAMILIES["place"])


@dataclasses.dataclass(frozen=True, eq=False)
class Looks:
    """Tissue near the skin at some voxels of `Target.finest`, in a lattice of their own.

    Attributes
    ----------
    where : (n,) int array
        Flat index of each in the voxels of `Target.finest`.
    features : (n, features) float32 array
        In the order of `NAMES`.
    at : tuple of three (n,) int arrays
        Where each lies in the lattice.
    layer : (n,) int array
        See `shells.Layers`.
    depth : (n,) float32 array
        mm below the outside air.
    lattice : (z, y, x)
        Its shape.
    steps : (z, y, x)
        Voxels from one of its points to the next.
    spacing : (z, y, x)
        mm between its points.
    """

    where: np.ndarray
    features: np.ndarray
    at: tuple[np.ndarray, ...]
    layer: np.ndarray
    depth: np.ndarray
    lattice: tuple[int, ...]
    steps: tuple[int, ...]
    spacing: tuple[float, ...]

    def spread(self, odds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Something of each voxel on the lattice, 0 where nothing is, and where something is; float32."""
        out, weight = np.zeros((2, *self.lattice), np.float32)
        out[self.at], weight[self.at] = odds, 1.0
        return out, weight


def near_skin(target: Target) -> Looks:
    """Tissue within `DEEPEST` mm of the released skin, and its features."""
    from defacedask.anatomy.distances import distance_to
    from defacedask.modality import air_of

    values, geometry = target.finest
    steps = tuple(max(1, round(STEP / spacing)) for spacing in geometry.spacing)
    points = tuple(slice(None, None, step) for step in steps)
    body = values >= target.level
    depth = distance_to(~np.pad(body, 1), geometry.spacing)[1:-1, 1:-1, 1:-1]
    near = np.zeros_like(body)
    near[points] = body[points] & (depth[points] <= DEEPEST)
    at = np.nonzero(near[points])
    where = np.flatnonzero(near)
    features = np.empty((len(where), len(NAMES)), np.float32)
    spacing = tuple(float(a * b) for a, b in zip(geometry.spacing, steps, strict=True))
    lattice = near[points].shape
    if not len(where):
        nothing = np.zeros(0, np.float32)
        return Looks(where, features, at, nothing.astype(int), nothing, lattice, steps, spacing)
    deep = _deep(target, body, depth)
    air = np.float32(air_of(target.modality))
    tissue = np.float32(max(float(np.median(values[deep])) - float(air), 1e-6))
    unit = np.clip((values - air) / tissue, -1.0, 4.0)
    maps: dict[str, Any] = _texture(unit, body, depth)
    for name in (*FAMILIES["noise"], *FAMILIES["spectrum"]):
        maps[name] = maps[name] - np.float32(np.median(maps[name][deep]))
    own = body & (depth > DEEPEST)
    maps |= _levels(values, own if own.sum() >= ENOUGH else body & (depth > 8.0)) | _places(target)
    for k, name in enumerate(LOCAL):
        features[:, k] = np.broadcast_to(maps[name], values.shape).ravel()[where]
    layers = Layers.of(unit, body, geometry.spacing)
    features[:, len(LOCAL) :] = layers.looks(at, steps, maps["repeated"], deep, depth)
    return Looks(
        where, features, at, layers.number[points][at], layers.depth[points][at], lattice, steps, spacing
    )


def _deep(target: Target, body: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Tissue that no defacer touches."""
    _, geometry = target.finest
    places = apply_affine(target.pose, *geometry.positions(dtype=np.float64))
    box = body & (depth > 8.0)
    for place, low, high in zip(places, *DEEP, strict=True):
        box &= (place > low) & (place < high)
    return box if box.sum() >= ENOUGH else body & (depth >= np.quantile(depth[body], 0.9))


def _places(target: Target) -> dict[str, Any]:
    """Where a voxel lies in the average head, in units of 40 mm; left and right are alike."""
    _, geometry = target.finest
    matrix = target.matrix
    x, y, z = apply_affine(matrix, *geometry.positions(dtype=np.float64))
    return {"aside": np.abs(x) / 40.0, "front": y / 40.0, "height": z / 40.0}


def _levels(values: np.ndarray, own: np.ndarray) -> dict[str, np.ndarray]:
    """How seldom a voxel's exact value is among the patient's own beside values about it; and neighbours alike."""
    from scipy.ndimage import uniform_filter, uniform_filter1d

    kinds, index = np.unique(values, return_inverse=True)
    index = index.reshape(values.shape)
    counts = np.bincount(index[own], minlength=len(kinds)).astype(np.float64)
    about = uniform_filter1d(counts, 15, mode="nearest")
    rare = np.log((about + 0.5) / (counts + 0.5)).astype(np.float32)[index]
    same = np.zeros(values.shape, np.float32)
    for axis in range(3):
        ahead, behind = shifted(axis, 1)
        equal = np.diff(values, axis=axis) == 0
        same[ahead] += equal
        same[behind] += equal
    return {"rare": uniform_filter(rare, 3), "repeated": uniform_filter(same / np.float32(6.0), 3)}


def _texture(unit: np.ndarray, body: np.ndarray, depth: np.ndarray) -> dict[str, np.ndarray]:
    """Noise in bands, its correlation, and edges; ``unit`` is 0 in air and 1 in deep tissue."""
    from scipy.ndimage import uniform_filter

    mask = body.astype(np.float32)
    weights = {n: np.maximum(uniform_filter(mask, n), 1e-3) for n in CUBES}

    def mean(field: np.ndarray, n: int) -> Any:
        return uniform_filter(field * mask, n) / weights[n]

    def energy(field: np.ndarray, n: int) -> np.ndarray:
        return np.log(np.sqrt(np.maximum(mean(field * field, n), 0.0)) + np.float32(1e-3))

    means = {n: mean(unit, n) for n in CUBES}
    rest = (unit - means[3]) * mask
    power = mean(rest * rest, 5) + np.float32(1e-7)

    def together(axis: int, by: int) -> np.ndarray:
        ahead, behind = shifted(axis, by)
        product = np.zeros_like(rest)
        product[ahead] = rest[ahead] * rest[behind]
        return np.clip(mean(product, 5) / power, -1.0, 1.0)

    slopes = [np.gradient(means[3], axis=axis) for axis in range(3)]
    inward = [np.gradient(depth, axis=axis) for axis in range(3)]
    length = np.maximum(np.sqrt(sum(part * part for part in inward)), 1e-6)
    radial = sum(a * b for a, b in zip(slopes, inward, strict=True)) / length
    bend = sum(np.gradient(radial, axis=axis) * inward[axis] for axis in range(3)) / length
    return {
        "finest": energy(rest, 3),
        "fine": energy(rest, 5),
        "middle": energy(means[3] - means[5], 5),
        "broad": energy(means[5] - means[9], 9),
        "along z": together(0, 1),
        "along y": together(1, 1),
        "along x": together(2, 1),
        "two steps": (together(1, 2) + together(2, 2)) / np.float32(2.0),
        "slope": np.log(np.sqrt(sum(part * part for part in slopes)) + np.float32(1e-3)),
        "radial slope": radial,
        "bend": bend,
        "value": unit,
        "around": means[5],
        "depth": depth / np.float32(10.0),
    }
