"""Radiomics of structures, before and after defacing: the study's ten features, others by option."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from defacedask.costs.features import TEN_FEATURES
from defacedask.costs.first_order import first_order, percent_change
from defacedask.errors import InputError

__all__ = [
    "compare_many",
    "compare_structures",
    "first_order",
    "measure_structures",
    "percent_change",
]

#: Grey-level features closer to zero than this part of the structure's standard deviation make a percentage
#: of themselves meaningless; skewness (dimensionless) is held to the same number.
NEAR_ZERO = 0.05


def compare_structures(
    original: Any,
    defaced: Any,
    structures: Iterable[Any],
    geometry: Any | None = None,
    *,
    bin_width: float = 25,
    voxel_array_shift: float = 0,
    classes: Sequence[str] = (),
    known: Sequence[Mapping[str, float]] | None = None,
) -> list[dict[str, Any]]:
    """Ten features of each structure in the original and in the defaced image.

    Parameters
    ----------
    original, defaced : arrays
        (z, y, x) values on the structures' grid: NumPy, Dask or xarray. Floating-point values and plain arrays
        are taken as real ones (HU, SUV, ...); a volume of stored integers is rescaled by its slope and
        intercept.
    structures : iterable of Structure
        With ``name``, ``start`` and ``mask``.
    geometry : Geometry, optional
        Of the images; checked against their shape.
    bin_width, voxel_array_shift : float
        pyradiomics' settings of these names.
    classes : sequence of str
        Feature classes of pyradiomics beside the ten (see `defacedask.costs.texture`); they need the
        geometry.
    known : sequence of dict, optional
        Features of the original, from `measure_structures` with the same structures and settings.

    Returns
    -------
    list of dict
        One row a (structure, feature): structure, feature, original, defaced, percent
        (`percent_change`), voxels, voxels_changed, note. ``note`` names what keeps a percentage from
        meaning what it says: ``no voxels``, ``flat``, ``zero denominator``, ``near-zero denominator``,
        ``not finite``, or what pyradiomics said of a class it could not compute.

    Raises
    ------
    InputError
        If shapes differ or a structure does not fit.
    """
    return compare_many(
        original,
        {"": defaced},
        structures,
        geometry,
        bin_width=bin_width,
        voxel_array_shift=voxel_array_shift,
        classes=classes,
        known=known,
    )[""]


def measure_structures(
    image: Any,
    structures: Iterable[Any],
    geometry: Any | None = None,
    *,
    bin_width: float = 25,
    voxel_array_shift: float = 0,
    classes: Sequence[str] = (),
) -> list[dict[str, float]]:
    """Features of each structure in one image; parameters as in `compare_structures`."""
    parts, union, corner = _parts(structures, image.shape, geometry, classes)
    values = _read(image, union)
    settings = _Settings(bin_width, voxel_array_shift, tuple(classes), geometry)
    return [settings.features(values, part, corner) for part in parts]


def compare_many(
    original: Any,
    defaced: Mapping[str, Any],
    structures: Iterable[Any],
    geometry: Any | None = None,
    *,
    bin_width: float = 25,
    voxel_array_shift: float = 0,
    classes: Sequence[str] = (),
    known: Sequence[Mapping[str, float]] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """`compare_structures` for several defacers, with the original read and measured once.

    Parameters
    ----------
    original : array
        As in `compare_structures`.
    defaced : mapping
        Defacer to array.
    structures, geometry, bin_width, voxel_array_shift, classes, known
        As in `compare_structures`.

    Returns
    -------
    dict
        Defacer to rows.
    """
    shape = tuple(original.shape)
    for name, image in defaced.items():
        if tuple(image.shape) != shape:
            raise InputError(f"the defaced image {name} is {tuple(image.shape)}, the original {shape}.")
    parts, union, corner = _parts(structures, shape, geometry, classes)
    settings = _Settings(bin_width, voxel_array_shift, tuple(classes), geometry)
    image = _read(original, union)
    before = [part.inside(image, corner) for part in parts]
    features = known or [settings.features(image, part, corner) for part in parts]
    out = {}
    for name, other in defaced.items():
        image = _read(other, union)
        rows = []
        for part, old, was in zip(parts, before, features, strict=True):
            new = part.inside(image, corner)
            different = old != new
            if old.dtype.kind == "f" and new.dtype.kind == "f":
                different &= ~(np.isnan(old) & np.isnan(new))
            changed = int(np.count_nonzero(different))
            now = settings.features(image, part, corner) if changed else was
            rows += _rows(part.name, was, now, len(old), changed)
        out[name] = rows
    return out


@dataclasses.dataclass(frozen=True)
class _Settings:
    """How features are computed."""

    bin_width: float
    shift: float
    classes: tuple[str, ...]
    geometry: Any

    def features(self, image: np.ndarray, part: _Part, corner: Sequence[int]) -> dict[str, Any]:
        """All features of one structure; what pyradiomics could not do is said under ``note``."""
        inside = part.inside(image, corner)
        found: dict[str, Any] = dict(first_order(inside, bin_width=self.bin_width, shift=self.shift))
        if self.classes:
            from defacedask.costs.texture import class_features

            box = image[part.box(corner)] if len(inside) else np.zeros(part.mask.shape)
            more, note = class_features(
                box,
                part.mask,
                self.geometry.spacing,
                self.classes,
                bin_width=self.bin_width,
                shift=self.shift,
            )
            found |= {**more, "note": note}
        return found


def _parts(
    structures: Iterable[Any], shape: Sequence[int], geometry: Any, classes: Sequence[str]
) -> tuple[list[_Part], tuple[slice, ...], tuple[int, ...]]:
    """Structures with their masks read, the box that holds them all, and its corner."""
    if geometry is not None and tuple(geometry.shape) != tuple(shape):
        raise InputError(f"the images are {tuple(shape)}, their grid {tuple(geometry.shape)}.")
    if classes and geometry is None:
        raise InputError("feature classes beyond the ten need the image's grid, for its spacing.")
    parts = [_Part(s.name, tuple(s.start), np.asarray(s.mask, dtype=bool)) for s in structures]
    for part in parts:
        if min(part.start) < 0 or any(e > s for e, s in zip(part.stop, shape, strict=True)):
            raise InputError(f"structure {part.name} does not fit an image of {tuple(shape)}.")
    used = [part for part in parts if part.mask.any()]
    corner = tuple(min((part.start[a] for part in used), default=0) for a in range(3))
    reach = tuple(max((part.stop[a] for part in used), default=0) for a in range(3))
    return parts, tuple(slice(a, b) for a, b in zip(corner, reach, strict=True)), corner


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """A structure whose mask was read once."""

    name: str
    start: tuple[int, ...]
    mask: np.ndarray

    @property
    def stop(self) -> tuple[int, ...]:
        return tuple(a + n for a, n in zip(self.start, self.mask.shape, strict=True))

    def box(self, corner: Sequence[int]) -> tuple[slice, ...]:
        """Where it lies in a part of the image that begins at ``corner``."""
        return tuple(slice(a - c, b - c) for a, b, c in zip(self.start, self.stop, corner, strict=True))

    def inside(self, values: np.ndarray, corner: Sequence[int]) -> np.ndarray:
        """Its voxels' values."""
        return values[self.box(corner)][self.mask] if self.mask.any() else values.ravel()[:0]


def _read(image: Any, box: tuple[slice, ...]) -> np.ndarray:
    """Real values of the part of an image that holds all structures, in one read."""
    part = image[box]
    coords = getattr(part, "coords", {})
    values = np.asarray(part)
    if values.dtype.kind in "iu" and "slope" in coords:
        slope, intercept = (np.asarray(coords[k].values)[:, None, None] for k in ("slope", "intercept"))
        if (slope != 1).any() or (intercept != 0).any():
            values = (values.astype(np.float32) * slope.astype(np.float32)) + intercept.astype(np.float32)
    return values


def _rows(name: str, before: Mapping, after: Mapping, voxels: int, changed: int) -> list[dict[str, Any]]:
    deviation = before["Variance"] ** 0.5 if voxels else 0.0
    failed = str(before.get("note") or after.get("note") or "")
    rows = []
    for feature, old in before.items():
        if feature == "note":
            continue
        new = after[feature]
        note = _note(feature, old, new, voxels, deviation)
        if failed and note == "not finite" and feature not in TEN_FEATURES:
            note = failed
        rows.append(
            {
                "structure": name,
                "feature": feature,
                "original": old,
                "defaced": new,
                "percent": percent_change(old, new),
                "voxels": voxels,
                "voxels_changed": changed,
                "note": note,
            }
        )
    return rows


def _note(feature: str, old: float, new: float, voxels: int, deviation: float) -> str:
    if voxels == 0:
        return "no voxels"
    if not np.isfinite(old) or not np.isfinite(new):
        return "not finite"
    notes = []
    if deviation == 0:
        notes.append("flat")
    scale = {"Median": deviation, "90Percentile": deviation, "Maximum": deviation, "Skewness": 1.0}
    if old == 0:
        notes.append("zero denominator")
    elif abs(old) < NEAR_ZERO * scale.get(feature, 0.0):
        notes.append("near-zero denominator")
    return "; ".join(notes)
