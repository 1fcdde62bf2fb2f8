"""Spatial Registration of a virtual patient: where a scan in a frame of its own lies in the CT's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from defacedask.phantom.elements import SOP_CLASS, Study, item, references, save

__all__ = ["write_registration"]


def write_registration(
    folder: Path,
    study: Study,
    matrix: np.ndarray,
    fixed: tuple[str, str, list[str]],
    moving: tuple[str, str, list[str]],
) -> str:
    """Write one Spatial Registration; return its SOPInstanceUID.

    Parameters
    ----------
    folder : Path
    study : Study
    matrix : (4, 4) array
        Rigid: LPS mm of the moving frame -> the fixed one's.
    fixed, moving : (modality, frame of reference, SOP instance UIDs)
        The object's own frame is the fixed one.
    """
    ds = study.instance("REG", "reg", 7, "Registration", 1)
    ds.FrameOfReferenceUID = fixed[1]
    ds.DeviceSerialNumber = "1"
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "REGISTRATION", "", ""
    ds.RegistrationSequence = [
        item(
            FrameOfReferenceUID=frame,
            ReferencedImageSequence=references(SOP_CLASS[modality], uids),
            MatrixRegistrationSequence=[
                item(
                    RegistrationTypeCodeSequence=[],
                    MatrixSequence=[
                        item(
                            FrameOfReferenceTransformationMatrixType="RIGID",
                            FrameOfReferenceTransformationMatrix=[f"{v:.10f}"[:16] for v in values.ravel()],
                        )
                    ],
                )
            ],
        )
        for (modality, frame, uids), values in ((fixed, np.eye(4)), (moving, matrix))
    ]
    ds.ReferencedSeriesSequence = [
        item(
            SeriesInstanceUID=study.uid(modality.lower()),
            ReferencedInstanceSequence=references(SOP_CLASS[modality], uids),
        )
        for modality, _, uids in (fixed, moving)
    ]
    save(ds, folder / "REG.0001.dcm")
    return str(ds.SOPInstanceUID)
