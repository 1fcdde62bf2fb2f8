"""What the functional groups of multi-frame images say that may tell their volumes apart (PS3.3 C.7.6.16, C.8.13)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from defacedask.io.dicom.frames import groups_of, value_of
from defacedask.io.dicom.telling import FIRM as FIRM_SINGLE
from defacedask.io.dicom.telling import LOOSE as LOOSE_SINGLE
from defacedask.io.dicom.telling import plain, seconds
from defacedask.io.dicom.volumes import Element

__all__ = ["frame_elements"]

#: (path of sequences, keyword): how a frame was made.
FIRM = (
    (("MREchoSequence",), "EffectiveEchoTime"),
    (("MRDiffusionSequence",), "DiffusionBValue"),
    (("MRDiffusionSequence",), "DiffusionDirectionality"),
    (("MRDiffusionSequence", "DiffusionGradientDirectionSequence"), "DiffusionGradientOrientation"),
    (("MRImageFrameTypeSequence",), "FrameType"),
    (("MRImageFrameTypeSequence",), "ComplexImageComponent"),
    (("CTImageFrameTypeSequence",), "FrameType"),
    (("PETFrameTypeSequence",), "FrameType"),
    (("CTXRayDetailsSequence",), "KVP"),
    (("CTReconstructionSequence",), "ConvolutionKernel"),
)
LOOSE = (
    (("FrameContentSequence",), "StackID"),
    (("FrameContentSequence",), "TemporalPositionIndex"),
    (("FrameContentSequence",), "FrameAcquisitionNumber"),
    (("FrameContentSequence",), "FrameAcquisitionDateTime"),
    (("FrameContentSequence",), "FrameReferenceDateTime"),
    (("FrameContentSequence",), "FrameAcquisitionDuration"),
    (("TemporalPositionSequence",), "TemporalPositionTimeOffset"),
    (("MRModifierSequence",), "InversionTimes"),
    (("MRTimingAndRelatedParametersSequence",), "FlipAngle"),
    (("MRTimingAndRelatedParametersSequence",), "RepetitionTime"),
    (("CardiacSynchronizationSequence",), "NominalPercentageOfCardiacPhase"),
    (("RespiratorySynchronizationSequence",), "NominalPercentageOfRespiratoryPhase"),
)
#: Where a legacy converted image keeps what its single frames said (PS3.3 C.7.6.16.2.25).
CONVERTED = "UnassignedPerFrameConvertedAttributesSequence"


def frame_elements(datasets: Sequence[Any]) -> list[Element]:
    """What may tell the frames of one or several multi-frame images apart.

    Parameters
    ----------
    datasets : sequence of pydicom.Dataset
        Headers, in order.

    Returns
    -------
    list of Element
        With values of all frames, file by file. Elements that differ nowhere are left out.
    """
    frames = [pair for dataset in datasets for pair in groups_of(dataset)]
    out = []
    for firm, some in ((True, FIRM), (False, LOOSE)):
        for path, keyword in some:
            values = tuple(plain(value_of(frame, shared, path, keyword)) for frame, shared in frames)
            name = keyword if keyword != "FrameType" else f"FrameType ({path[0][:2]})"
            out.append(Element(name, values, firm, _times(keyword, values)))
    for firm, names in ((True, FIRM_SINGLE), (False, LOOSE_SINGLE)):
        for name in names:
            values = tuple(plain(value_of(frame, shared, (CONVERTED,), name)) for frame, shared in frames)
            out.append(Element(f"{name} (converted)", values, firm))
    out += _dimensions(datasets)
    return [one for one in out if len(set(one.values)) > 1]


def _times(keyword: str, values: Sequence[Hashable]) -> tuple[float, ...]:
    """Moments as seconds; () of what is no moment."""
    if keyword == "TemporalPositionTimeOffset":
        return tuple(v if isinstance(v, float) else math.nan for v in values)
    if not keyword.endswith("DateTime"):
        return ()
    texts = [f"{v:.6f}" if isinstance(v, float) else str(v or "") for v in values]
    return tuple(seconds(text[:8], text[8:].split("+")[0]) for text in texts)


def _dimensions(datasets: Sequence[Any]) -> Iterator[Element]:
    """One element for each dimension that the frames are said to have (PS3.3 C.7.6.17)."""
    from pydicom.datadict import keyword_for_tag

    pointers = [_pointers(dataset) for dataset in datasets]
    if any(one != pointers[0] for one in pointers[1:]):
        return
    rows = []
    for frame, shared in (pair for dataset in datasets for pair in groups_of(dataset)):
        value = plain(value_of(frame, shared, ("FrameContentSequence",), "DimensionIndexValues"))
        rows.append(value if isinstance(value, tuple) else (value,))
    if any(len(row) != len(pointers[0]) for row in rows):
        return
    for k, pointer in enumerate(pointers[0]):
        name = keyword_for_tag(pointer) or f"{pointer >> 16:04x},{pointer & 0xFFFF:04x}"
        yield Element(f"dimension {name}", tuple(row[k] for row in rows))


def _pointers(dataset: Any) -> list[int]:
    found = dataset.get("DimensionIndexSequence", None) or ()
    return [int(one.get("DimensionIndexPointer", 0) or 0) for one in found]
