"""NIfTI files have no patient and no UID: names, folders and bytes tell them apart, and each of these is tested."""

from __future__ import annotations

import dataclasses
import gzip
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from defacedask.io.bids.names import dataset_of
from defacedask.io.dicom.model import Series, Skipped
from defacedask.io.nifti.names import names_an_image, stem_of

__all__ = ["Settled", "settle_files"]

_BLOCK = 1 << 20


@dataclasses.dataclass
class Settled:
    """What a scan's NIfTI files come to."""

    files: list[Series] = dataclasses.field(default_factory=list)
    skipped: list[Skipped] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def settle_files(files: Sequence[Series]) -> Settled:
    """Leave out copies, and say whose files of one name are.

    Parameters
    ----------
    files : sequence of Series
        From `defacedask.io.nifti.read.nifti_series`, in a fixed order.

    Returns
    -------
    Settled
        A file of the same name and bytes as another is a copy, and so is ``X.nii.gz`` beside an ``X.nii`` with the
        same content. Files of one name in different folders whose names hold no ``sub-LABEL`` are persons of their
        own, named by folder.
    """
    out = Settled()
    seen: set[str] = set()
    once: list[Series] = []
    for one in files:
        if one.uid in seen:
            out.skipped.append(_skip(one, "it has the name and the bytes of another file; the first is used"))
        else:
            seen.add(one.uid)
            once.append(one)
    out.files = _persons(_twins(once, out), out)
    by_content: dict[str, list[Series]] = defaultdict(list)
    for one in out.files:
        by_content[one.facts["sha256"]].append(one)
    for same in by_content.values():
        if len(same) > 1:
            names = ", ".join(Path(one.files[0]).name for one in same)
            out.notes.append(
                f"{names} hold the same bytes under {len(same)} names: each is taken for an image of its own."
            )
    return out


def _skip(one: Series, reason: str) -> Skipped:
    return Skipped(one.files[0], reason, patient_id=one.patient_id)


def _twins(files: Sequence[Series], out: Settled) -> list[Series]:
    """``X.nii`` beside ``X.nii.gz``: one image twice, or two images."""
    beside: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for one in files:
        beside[str(Path(one.files[0]).parent), stem_of(one.files[0]).casefold()].append(one)
    gone: set[str] = set()
    for several in beside.values():
        first = several[0]
        for other in several[1:]:
            if _same_content(first.files[0], other.files[0]):
                out.skipped.append(
                    _skip(other, f"it is the same image as {Path(first.files[0]).name} beside it")
                )
                gone.add(other.uid)
            else:
                out.notes.append(
                    f"{Path(first.files[0]).name} and {Path(other.files[0]).name} lie side by side and differ: both "
                    "are taken, and what is written for the second gets a number."
                )
    return [one for one in files if one.uid not in gone]


def _open(path: str) -> IO[bytes]:
    with Path(path).open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else Path(path).open("rb")  # type: ignore[return-value]


def _same_content(one: str, other: str) -> bool:
    try:
        with _open(one) as a, _open(other) as b:
            while True:
                first, second = a.read(_BLOCK), b.read(_BLOCK)
                if first != second:
                    return False
                if not first:
                    return True
    except (OSError, EOFError, ValueError):  # damaged data: nothing shows that they agree
        return False


def _persons(files: Sequence[Series], out: Settled) -> list[Series]:
    """Files of one name in different folders are not one person's, if nothing says whose they are.

    The folders then say it: a person has one name, in however many files.
    """
    named: dict[str, list[Series]] = defaultdict(list)
    for one in files:
        if one.patient_id == stem_of(one.files[0]):
            named[one.patient_id.casefold()].append(one)
    twins = [some for some in named.values() if len({_folder(one) for one in some}) > 1]
    labels = _labels(twins, [one for some in named.values() for one in some])
    for some in twins:
        who = ", ".join(sorted(labels[one.uid] for one in some)[:4]) + (", ..." if len(some) > 4 else "")
        out.notes.append(
            f"{len(some)} different files are called {Path(some[0].files[0]).name}: each is taken for a person "
            f"of its own, named by its folder ({who})."
        )
    named_anew = [
        dataclasses.replace(one, facts={**one.facts, "patient": labels[one.uid]})
        if one.uid in labels
        else one
        for one in files
    ]
    return _several_sets(named_anew, out)


def _folder(one: Series) -> str:
    return str(Path(one.files[0]).parent)


def _labels(twins: Sequence[Sequence[Series]], every: Sequence[Series]) -> dict[str, str]:
    """Names of persons by UID: of the files whose name is in several folders, and of what lies beside them.

    One rule holds for all names of files, so that T1 and T2 of one folder are one person's. Only a name that says
    nothing but what an image shows says nothing of a person: ``john.nii`` beside ``mary.nii`` are two.
    """
    if not twins:
        return {}
    groups = [{_folder(one) for one in some} for some in twins]
    folders = sorted(set().union(*groups))
    root = os.path.commonpath(folders)

    def parts(folder: str) -> tuple[str, ...]:
        return Path(os.path.relpath(folder, root)).parts

    # the folder below the root is enough, if none holds two files of one name
    short = all(len({parts(one)[:1] for one in some}) == len(some) for some in groups)
    known = {parts(one)[:1] if short else parts(one) for one in folders}
    inside: dict[tuple[str, ...], list[Series]] = defaultdict(list)
    for one in every:
        own = parts(_folder(one))[:1] if short else parts(_folder(one))
        if own in known:
            inside[own].append(one)
    again = {one.uid for some in twins for one in some}
    out: dict[str, str] = {}
    for own, some in inside.items():
        label = "/".join(own or (Path(root).name,))
        alone = len({stem_of(one.files[0]).casefold() for one in some}) == 1
        for one in some:
            stem = stem_of(one.files[0])
            if alone or names_an_image(stem):
                out[one.uid] = label
            elif one.uid in again:
                out[one.uid] = f"{label}/{stem}"
    return out


def _several_sets(files: Sequence[Series], out: Settled) -> list[Series]:
    """A label of a data set means somebody in that data set; of two with one label nobody knows who they are."""
    homes: dict[str, set[Path]] = defaultdict(set)
    for one in files:
        root = dataset_of(one.files[0])
        if root is not None and one.patient_id.startswith("sub-"):
            homes[one.patient_id].add(_whole(root))
    several = sorted(who for who, some in homes.items() if _apart(some))
    if several:
        who = ", ".join(several[:4]) + (", ..." if len(several) > 4 else "")
        out.notes.append(
            f"{who}: in more than one data set. Each label is taken for one person, who gets one new face and one "
            "new id; deface the data sets one by one if they are different people."
        )
    return list(files)


def _whole(root: Path) -> Path:
    """The data set that one was derived from, by where it lies (``ROOT/derivatives/NAME``)."""
    while root.parent.name == "derivatives":
        root = root.parent.parent
    return root


def _apart(homes: set[Path]) -> bool:
    """Whether some data set lies neither in another nor around it (``rawdata`` beside ``derivatives``)."""
    return any(a != b and a not in b.parents and b not in a.parents for a in homes for b in homes)
