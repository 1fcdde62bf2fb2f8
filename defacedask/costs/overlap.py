"""Structures against what a plan may change: volumes before and after, and how much of a target is at stake."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from defacedask.anatomy.structure_names import is_target_volume
from defacedask.io.dicom.export.structures import is_outline, is_skin

__all__ = ["compare_volumes", "is_target"]


def is_target(structure: Any) -> bool:
    """Whether a structure is a target volume: by its interpreted type, else by the name it came with."""
    kind = str(getattr(structure, "interpreted_type", "") or "")
    own = getattr(structure, "original_name", "") or structure.name
    return is_target_volume(own, kind) or is_target_volume(structure.name)


def compare_volumes(structures: Iterable[Any], geometry: Any, plan: Any) -> list[dict[str, Any]]:
    """Volume of each structure, and the part of it in the plan's region.

    Contours are clipped to what lies outside the region when they are exported, so that ``after_ml`` is the volume
    of the exported structure, to the voxel; only the body's outline takes the new surface instead, and what
    follows the skin loses a margin more. Those say so in ``note``.

    Parameters
    ----------
    structures : iterable of Structure
        With ``name``, ``original_name``, ``interpreted_type``, ``start`` and ``mask``.
    geometry : Geometry
        Of the image they lie on; in the plan's frame of reference.
    plan : Plan

    Returns
    -------
    list of dict
        One row a structure: structure, original_name, target, volume_ml, region_ml, region_percent, after_ml,
        note.
    """
    cc = geometry.voxel_volume / 1000.0
    structures = list(structures)
    region = _Region(plan, geometry, structures)
    rows = []
    for structure in structures:
        mask = np.asarray(structure.mask, dtype=bool)
        voxels = int(np.count_nonzero(mask))
        hit = int(np.count_nonzero(region.of(structure) & mask)) if voxels else 0
        kind = str(getattr(structure, "interpreted_type", "") or "")
        own = str(getattr(structure, "original_name", "") or structure.name)
        note = "" if voxels else "no voxels"
        if hit and is_outline(own, kind):
            note = "outline: takes the defaced surface on export"
        elif hit and is_skin(own, kind):
            note = "follows the skin: loses a margin more on export"
        rows.append(
            {
                "structure": structure.name,
                "original_name": own,
                "target": is_target(structure),
                "volume_ml": voxels * cc,
                "region_ml": hit * cc,
                "region_percent": 100.0 * hit / voxels if voxels else float("nan"),
                "after_ml": (voxels - hit) * cc,
                "note": note,
            }
        )
    return rows


class _Region:
    """What a plan may change in the boxes of structures; where one box holds others it is asked once."""

    def __init__(self, plan: Any, geometry: Any, structures: list[Any]) -> None:
        self.plan, self.geometry = plan, geometry
        largest = max(map(_box, structures), key=_size, default=None)
        self.box, self.known = largest, None if largest is None or not _size(largest) else self._ask(largest)

    def of(self, structure: Any) -> np.ndarray:
        """The region in a structure's box."""
        start, stop = _box(structure)
        if self.known is None or self.box is None:
            return self._ask((start, stop))
        low, high = self.box
        if not (all(a <= b for a, b in zip(low, start, strict=True)) and all(map(int.__le__, stop, high))):
            return self._ask((start, stop))
        return self.known[tuple(slice(a - c, b - c) for a, b, c in zip(start, stop, low, strict=True))]

    def _ask(self, box: tuple[tuple[int, ...], tuple[int, ...]]) -> np.ndarray:
        return np.asarray(self.plan.region(self.geometry.block(*box)), dtype=bool)


def _box(structure: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First voxel of a structure's box, and the one after its last; a stored structure's mask is not read for it."""
    start = tuple(int(a) for a in structure.start)
    return start, tuple(a + int(n) for a, n in zip(start, structure.shape, strict=True))


def _size(box: tuple[tuple[int, ...], tuple[int, ...]]) -> int:
    return int(np.prod([b - a for a, b in zip(*box, strict=True)]))
