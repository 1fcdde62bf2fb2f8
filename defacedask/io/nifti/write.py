"""NIfTI out: the file as it came with the plan's values in it, a mask around what changed, a sidecar that says so.

Header, scaling, data type and byte order are the original's, byte for byte; stored values outside the plan's region
too. The sidecar keeps what the original's said and adds the DeidentificationMethod fields of BIDS.

The mask that is published does not follow the skin (`defacedask.defacers.hull`): outside of it no voxel changed,
inside any may have. Which ones did is a map of the face and stays with the key (`EXACT`).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.errors import DefacedaskError, InputError
from defacedask.io.bids.names import mask_name
from defacedask.io.bids.pointers import FIELD, gone_note, without_absent
from defacedask.io.bids.sidecar import sidecar_of
from defacedask.io.dicom.export.covered import CLEANED, CODE, METHOD, SCHEME, done
from defacedask.io.nifti.beside import header_size, only_voxels, without_pictures
from defacedask.io.nifti.names import stem_of
from defacedask.io.nifti.opened import opened
from defacedask.io.nifti.volumes import gradients_of
from defacedask.volume import geometry_of
from defacedask.whole_files import file_hash

if TYPE_CHECKING:
    from defacedask.defacers import Plan
    from defacedask.io.dicom.export import Context, Written
    from defacedask.io.dicom.series_facts import Series

__all__ = ["EXACT", "exact_path", "mask_path", "sidecar_path", "write_nifti"]

#: Fields of BIDS, and of dcm2niix, that are no DICOM keywords and say how an image was made.
TECHNICAL = frozenset(
    """
    AcquisitionMatrixPE AttenuationCorrection BaseResolution BodyPart CoilCombinationMethod CoilString
    ConversionSoftware ConversionSoftwareVersion DelayTime DerivedVendorReportedEchoSpacing DwellTime
    EchoTime1 EchoTime2 EffectiveEchoSpacing FrameDuration FrameTimesStart GradientSetType ImageDecayCorrected
    ImageDecayCorrectionTime ImageOrientationPatientDICOM ImageOrientationText
    InPlanePhaseEncodingDirectionDICOM InjectedMass InjectedMassUnits InjectedRadioactivity
    InjectedRadioactivityUnits InjectionStart ManufacturersModelName MatrixCoilMode Modality ModeOfAdministration
    MTState MultibandAccelerationFactor NegativeContrast NonlinearGradientCorrection NumberShots
    ParallelReductionOutOfPlane PartialFourier PhaseEncodingDirection PhaseEncodingSteps PhaseOversampling
    PhaseResolution PulseSequenceType RawImage ReconFilterSize ReconFilterType ReconMatrixPE ReconMethodName
    ReconMethodParameterLabels ReconMethodParameterUnits ReconMethodParameterValues RefLinesPE ScanStart ShimSetting
    SkullStripped SliceEncodingDirection SliceTiming SpecificRadioactivity SpecificRadioactivityUnits
    SpoilingState TimeZero TotalReadoutTime TracerName TracerRadionuclide TxRefAmp Units
    VendorReportedEchoSpacing WaterFatShift
    """.split()  # noqa: SIM905
)
#: What the mask that stays with the key holds: 0 not in the plan's region, 1 in it and as it was, 2 changed.
EXACT = {0: "kept", 1: "region", 2: "changed"}
#: What the published mask says of itself, in its header (80 bytes) and in the sidecar.
HULL = "coarse: no voxel outside changed, any inside may have; not a map of the face"


def mask_path(path: Path, *, derivative: bool = False) -> Path:
    """File of the published mask beside an image; see `defacedask.io.bids.names.mask_name`."""
    return path.with_name(mask_name(path.name, derivative=derivative))


def exact_path(path: Path) -> Path:
    """``sub-01_T1w_exactmask.nii.gz`` of ``sub-01_T1w.nii.gz``: the mask that stays with the key."""
    return path.with_name(f"{stem_of(path)}_exactmask.nii.gz")


def sidecar_path(path: Path) -> Path:
    """``sub-01_T1w.json`` of ``sub-01_T1w.nii.gz``."""
    return path.with_name(f"{stem_of(path)}.json")


def _raw(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def save_bytes(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.lower().endswith(".gz"):
        # no time and no name inside: the same input gives the same bytes
        data = gzip.compress(data, 6, mtime=0)
    path.write_bytes(data)


def write_nifti(
    together: Sequence[Series],
    plan: Plan,
    pairs: Sequence[tuple[Any, Any]],
    path: Path,
    context: Context,
    *,
    to_template: np.ndarray | None = None,
    exact: Path | None = None,
) -> tuple[list[Written], dict[str, int]]:
    """Write a defaced NIfTI file, its mask and its sidecar, and read them back.

    Parameters
    ----------
    together : sequence of Series
        The original: its volume, or all of them.
    plan : Plan
    pairs : sequence of (xarray.DataArray, xarray.DataArray)
        Of each: stored values as they came and as the plan left them, (z, y, x); lazy ones are read one by one.
    path : Path
        File to write.
    context : Context
    to_template : (4, 4) array, optional
        World LPS mm -> the average head's, for the published mask.
    exact : Path, optional
        File for the mask of what changed (`EXACT`), readable by its owner alone; not part of the output.

    Returns
    -------
    written : list of Written
        Image, mask, sidecar, and what lies beside a diffusion-weighted image.
    changed : dict
        Voxels changed of each volume, by its key.

    Raises
    ------
    InputError
        If the original changed since it was read.
    DefacedaskError
        If what was written is not what should have been.
    """
    from defacedask.defacers.base import bits
    from defacedask.defacers.hull import published
    from defacedask.io.dicom.export import Written
    from defacedask.io.nifti.values import numbers_only

    series = together[0]
    source = Path(series.files[0])
    loaded = opened(source)
    header = loaded.header
    count = int(np.prod(loaded.shape[3:], dtype=np.int64))
    if [max(one.volume, 1) for one in together] != list(range(1, count + 1)):
        raise DefacedaskError("volumes of a file are missing, or there twice.", "Please report this.")
    geometry = geometry_of(pairs[0][0])
    region = np.asarray(plan.region(geometry))
    whole = _raw(source)
    dtype, offset = np.dtype(header.get_data_dtype()), int(loaded.dataobj.offset)
    # voxels outside the region keep their bytes, not-a-numbers' too; inside they go, for they would draw the skin
    raw, beside = only_voxels(whole, offset, offset + count * region.size * dtype.itemsize)
    if context.remap.identity is not None:
        raw = _anonymous(raw, offset)
    changed, counts = np.zeros(region.shape, bool), {}
    for number, (one, (before, after)) in enumerate(zip(together, pairs, strict=True)):
        stored, defaced = before.values, after.values
        start = offset + number * region.size * dtype.itemsize
        here = np.frombuffer(whole, dtype, count=region.size, offset=start).reshape(region.shape)
        # compared as it was read: what is no number is background there
        slope, intercept = float(loaded.dataobj.slope), float(loaded.dataobj.inter)
        if not np.array_equal(numbers_only(here, slope, intercept, series.modality)[0], stored):
            raise InputError(f"{source.name} changed since it was read.", "Run again.")
        if ((defaced != stored) & ~region).any():
            raise DefacedaskError(
                f"{context.defacer} changed values outside its own region.", "Please report this."
            )
        new = here.copy()
        new[region] = defaced[region].astype(dtype)
        # by their bytes: of what was no number or -0 the value that was read may be the same
        own = bits(new) != bits(here)
        raw[start : start + new.nbytes] = new.tobytes()
        counts[one.key], changed = int(own.sum()), changed | own
    save_bytes(path, bytes(raw))
    del whole, raw

    mask = mask_path(path, derivative=bool(series.facts.get("derivative")))
    hull = published(plan, changed, geometry, to_template)
    save_bytes(mask, _mask_bytes(hull, header, HULL))
    if exact is not None:
        _save_for_owner(
            exact, _mask_bytes(region.astype(np.uint8) + changed, header, "exact: follows the face")
        )

    side = sidecar_path(path)
    facts, notes = _sidecar(source, mask, context)
    side.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    afters = [after for _, after in pairs]
    _check(source, path, mask, hull, afters, region, offset, dtype, context.remap.identity is not None)
    image = Written(
        str(source), str(path), series.modality, series.uid, context.remap.uids(series.uid), file_hash(source),
        file_hash(path), sum(counts.values()), notes=beside,
    )  # fmt: skip
    out = [image]
    extras = [(mask, "defacemask"), (side, "sidecar")]
    for file in gradients_of(source, count):
        extras.append((path.with_name(f"{stem_of(path)}{file.suffix}"), file.suffix[1:]))
        extras[-1][0].write_bytes(file.read_bytes())
    for extra, kind in extras:
        uid = f"{series.uid} {kind}"
        out.append(
            Written(
                str(source),
                str(extra),
                kind,
                uid,
                context.remap.uids(uid),
                image.input_sha256,
                file_hash(extra),
                notes=notes if kind == "sidecar" else (),
            )
        )
    return out, counts


def _anonymous(raw: bytearray, offset: int) -> bytearray:
    """Blank the header's free text and its extensions, which may hold a DICOM header."""
    size, _ = header_size(raw)
    if size == 540:
        texts = [(240, 80), (320, 24), (508, 16), (525, 15)]
    else:
        texts = [(4, 28), (148, 80), (228, 24), (328, 16)]
    for start, length in [*texts, (size, max(offset - size, 0))]:
        raw[start : start + length] = bytes(length)
    return raw


def _mask_bytes(labels: np.ndarray, header: Any, says: str) -> bytes:
    """A (z, y, x) mask as a NIfTI file on the grid of an image's header."""
    import nibabel

    image = nibabel.Nifti1Image(labels.T.astype(np.uint8), None, None)
    image.header.set_data_dtype(np.uint8)
    _place(image, header)
    image.header.set_xyzt_units(*header.get_xyzt_units())
    image.header["descrip"] = says.encode("ascii")
    return image.to_bytes()


def _place(image: Any, header: Any) -> None:
    """Let a mask lie where the image lies, by the affines of its header that can be read.

    Only the one that counts has been: of a qform beside a valid sform nobody knows whether it is one.
    """
    try:
        qform, code = header.get_qform(), int(header["qform_code"])
    except ValueError:  # a quaternion longer than 1
        qform, code = np.full((4, 4), np.nan), 0
    if not np.isfinite(qform).all():
        qform, code = header.get_sform(), 0  # for its voxel sizes
    image.set_qform(qform, code)
    image.set_sform(header.get_sform(), int(header["sform_code"]))


def _save_for_owner(path: Path, data: bytes) -> None:
    """Write a file that nobody else may read, in a folder that nobody else may enter."""
    for folder in reversed(path.parents):
        folder.mkdir(exist_ok=True, mode=0o700)  # parents=True would leave those between open to all
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    save_bytes(path, data)


def _sidecar(source: Path, mask: Path, context: Context) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Fields of the new sidecar, and what of the old one's is not among them."""
    facts = sidecar_of(source)
    before = set(facts)
    facts, absent = without_absent(facts, source)
    facts, pictures = without_pictures(facts)
    if context.remap.identity is not None:
        facts = _cleaned(_without_identity(facts), context.remap.identity.words)
    method = facts.get("DeidentificationMethod", [])
    codes = facts.get("DeidentificationMethodCodeSequence", [])
    shown = context.visible or context.reversible
    if shown and isinstance(codes, list):  # an earlier claim was of other voxels
        codes = [c for c in codes if not (isinstance(c, dict) and c.get("CodeValue") == CLEANED)]
    cleaned = {
        "CodeValue": CLEANED,
        "CodingSchemeDesignator": "DCM",
        "CodeMeaning": "Clean Recognizable Visual Features Option",
    }
    covered = {
        "CodeValue": CODE[0],
        "CodingSchemeDesignator": SCHEME,
        "CodingSchemeVersion": context.version,
        "CodeMeaning": CODE[1],
    }
    own = [
        *([] if shown else [cleaned]),
        {
            "CodeValue": context.defacer[:16],
            "CodingSchemeDesignator": SCHEME,
            "CodingSchemeVersion": context.version,
            "CodeMeaning": f"{done(context.reversible)} by defacedask with {context.defacer}",
        },
        *([covered] if context.reversible else []),
    ]
    new = {
        **facts,
        "DeidentificationMethod": [
            *(method if isinstance(method, list) else [method]),
            f"defacedask {context.version} {context.defacer}",
            *([METHOD] if context.reversible else []),
        ],
        "DeidentificationMethodCodeSequence": [*(codes if isinstance(codes, list) else []), *own],
        "RecognizableVisualFeatures": "YES" if shown else "NO",
        "DefacedaskMask": {"File": mask.name, "Description": HULL},
        "DefacedaskPlanSHA256": context.digest,
    }
    gone = len(before - set(new) - ({FIELD} if absent else set()))
    notes = [f"{gone} of its fields left out"] if gone else []
    notes += pictures
    if absent:
        notes.append(gone_note(len(absent)))
    return new, tuple(notes)


def _cleaned(value: Any, words: Any) -> Any:
    """Texts of a sidecar without the words of anybody in the cohort."""
    if isinstance(value, str):
        return words.clean(value)
    if isinstance(value, list):
        return [_cleaned(one, words) for one in value]
    if isinstance(value, dict):
        return {name: _cleaned(one, words) for name, one in value.items()}
    return value


def _without_identity(facts: dict[str, Any]) -> dict[str, Any]:
    """Fields of a sidecar that are known to carry no identity; nothing inside other fields is looked through.

    Known are the DICOM keywords that the Basic Profile leaves in a header, and the technical fields that BIDS and its
    converters have besides.
    """
    from pydicom.datadict import tag_for_keyword

    from defacedask.io.dicom.export.profile import OPTIONS, keyword_actions, told_age

    actions = keyword_actions()

    def known(name: str, value: Any) -> bool:
        if isinstance(value, dict) or (
            isinstance(value, list) and any(isinstance(v, dict | list) for v in value)
        ):
            return name == "DeidentificationMethodCodeSequence"
        return name in TECHNICAL or (tag_for_keyword(name) is not None and name not in actions)

    kept = {
        name: told_age(value) if name == "PatientAge" else value
        for name, value in facts.items()
        if known(name, value)
    }
    codes = facts.get("DeidentificationMethodCodeSequence", [])
    own = [
        {"CodeValue": value, "CodingSchemeDesignator": "DCM", "CodeMeaning": meaning}
        for value, meaning in OPTIONS
    ]
    return {
        **kept,
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethodCodeSequence": [*(codes if isinstance(codes, list) else []), *own],
    }


def _check(
    source: Path,
    path: Path,
    mask: Path,
    hull: np.ndarray,
    afters: Sequence[Any],
    region: np.ndarray,
    offset: int,
    dtype: np.dtype,
    anonymous: bool,
) -> None:
    """Header byte for byte, an extension too or zeros, nothing behind the voxels; values outside byte for byte.

    Outside of region and mask, that is; inside they are the plan's.
    """
    old, new = _raw(source), _raw(path)
    size = region.size * dtype.itemsize
    if anonymous:
        old = bytes(_anonymous(bytearray(old), offset))
    length, _ = header_size(old)
    # voxels begin behind the header; what lies between may only have become zero
    same = all(a in (b, 0) for a, b in zip(new[length:offset], old[length:offset], strict=False))
    if len(new) != offset + len(afters) * size or old[:length] != new[:length] or not same:
        raise DefacedaskError(f"the header of {path.name} is not the original's.", "Please report this.")
    read = opened(mask)
    written = np.asarray(read.dataobj).T != 0
    if not np.array_equal(written, hull):
        raise DefacedaskError(f"the mask {mask.name} is not the hull of the plan.", "Please report this.")
    kept, outside = ~region.ravel(), ~written.ravel()
    for number, one in enumerate(afters):
        defaced, start = one.values, offset + number * size
        before, after = (np.frombuffer(data, f"V{dtype.itemsize}", region.size, start) for data in (old, new))
        values = after.view(dtype).reshape(region.shape)
        if (before[kept] != after[kept]).any():
            raise DefacedaskError(f"values of {path.name} changed outside the region.", "Please report this.")
        if not np.array_equal(values[region], defaced[region], equal_nan=dtype.kind == "f"):
            raise DefacedaskError(
                f"values of {path.name} inside the region are not the plan's.", "Please report this."
            )
        if (before[outside] != after[outside]).any():
            raise DefacedaskError(f"values of {path.name} changed outside its mask.", "Please report this.")
