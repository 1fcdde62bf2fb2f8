"""Masks beside defaced DICOM: where not to measure, and which structures the plan's region reaches into."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.errors import DefacedaskError, RefusedError
from defacedask.io.dicom.registration import own_geometry
from defacedask.volume import geometry_of
from defacedask.whole_files import file_hash

if TYPE_CHECKING:
    from defacedask.defacers import Plan
    from defacedask.io.dicom.export import Context, Written
    from defacedask.io.dicom.model import Series
    from defacedask.io.store import CaseStore

__all__ = ["touched_structures", "write_masks"]


def touched_structures(plan: Plan, store: CaseStore) -> list[str]:
    """Names of the structures of a case that a plan's region reaches into, sorted, each once.

    Parameters
    ----------
    plan : Plan
    store : CaseStore
    """
    found: set[str] = set()
    for path in store.structure_sets:
        geometry = store.geometry(path)
        for part in store.structures(path):
            if not part.mask.size or not part.mask.any():
                continue
            start, stop = [s.start for s in part.box], [s.stop for s in part.box]
            if (np.asarray(plan.region(geometry.block(start, stop))) & part.mask).any():
                found.add(part.original_name)
    return sorted(found)


def write_masks(
    kinds: Collection[str],
    series: Series,
    plan: Plan,
    before: Any,
    after: Any,
    images: Sequence[Written],
    context: Context,
    to_template: np.ndarray | None,
) -> list[Written]:
    """Write the published mask of one defaced DICOM image.

    Parameters
    ----------
    kinds : collection of str
        Of `defacedask.io.dicom.export.mask.MASKS`.
    series : Series
        The original.
    plan : Plan
    before, after : xarray.DataArray
        Stored values as they came and as the plan left them, (z, y, x).
    images : sequence of Written
        What was written of its files: one a slice, in their order, or those that hold its frames.
    context : Context
    to_template : (4, 4) array, optional
        World LPS mm -> the average head's.

    Returns
    -------
    list of Written
        None where no voxel of the image may have changed.

    Raises
    ------
    DefacedaskError
        If a voxel outside of the mask changed, or a mask did not read back as written.
    """
    from defacedask.defacers.hull import published
    from defacedask.io.dicom.export import Written
    from defacedask.io.dicom.export.mask import mask_nifti, mask_segmentation

    changed = after.values != before.values
    hull = published(plan, changed, geometry_of(before), to_template)
    if (changed & ~hull).any():
        raise DefacedaskError("values changed outside of the mask.", "Please report this.")
    folder = Path(images[0].path).parent
    series_uid = context.remap.uids(f"{series.key} defacemask")
    stem = f"defacemask_{series.modality}_{series_uid[-6:]}"
    out: list[Written] = []
    for kind in sorted(kinds):
        source = f"{series.key} defacemask {kind}"
        uid = context.remap.uids(source)
        if kind == "seg":
            path = folder / f"{stem}.dcm"
            order = np.asarray(series.facts.get("frames", range(len(hull))))
            in_file = np.argsort(order)
            files = [one.path for one in images]
            try:
                mask_segmentation(
                    files, hull[in_file], path, context, uid, series_uid, order[in_file].tolist()
                )
            except RefusedError:
                continue  # nothing of the image may have changed
        else:
            path = folder / f"{stem}.nii.gz"
            mask_nifti(hull, own_geometry(series), path)
        modality = "SEG" if kind == "seg" else "defacemask"
        out.append(
            Written(
                series.files[0],
                str(path),
                modality,
                source,
                uid,
                images[0].input_sha256,
                file_hash(path),
                made=True,
            )
        )
    return out
