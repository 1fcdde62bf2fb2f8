"""What lies beside the images of a case that is attacked: contours, doses, and a mask that was published with it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.examination import Shown
from defacedask.attacks.names import BODY, DOSE
from defacedask.errors import DefacedaskError
from defacedask.flow.stages.objects import dose_level, find_outline
from defacedask.geometry import Geometry
from defacedask.io.nifti.names import stem_of
from defacedask.volume import geometry_of, real_values

if TYPE_CHECKING:
    from defacedask.io.dicom.model import Case, Series

__all__ = ["published_mask", "shown_objects"]


def shown_objects(
    case: Case,
    geometry: Geometry,
    original: Series,
    attacks: Collection[str],
    levels: dict[str, float],
    notes: list[str],
) -> list[Shown]:
    """Body contours and doses of a case, as far as attacks look at them.

    Parameters
    ----------
    case : Case
    geometry : Geometry
        Grid of the image that they lie on.
    original : Series
        The image of the original that the head was found on.
    attacks : collection of str
    levels : dict
        Path -> level of the skin; that of a dose is added.
    notes : list of str
        What could not be read is added.
    """
    from defacedask.io.dicom.dose import read_dose
    from defacedask.io.dicom.structures import read_structures

    out: list[Shown] = []
    # contours may lie in a frame that was renamed with everything else
    frameless = Geometry(geometry.shape, geometry.affine)
    for series in case.structures if BODY in attacks else ():
        try:
            part = find_outline(read_structures(series, frameless), geometry, _body(original, geometry))
        except DefacedaskError as error:
            notes.append(f"a structure set was not read: {error}")
            continue
        path = "structures/RTSTRUCT"
        if part is not None and path not in {s.path for s in out}:
            out.append(Shown(path, "RTSTRUCT", part.full(geometry.shape), geometry, 0.5))
    for series in case.doses if DOSE in attacks else ():
        try:
            dose = read_dose(series)
        except DefacedaskError as error:
            notes.append(f"a dose was not read: {error}")
            continue
        values, path = real_values(dose).values, "doses/RTDOSE"
        level = levels.setdefault(path, dose_level(values))
        if level > 0 and path not in {s.path for s in out}:
            out.append(Shown(path, "RTDOSE", values, geometry_of(dose), level))
    return out


def _body(series: Series, geometry: Geometry) -> Any:
    """``body(k)``: what is not air in slice k of the original CT, by which an outline of any name is found."""
    from defacedask.flow.stages.body_slices import SKIN_HU
    from defacedask.io.dicom.image import read_image

    if series.modality != "CT" or tuple((series.geometry or {}).get("shape", ())) != geometry.shape:
        return None
    volume = read_image(series, lazy=True)
    return lambda k: real_values(volume[k : k + 1]).values[0] > SKIN_HU


def published_mask(file: Path, geometry: Geometry) -> np.ndarray | None:
    """Mask that lies beside a defaced NIfTI file, if there is one on its grid."""
    from defacedask.io.nifti.write import mask_path

    if not file.name.lower().endswith((".nii", ".nii.gz")):
        return None
    named = (
        mask_path(file),
        mask_path(file, derivative=True),
        file.with_name(f"{stem_of(file)}_defacemask.nii.gz"),
    )
    beside = [p for one in named for p in (one, one.with_suffix("")) if p.is_file()]
    if not beside:
        return None
    import nibabel

    image: Any = nibabel.load(beside[0])
    mask = np.asarray(image.dataobj).T != 0
    return mask if mask.shape == geometry.shape else None
