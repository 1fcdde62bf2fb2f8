"""At the end of a run: every data set gets its own files, by what the record says became of its images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.io.bids.dataset import DataSet, data_sets, write_data_set
from defacedask.io.bids.names import parse
from defacedask.io.bids.refused import name_what_is_there
from defacedask.io.bids.sidecar import sidecars_of
from defacedask.io.nifti.volumes import gradients_of

if TYPE_CHECKING:
    from defacedask.io.dicom.export.words import Words
    from defacedask.io.dicom.model import Scan

__all__ = ["carry_on"]

#: Suffixes of what is no image.
_LABELS = {"defacemask", "mask", "dseg", "probseg"}


def carry_on(
    found: Scan,
    names: Mapping[str, str],
    out: Path,
    parts: Sequence[Path],
    own: Path,
    *,
    defacer: str,
    reversible: bool,
    words: Words | None = None,
    uids: Callable[[str], str] | None = None,
    subjects: Mapping[str, str] | None = None,
) -> tuple[list[Path], set[str]]:
    """Write the files of all data sets of a run.

    Parameters
    ----------
    found : Scan
        Whole: what is left out is counted, too.
    names : mapping
        Source file -> path below ``out``.
    out : Path
    parts : sequence of Path
        Parts of the record, one a case.
    own : Path
        Part of the record for the files that are written here.
    defacer, reversible, words, subjects
        See `defacedask.io.bids.dataset.write_data_set`.
    uids : callable, optional
        The run's map of UIDs, where headers are de-identified.

    Returns
    -------
    parts : list of Path
        ``own`` if there are such files, else nothing; what an earlier run wrote and this one did not is taken back.
    used : set of str
        Files of the source whose content is among what was written, sidecars of images included.

    Raises
    ------
    OutputError
        If a file is in the way, or nothing can be written.
    """
    from defacedask import __version__
    from defacedask.errors import StoreError
    from defacedask.io.dicom.export.audit import read_lines, write_lines

    try:
        earlier = {str(line["file"]) for line in read_lines(own)}
    except (StoreError, KeyError):
        earlier = set()
    sets = data_sets(found, names, uids)
    for one in sets:
        name_what_is_there(one, out, parts)
    lines = [line for part in parts for line in read_lines(part)] if sets else []
    written: list[dict[str, Any]] = []
    used: set[str] = set()
    for one in sets:
        inner = [s.folder for s in sets if s is not one and s.folder.startswith(one.folder)]
        theirs = [
            {**line, "file": str(line["file"]).removeprefix(one.folder)}
            for line in lines
            if str(line["file"]).startswith(one.folder)
            and not any(str(line["file"]).startswith(i) for i in inner)
        ]
        new, sources = write_data_set(
            one,
            out,
            theirs,
            _left_out(one, found, sets, words, subjects or {}),
            defacer=defacer,
            version=__version__,
            reversible=reversible,
            words=words,
            subjects=subjects,
            earlier=earlier,
        )
        written += new
        used |= sources
    for case in found.cases:
        for series in case.images:
            if series.facts.get("format") == "NIfTI":
                beside = gradients_of(series.files[0], series.facts.get("volumes", 1))
                used.update(str(file) for file in (*sidecars_of(series.files[0]), *beside))
    for name in earlier - {line["file"] for line in written}:
        (out / name).unlink(missing_ok=True)
    if not written:
        own.unlink(missing_ok=True)
        return [], used
    write_lines(own, written)
    return [own], used


def _left_out(
    one: DataSet, found: Scan, sets: Sequence[DataSet], words: Words | None, subjects: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Images of a data set that the scan skipped."""
    out = []
    for skip in found.skipped:
        path = Path(skip.path)
        name = parse(path.name)
        home = max((s.root for s in sets if s.root in path.parents), key=lambda r: len(r.parts), default=None)
        if name is None or home != one.root or name.suffix in _LABELS:
            continue
        old = f"sub-{name.label('sub')}"
        reason = skip.reason if words is None else words.clean(skip.reason)
        renamed = path.name.replace(old, subjects.get(old, old))
        out.append({"status": "left out", "file": renamed, "modality": skip.modality, "reason": reason})
    return out
