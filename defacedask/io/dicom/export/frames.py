"""Multi-frame images: the original file with the plan's values in it, the derivation in its functional groups too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.io.dicom.export.covered import done
from defacedask.io.dicom.export.image import Context, Written, write_one
from defacedask.io.dicom.export.record import source_item
from defacedask.io.dicom.series_facts import Series

__all__ = ["write_frames"]


def write_frames(
    series: Series,
    number: int,
    original: np.ndarray,
    defaced: np.ndarray,
    place: Callable[[str], Path],
    context: Context,
) -> Written:
    """Write one file of a multi-frame image.

    Parameters
    ----------
    series : Series
        The original, or any volume in the file.
    number : int
        Of the file, from 0.
    original, defaced : (frames, rows, columns) arrays
        Stored values of all of its frames, in the order of the file.
    place, context
        See `defacedask.io.dicom.export.image.write_images`.

    Raises
    ------
    InputError
        If the file is not what was scanned.
    """

    def finish(dataset: Any) -> None:
        source = (series.sop_class_uid, context.remap.source(series.instances[number]))
        groups = [
            *(dataset.get("SharedFunctionalGroupsSequence", None) or ()),
            *(dataset.get("PerFrameFunctionalGroupsSequence", None) or ()),
        ]
        for group in groups:
            for name in ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence"):
                for item in group.get(name, None) or ():
                    kind = [str(v) for v in item.get("FrameType", None) or ("ORIGINAL", "PRIMARY")]
                    item.FrameType = ["DERIVED", *kind[1:]]
        _frame_derivation(dataset, source, context)
        _evidence(dataset, source, context.remap.source(series.uid))

    return write_one(
        series.files[number],
        series.instances[number],
        series.modality,
        original,
        defaced,
        place,
        context,
        finish,
    )


def _frame_derivation(dataset: Any, source: tuple[str, str], context: Context) -> None:
    """Derivation Image functional group (PS3.3 C.7.6.16.2.6): shared, unless frames have one of their own."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    from defacedask.io.dicom.export.record import code

    def item() -> Any:
        one = Dataset()
        how = done(context.reversible)
        one.DerivationDescription = f"{how} by defacedask {context.version} with {context.defacer}"
        one.DerivationCodeSequence = Sequence([code("113047", "DCM", "Pixel by pixel mask")])
        one.SourceImageSequence = Sequence([source_item(*source)])
        return one

    frames = list(dataset.get("PerFrameFunctionalGroupsSequence", None) or ())
    shared = list(dataset.get("SharedFunctionalGroupsSequence", None) or ())
    own = any("DerivationImageSequence" in frame for frame in frames)
    groups = frames if own or not shared else shared
    for group in groups:
        group.DerivationImageSequence = Sequence(
            [*(group.get("DerivationImageSequence", None) or ()), item()]
        )


def _evidence(dataset: Any, source: tuple[str, str], series: str) -> None:
    """Where in its study a source lies: required beside SourceImageSequence of a multi-frame image (C.8.13.2)."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    instance, one, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = source
    one.SeriesInstanceUID, one.ReferencedSOPSequence = series, Sequence([instance])
    study.StudyInstanceUID, study.ReferencedSeriesSequence = dataset.StudyInstanceUID, Sequence([one])
    before = dataset.get("SourceImageEvidenceSequence", None) or ()
    dataset.SourceImageEvidenceSequence = Sequence([*before, study])
