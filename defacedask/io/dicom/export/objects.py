"""Objects that hang on the images and show nothing themselves: plans and registrations, references moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from defacedask.io.dicom.export.encoding import target_syntax
from defacedask.io.dicom.export.image import Context, Written, save, start
from defacedask.whole_files import file_hash

__all__ = ["write_object"]


def write_object(source: str, modality: str, place: Callable[[str], Path], context: Context) -> Written:
    """Write an RTPLAN or a spatial registration under new UIDs; its content is not touched.

    Parameters
    ----------
    source : str
        File.
    modality : str
        RTPLAN or REG.
    place, context
        See `write_images`.
    """
    dataset, syntax, dropped = start(source, context)
    source_uid = str(dataset.SOPInstanceUID)
    context.remap(dataset)
    context.mark(dataset, image=False)
    syntax, note = target_syntax(syntax)
    path = place(source)
    digest = save(dataset, path, syntax, context)
    return Written(
        source,
        str(path),
        modality,
        source_uid,
        str(dataset.SOPInstanceUID),
        file_hash(source),
        digest,
        0,
        tuple(dropped),
        (note,) if note else (),
    )
