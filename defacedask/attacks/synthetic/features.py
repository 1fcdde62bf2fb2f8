"""What synthetic voxels may be told by: local features of voxels near the skin, on the image's own grid.

Everything is measured beside the image's own deep tissue (the front of the brain, which no defacer touches), so that
neither the scanner's noise nor its sharpness matters. Tissue and air are two domains: what is measured of one takes
no voxel of the other, for the step at the skin is many times the noise.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.sampling import apply_affine

if TYPE_CHECKING:
    from defacedask.attacks.attempts import Target

__all__ = ["DEEPEST", "FAMILIES", "NAMES", "PLACE", "Domain", "domains"]

#: mm on both sides of the released skin within which voxels are looked at.
DEEPEST = 25.0
#: Low and high corner, mm in the head's frame, of the tissue that all else is measured beside.
DEEP = ((-50.0, -50.0, -5.0), (50.0, 5.0, 45.0))
#: Number of its voxels without which the deepest tissue in view stands in for it.
ENOUGH = 300
#: Features that say where a voxel is, and nothing of what it looks like.
PLACE = ("depth", "aside", "front", "height")
#: Features by what they look at.
FAMILIES: dict[str, tuple[str, ...]] = {
    "noise": ("fine", "finest", "middle", "broad"),
    "spectrum": ("along z", "along y", "along x", "two steps"),
    "edges": ("slope", "radial slope", "bend"),
    "values": ("value", "around"),
    "levels": ("rare", "repeated"),
    "place": PLACE,
}
NAMES = tuple(name for names in FAMILIES.values() for name in names)


@dataclasses.dataclass(frozen=True, eq=False)
class Domain:
    """Voxels of tissue, or of air, near the released skin.

    Attributes
    ----------
    name : str
        ``tissue`` or ``air``.
    where : (n,) int array
        Flat index of each in the voxels of `Target.finest`.
    features : (n, features) float32 array
        In the order of `NAMES`.
    """

    name: str
    where: np.ndarray
    features: np.ndarray


def domains(target: Target) -> dict[str, Domain]:
    """Features of all voxels within `DEEPEST` mm of the released skin, by domain; those without voxels are left out."""
    from defacedask.anatomy.distances import distance_to
    from defacedask.modality import air_of

    values, geometry = target.finest
    body = values >= target.level
    if not body.any() or body.all():
        return {}
    depth = distance_to(~body, geometry.spacing) - distance_to(body, geometry.spacing)
    deep = _deep(target, body, depth)
    air = np.float32(air_of(target.modality))
    tissue = float(np.median(values[deep]))
    unit = np.clip((values - air) / max(tissue - float(air), 1e-6), -1.0, 4.0).astype(np.float32)
    places = _places(target)
    levels = _levels(values, body & (depth > DEEPEST))
    found = {}
    scale: dict[str, float] = {}
    for name, inside in (("tissue", body), ("air", ~body)):
        maps = _maps(unit, inside, depth)
        if name == "tissue":
            # noise relative to that of deep tissue; air's, too, for there is no air that surely is the patient's
            scale = {n: float(np.median(maps[n][deep])) for n in FAMILIES["noise"]}
            own = {n: float(np.median(maps[n][deep])) for n in FAMILIES["spectrum"]}
        maps |= levels | places
        near = inside & (np.abs(depth) <= DEEPEST)
        where = np.flatnonzero(near)
        if not where.size:
            continue
        out = np.empty((where.size, len(NAMES)), np.float32)
        for k, feature in enumerate(NAMES):
            base = scale.get(feature, own.get(feature, 0.0))
            out[:, k] = np.broadcast_to(maps[feature], values.shape).ravel()[where] - base
        found[name] = Domain(name, where, out)
    return found


def _deep(target: Target, body: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Tissue that no defacer touches."""
    _, geometry = target.finest
    x, y, z = apply_affine(target.pose, *geometry.positions(dtype=np.float64))
    low, high = DEEP
    inside = body & (depth > 8.0)
    box = np.ones(body.shape, bool)
    for place, a, b in zip((x, y, z), low, high, strict=True):
        box &= (place > a) & (place < b)
    if (box & inside).sum() >= ENOUGH:
        return box & inside
    return body & (depth >= np.quantile(depth[body], 0.9))


def _places(target: Target) -> dict[str, Any]:
    _, geometry = target.finest
    matrix = np.asarray(target.pose if target.to_template is None else target.to_template)
    x, y, z = apply_affine(matrix, *geometry.positions(dtype=np.float64))
    return {"aside": np.abs(x) / 40.0, "front": y / 40.0, "height": z / 40.0}


def _levels(values: np.ndarray, own: np.ndarray) -> dict[str, np.ndarray]:
    """How seldom a voxel's exact value is among the patient's own, beside values about it; and repeated neighbours."""
    from scipy.ndimage import uniform_filter, uniform_filter1d

    kinds, index = np.unique(values, return_inverse=True)
    index = index.reshape(values.shape)
    counts = np.bincount(index[own], minlength=len(kinds)).astype(np.float64)
    about = uniform_filter1d(counts, 15, mode="nearest")
    rare = np.log((about + 0.5) / (counts + 0.5)).astype(np.float32)[index]
    same = np.zeros(values.shape, np.float32)
    for axis in range(3):
        equal = np.diff(values, axis=axis) == 0
        ahead = [slice(None)] * 3
        behind = [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        same[tuple(ahead)] += equal
        same[tuple(behind)] += equal
    return {"rare": uniform_filter(rare, 3), "repeated": uniform_filter(same / np.float32(6.0), 3)}


def _maps(unit: np.ndarray, inside: np.ndarray, depth: np.ndarray) -> dict[str, np.ndarray]:
    """Features of one domain; nothing outside of it counts."""
    from scipy.ndimage import uniform_filter

    mask = inside.astype(np.float32)
    weights = {n: np.maximum(uniform_filter(mask, n), 1e-3) for n in (3, 5, 9)}

    def mean(field: np.ndarray, n: int) -> np.ndarray:
        return uniform_filter(field * mask, n) / weights[n]

    def energy(field: np.ndarray, n: int) -> np.ndarray:
        return np.log(np.sqrt(np.maximum(mean(field * field, n), 0.0)) + np.float32(1e-3))

    means = {n: mean(unit, n) for n in weights}
    rest = (unit - means[3]) * mask
    power = mean(rest * rest, 5) + np.float32(1e-7)

    def together(axis: int, by: int) -> np.ndarray:
        here, there = [slice(None)] * 3, [slice(None)] * 3
        here[axis], there[axis] = slice(by, None), slice(None, -by)
        product = np.zeros_like(rest)
        product[tuple(here)] = rest[tuple(here)] * rest[tuple(there)]
        return np.clip(mean(product, 5) / power, -1.0, 1.0)

    smooth = means[3]
    gradient = np.stack(np.gradient(smooth))
    outward = np.stack(np.gradient(depth))
    outward /= np.maximum(np.linalg.norm(outward, axis=0), 1e-6)
    radial = (gradient * outward).sum(axis=0)
    bend = (np.stack(np.gradient(radial)) * outward).sum(axis=0)
    return {
        "finest": energy(rest, 3),
        "fine": energy(rest, 5),
        "middle": energy(means[3] - means[5], 5),
        "broad": energy(means[5] - means[9], 9),
        "along z": together(0, 1),
        "along y": together(1, 1),
        "along x": together(2, 1),
        "two steps": (together(1, 2) + together(2, 2)) / 2,
        "slope": np.log(np.linalg.norm(gradient, axis=0) + np.float32(1e-3)),
        "radial slope": radial,
        "bend": bend,
        "value": unit,
        "around": means[5],
        "depth": depth / np.float32(10.0),
    }
