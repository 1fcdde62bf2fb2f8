"""A NIfTI file as a series of its own: RAS+ in the file, LPS here; stored values and scaling kept."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.errors import DamagedError, InputError, RefusedError
from defacedask.geometry import Geometry
from defacedask.io.bids.sidecar import sidecar_of
from defacedask.io.dicom.defaced import by_name, by_sidecar
from defacedask.io.dicom.no_image import NOTE_OF_MACOS, is_note_of_macos
from defacedask.io.dicom.series_facts import Series
from defacedask.io.dicom.stack import MAX_VOXELS
from defacedask.io.nifti.names import stem_of
from defacedask.io.nifti.opened import opened, stored_values
from defacedask.io.nifti.values import SENTINEL, numbers_only, unpacked_size
from defacedask.whole_files import file_hash

__all__ = ["is_left_out", "nifti_rescale", "nifti_series", "read_nifti"]

LABELS = re.compile(r"(^|[^a-z])(mask|brainmask|defacemask|facemask|label|labels|seg|dseg|probseg)([^a-z]|$)")
#: Suffixes that BIDS has for images of MR, in lower case.
MR_SUFFIXES = frozenset(
    """
    t1w t2w pdw t2starw flair inplanet1 inplanet2 pdt2 angio unit1 mp2rage flash megre mese vfa irt1 mpm mts mtr swi
    t1map t2map t2starmap r1map r2map r2starmap pdmap pdt2map mtrmap mtsat t1rho mwfmap mtvmap chimap tb1map
    bold cbv sbref dwi epi asl m0scan phase phase1 phase2 phasediff magnitude magnitude1 magnitude2 fieldmap
    """.split()  # noqa: SIM905
)
#: Of one file; the longest of functional MR have some thousands.
MAX_VOLUMES = 4096
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def _open(path: str) -> Any:
    try:
        note = is_note_of_macos(path)
        image = None if note else opened(path)
    except Exception as error:
        text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DamagedError(f"it cannot be read as NIfTI ({text})") from None
    if note:
        raise RefusedError(NOTE_OF_MACOS)
    return image


def _geometry(image: Any, frame: str) -> Geometry:
    header, shape = image.header, image.shape
    if len(shape) < 3 or any(n != 1 for n in shape[4:]):
        raise RefusedError(
            f"it has {len(shape)} dimensions ({' x '.join(map(str, shape))}): more than a row of volumes"
        )
    if min(shape) < 1:
        raise RefusedError(f"its header gives it no size ({' x '.join(map(str, shape))} voxels)")
    if min(shape[:3]) < 2:
        raise RefusedError("it has a single slice: no volume can be made of it")
    if max(shape[3:], default=1) > MAX_VOLUMES:
        raise RefusedError(f"it claims {shape[3]} volumes, more than the {MAX_VOLUMES} that are read")
    if int(np.prod(shape[:3], dtype=np.int64)) > MAX_VOXELS:
        raise RefusedError(
            f"it claims {' x '.join(map(str, shape))} voxels, more than the {MAX_VOXELS} that are read"
        )
    if int(image.dataobj.offset) < header.sizeof_hdr:
        raise RefusedError(
            f"its values would begin inside its header (vox_offset is {int(image.dataobj.offset)}): convert it anew"
        )
    if int(header.get("sform_code", 0)) == 0 and int(header.get("qform_code", 0)) == 0:
        raise RefusedError("its header does not say how it lies in the patient (neither sform nor qform)")
    if not np.isfinite(image.affine).all():
        raise RefusedError("its header's affine (sform or qform) holds what is no number")
    units = header.get_xyzt_units()[0]
    if units not in ("mm", "unknown"):
        raise RefusedError(f"its positions are in {units}, not millimetres")
    affine = RAS_TO_LPS @ np.asarray(image.affine, dtype=np.float64)
    # nibabel indexes (i, j, k); the transposed array has (k, j, i) = (z, y, x)
    ours = np.eye(4)
    ours[:3] = affine[:3][:, [2, 1, 0, 3]]
    return Geometry((shape[2], shape[1], shape[0]), ours, frame)


def _modality(path: str, image: Any, sidecar: dict[str, Any]) -> tuple[str, str, str]:
    """(modality, units, why): MR unless the sidecar, the name or the values say otherwise."""
    stated = str(sidecar.get("Modality", "")).upper()
    words = set(re.split(r"[^a-z0-9]+", stem_of(path).lower()))
    if stated in ("PT", "PET") or "pet" in words:
        units = {"bq/ml": "Bq/mL", "g/ml": "g/mL"}.get(str(sidecar.get("Units", "")).lower(), "1")
        return "PT", units, "its sidecar or name says PET"
    if stated == "CT" or "ct" in words:
        return "CT", "HU", "its sidecar or name says CT"
    if stated == "MR":
        return "MR", "1", "its sidecar says MR"
    # before the values: a background of -1000 or -9999 would make a CT of it
    if stem_of(path).rpartition("_")[2].lower() in MR_SUFFIXES:
        return "MR", "1", "its name says MR"
    try:
        values = stored_values(path, image)[image.shape[2] // 2 :: 4] * float(image.dataobj.slope)
        values = values + float(image.dataobj.inter)
    except Exception as error:
        raise DamagedError(f"its values cannot be read ({type(error).__name__})") from None
    # what is no number says nothing
    values = values[np.abs(values) < SENTINEL]
    # air is -1000 HU and bone above 500: no MR image holds both
    if values.size and float(values.min()) <= -900 and float(values.max()) >= 500:
        return "CT", "HU", "its values reach from air to bone in Hounsfield units"
    return "MR", "1", "nothing says that it is anything else"


def _space(image: Any) -> str:
    """What positions are relative to, by the code of the affine that counts (NIfTI-1, XFORM_CODES)."""
    codes = [int(image.header.get(name, 0)) for name in ("sform_code", "qform_code")]
    return {1: "scanner", 2: "aligned"}.get(codes[0] or codes[1], "standard")


def _folder_of_subject(path: str) -> re.Match[str] | None:
    """The nearest folder that is called like a subject of a BIDS tree."""
    found = [re.fullmatch(r"(sub-[A-Za-z0-9]+)", part) for part in Path(path).parts[-2::-1]]
    return next((match for match in found if match), None)


def is_left_out(path: str) -> bool:
    """Whether a file's name or header says that it is no image that is read; its values are not looked at."""
    if LABELS.search(stem_of(path).lower()):
        return True
    try:
        image = _open(path)
        _geometry(image, "")
    except (RefusedError, InputError):
        return True
    return image.header.get_data_dtype().kind not in "iuf"


def nifti_series(path: str) -> Series:
    """Describe a NIfTI file as a one-series case; its volumes are told by `defacedask.io.nifti.volumes`.

    Raises
    ------
    RefusedError
        If it is not readable, holds no grey volumes, or does not say how it lies in the patient.
    """
    stem = stem_of(path)
    if LABELS.search(stem.lower()):
        raise RefusedError("its name says that it is a mask or label map, not an image")
    try:
        image = _open(path)
    except DamagedError:
        unpacked_size(path)  # which says more, if the compression is at fault
        raise
    stored = image.header.get_data_dtype()
    if stored.kind not in "iuf":
        raise RefusedError(f"its values are neither integers nor real numbers ({stored})")
    try:
        content = file_hash(path)
    except OSError as error:
        raise DamagedError(f"it cannot be read ({error.strerror})") from None
    # header, name and size are the same for all subjects of some trees: only the content tells them apart
    digest = hashlib.sha256(f"{content} ".encode() + os.fsencode(Path(path).name))
    uid = f"2.25.{int.from_bytes(digest.digest()[:16], 'big')}"
    try:
        geometry = _geometry(image, uid)
    except InputError as error:
        raise RefusedError(error.message.rstrip(".")) from None
    need = int(np.prod(image.shape, dtype=np.float64)) * stored.itemsize + int(image.dataobj.offset)
    missing = need - unpacked_size(path)
    if missing > 0:
        raise DamagedError(f"it is truncated ({missing} bytes of its values are missing)")
    sidecar = sidecar_of(path)
    modality, units, why = _modality(path, image, sidecar)
    defaced = by_sidecar(sidecar) or by_name(stem)
    subject = re.search(r"(?:^|_)(sub-[A-Za-z0-9]+)", stem) or _folder_of_subject(path)
    return Series(
        uid=uid,
        modality=modality,
        sop_class_uid="",
        patient_id=subject.group(1) if subject else stem,
        study_uid="",
        frame_of_reference=uid,
        description=stem,
        number=0,
        files=(path,),
        instances=(uid,),
        geometry=geometry.to_dict(),
        facts={
            "format": "NIfTI",
            "units": units,
            "modality_because": why,
            "stored": stored.newbyteorder("=").name,
            **({"volumes": count} if (count := int(np.prod(image.shape[3:], dtype=np.int64))) > 1 else {}),
            "space": _space(image),
            **({} if defaced is None else {"already_defaced": defaced}),
            "sha256": content,
        },
    )


def nifti_rescale(series: Series) -> tuple[float, float]:
    """Slope and intercept (scl_slope, scl_inter) of a NIfTI series.

    Raises
    ------
    InputError
        If the file cannot be read any more.
    """
    try:
        image = _open(series.files[0])
    except RefusedError as error:
        raise InputError(f"{series.files[0]} cannot be read: {error.message}.") from None
    return float(image.dataobj.slope), float(image.dataobj.inter)


def read_nifti(series: Series) -> tuple[np.ndarray, int]:
    """Stored values of a NIfTI series, or of its volume, in this machine's byte order, all of them numbers.

    Returns
    -------
    stored : (z, y, x) array
    count : int
        Voxels that held no number and are read as background (`defacedask.io.nifti.values.numbers_only`).

    Raises
    ------
    InputError
        If the file cannot be read any more, or holds no number at all.
    """
    path = series.files[0]
    try:
        stored = stored_values(path, _open(path), max(series.volume - 1, 0))
    except RefusedError as error:
        raise InputError(f"{path} cannot be read: {error.message}.") from None
    except Exception as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error}).") from None
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    return numbers_only(stored, *nifti_rescale(series), series.modality)
