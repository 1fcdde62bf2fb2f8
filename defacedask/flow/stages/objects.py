"""What hangs on the image and shows the head too: the body's contour and the dose grid, as they came and as exported.

The contour of a defaced case is derived by the rule that the export writes by
(`defacedask.io.dicom.export.structures`): the outline without the plan's region, and with the defaced image's own
surface inside it. So it can be judged without an export, and for a case whose export was refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.examination import Shown
from defacedask.attacks.names import BODY, DOSE
from defacedask.boxes import bounds
from defacedask.flow.stages.body_slices import body_in, body_slices, couch_of
from defacedask.flow.stages.layout import ORIGINAL, loaded, one_thread, volume_path
from defacedask.geometry import Geometry
from defacedask.io.store import CaseStore

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
        Of the image as it came (see `defacedask.io.dicom.export.body_shape.roles_by_shape`): where none is an outline
        by name or type, one is looked for by its shape.
    """
    from defacedask.io.dicom.export.body_shape import OUTLINE, roles_by_shape
    from defacedask.io.dicom.export.structures import is_outline, role_of

    some = [part for part in structures if _size(part) > 1]
    found = [part for part in some if is_outline(part.original_name, part.interpreted_type)]
    if not found and geometry is not None and body is not None:
        roles = roles_by_shape(some, geometry, body)
        found = [
            part
            for part in some
            if role_of(part.original_name, part.interpreted_type, roles.get(part.number, "")) == OUTLINE
        ]
    return max(found, key=_size, default=None)


def _size(part: Any) -> int:
    """Voxels of a structure's box; a stored structure's mask is not read for it."""
    return int(np.prod(part.shape))


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

    from defacedask.io.dicom.export.structures import SMALLEST_MM2

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
    store: CaseStore,
    defacer: str,
    plan: Plan | None,
    attacks: Iterable[str],
    levels: Mapping[str, float],
    bodies: Mapping[str, np.ndarray | None] | None = None,
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
    bodies : mapping, optional
        Path of an image -> `body_in` of its defaced version, where it is known; else the image is read.

    Yields
    ------
    Shown
        Nothing for a dose that the export would hold back.
    """
    wanted = set(attacks)
    if BODY in wanted:
        for path in store.structure_sets:
            yield from _outline(store, path, defacer, plan, bodies or {})
    if DOSE in wanted:
        for path in store.doses:
            yield from _dose(store, path, defacer, plan, levels)


def _outline(
    store: CaseStore,
    path: str,
    defacer: str,
    plan: Plan | None,
    bodies: Mapping[str, np.ndarray | None],
) -> Iterator[Shown]:
    geometry, image = store.geometry(path), store.structures_image(path)
    with one_thread():
        part = find_outline(store.structures(path), geometry, body_slices(store, image, ORIGINAL))
    if part is None:
        return
    mask = np.zeros(geometry.shape, bool)
    mask[part.box] = part.mask
    unchanged = False
    if plan is not None and plan.wants_nothing:
        unchanged = True
    elif plan is not None:
        inside = bodies[image] if image in bodies else _read_body(store, image, defacer)
        # nothing is cut or drawn anew beyond both
        box = bounds(mask if inside is None else mask | inside)
        if box is None:
            return
        grid = geometry.block([s.start for s in box], [s.stop for s in box])
        region, own = np.asarray(plan.region(grid)), mask[box]
        body = None if inside is None else inside[box]
        clipped = clipped_outline(own, region, lambda k: None if body is None else body[k], grid)
        unchanged = np.array_equal(clipped, own)
        mask[box] = clipped
    yield Shown(path, "RTSTRUCT", mask, geometry, 0.5, unchanged=unchanged)


def _read_body(store: CaseStore, image: str, defacer: str) -> np.ndarray | None:
    return body_in(store.volume(volume_path(defacer, image)), couch_of(store, image))


def _dose(
    store: CaseStore, path: str, defacer: str, plan: Plan | None, levels: Mapping[str, float]
) -> Iterator[Shown]:
    from defacedask.io.dicom.export.shape import MOST_OF_SKIN, follows_skin

    with one_thread():
        values = loaded(store.volume(volume_path(defacer, path))).values
        unchanged = False
        if plan is not None:
            original = store.volume(volume_path(ORIGINAL, path)).load()
            before = loaded(original).values
            unchanged = np.array_equal(values, before)
            # a layer only adds; what was cut is judged by what is left
            if defacer != "none" and not (values < before).any():
                region = plan.region_of(original)
                geometry = store.geometry(path)
                if region.any() and follows_skin(before, values, region, geometry.spacing) > MOST_OF_SKIN:
                    return
    level = levels[path] if levels else dose_level(values)
    if level > 0:
        yield Shown(path, "RTDOSE", values, store.geometry(path), level, unchanged=unchanged)
