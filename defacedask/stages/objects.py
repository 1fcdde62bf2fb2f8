"""What hangs on the image and shows the head too: the body's contour and the dose grid, as they came and as exported.

The contour of a defaced case is derived by the rule that the export writes by (`defacedask.dicom.export.structures`):
the outline without the plan's region, and with the defaced image's own surface inside it. So it can be judged
without an export, and for a case whose export was refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.evaluation.attack_names import BODY, DOSE
from defacedask.evaluation.examination import Shown
from defacedask.geometry import Geometry
from defacedask.stages.body_slices import body_slices
from defacedask.stages.places import ORIGINAL, loaded, one_thread, volume_path
from defacedask.store import CaseStore

if TYPE_CHECKING:
    from defacedask.defacers import Plan

__all__ = ["DOSE_LEVEL", "clipped_outline", "dose_level", "find_outline", "shown_objects"]

#: Part of the largest dose at which the grid is contoured: about where the calculation ends at the skin.
DOSE_LEVEL = 0.02


def dose_level(dose: np.ndarray) -> float:
    """Gy at which an original's dose grid is contoured; the same then serves its defaced versions."""
    return DOSE_LEVEL * float(np.max(dose, initial=0.0))


def find_outline(structures: Iterable[Any], geometry: Geometry | None = None, body: Any = None) -> Any:
    """The patient's outline among structures (the largest, where several are), or None.

    Parameters
    ----------
    structures : iterable
        With name, type and mask.
    geometry, body
        Of the image as it came (see `defacedask.dicom.export.body_shape.roles_by_shape`): where none is an outline by
        name or type, one is looked for by its shape.
    """
    from defacedask.dicom.export.body_shape import OUTLINE, roles_by_shape
    from defacedask.dicom.export.structures import is_outline, role_of

    some = [part for part in structures if int(np.prod(part.mask.shape)) > 1]
    found = [part for part in some if is_outline(part.original_name, part.interpreted_type)]
    if not found and geometry is not None and body is not None:
        roles = roles_by_shape(some, geometry, body)
        found = [
            part
            for part in some
            if role_of(part.original_name, part.interpreted_type, roles.get(part.number, "")) == OUTLINE
        ]
    return max(found, key=lambda part: int(np.prod(part.mask.shape)), default=None)


def clipped_outline(mask: np.ndarray, region: np.ndarray, body: Any, geometry: Geometry) -> np.ndarray:
    """Outline of the body after defacing, as a mask.

    Parameters
    ----------
    mask : (z, y, x) bool array
        The original's.
    region : (z, y, x) bool array
        Voxels that the plan may change.
    body : callable
        ``body(k)`` -> (y, x) bool: body of the defaced image in slice k, or None where not known.
    geometry : Geometry

    Returns
    -------
    (z, y, x) bool array
    """
    from scipy.ndimage import label

    from defacedask.dicom.export.structures import SMALLEST_MM2

    out = mask & ~region
    pixel = geometry.spacing[1] * geometry.spacing[2]
    # the outline is drawn anew only in slices that had one
    for k in np.flatnonzero(mask.any(axis=(1, 2)) & region.any(axis=(1, 2))):
        inside = body(int(k))
        if inside is None:
            continue
        pieces, _ = label(inside & region[k])
        large = np.bincount(pieces.ravel()) * pixel >= SMALLEST_MM2
        large[0] = False
        out[k] |= large[pieces]
    return out


def shown_objects(
    store: CaseStore, defacer: str, plan: Plan | None, attacks: Iterable[str], levels: Mapping[str, float]
) -> Iterator[Shown]:
    """Body contours and dose grids of a case, as they came or as one defacer leaves them.

    Parameters
    ----------
    store : CaseStore
    defacer : str
        Or ``original``.
    plan : Plan or None
        None for the original.
    attacks : iterable of str
        ``body_contour`` and ``dose_grid``, if they are to be tried.
    levels : mapping
        Path -> level, from the original; empty for the original itself.

    Yields
    ------
    Shown
        Nothing for a dose that the export would hold back.
    """
    wanted = set(attacks)
    if BODY in wanted:
        for path in store.structure_sets:
            yield from _outline(store, path, defacer, plan)
    if DOSE in wanted:
        for path in store.doses:
            yield from _dose(store, path, defacer, plan, levels)


def _outline(store: CaseStore, path: str, defacer: str, plan: Plan | None) -> Iterator[Shown]:
    geometry = store.geometry(path)
    with one_thread():
        part = find_outline(
            store.structures(path), geometry, body_slices(store, store.structures_image(path), ORIGINAL)
        )
    if part is None:
        return
    mask = np.zeros(geometry.shape, bool)
    mask[part.box] = part.mask
    if plan is not None:
        with one_thread():
            body = body_slices(store, store.structures_image(path), defacer)
            mask = clipped_outline(mask, np.asarray(plan.region(geometry)), body, geometry)
    yield Shown(path, "RTSTRUCT", mask, geometry, 0.5)


def _dose(
    store: CaseStore, path: str, defacer: str, plan: Plan | None, levels: Mapping[str, float]
) -> Iterator[Shown]:
    from defacedask.dicom.export.shape import MOST_OF_SKIN, follows_skin

    with one_thread():
        dose = loaded(store.volume(volume_path(defacer, path)))
        values = dose.values
        if plan is not None and defacer != "none":
            original = store.volume(volume_path(ORIGINAL, path)).load()
            before, region = loaded(original).values, plan.region_of(original)
            # a layer only adds; what was cut is judged by what is left
            if region.any() and not (values < before).any():
                geometry = store.geometry(path)
                if follows_skin(before, values, region, geometry.spacing) > MOST_OF_SKIN:
                    return
    level = levels[path] if levels else dose_level(values)
    if level > 0:
        yield Shown(path, "RTDOSE", values, store.geometry(path), level)
