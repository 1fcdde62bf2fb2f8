"""Which images of a subject's session share one plan: those in one space, or with a transform between them.

There an image lies where the other does, as far as files can say. Whether the head lies there too is seen later:
every image is measured itself before it is written, and gets a plan of its own where the shared one leaves its face.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from defacedask.io.bids.names import dataset_of, is_derivative, parse
from defacedask.io.bids.spaces import TRANSFORM, Placed, place, spaces_of
from defacedask.io.bids.transforms import of_session, transforms_of
from defacedask.io.dicom.series_facts import Series
from defacedask.io.nifti.names import stem_of

__all__ = ["Grouped", "one_plan_each"]

#: Images on which a head is found best, first.
_BEST = (
    "T1w",
    "UNIT1",
    "MP2RAGE",
    "FLASH",
    "inplaneT1",
    "T2w",
    "FLAIR",
    "PDw",
    "PDT2",
    "T2starw",
    "ct",
    "pet",
)
#: Labels of parts that show no anatomy: a plan is made on them last.
_PHASE = {("part", "phase"), ("part", "real"), ("part", "imag")}


@dataclasses.dataclass(frozen=True)
class Grouped:
    """What `one_plan_each` gives.

    Attributes
    ----------
    files : list of Series
    notes : list of str
        Transforms of a data set that are not used, and why.
    """

    files: list[Series]
    notes: list[str]


def one_plan_each(files: Sequence[Series]) -> Grouped:
    """Let images of one subject and session that lie in one space be one case, and number them.

    Parameters
    ----------
    files : sequence of Series
        NIfTI files, each with a frame of reference of its own.

    Returns
    -------
    Grouped
        Files as given; those that share a space have the frame of reference of the one that a plan is best made on
        (fact ``plan_on``), and numbers from 1 in that order. One that a transform leads there has the fact
        ``registered``. In a data set, the fact ``bids`` is the path below it, and ``derivative`` says that it is a
        derived one.
    """
    groups: dict[tuple[str, str, str], dict[str, list[Series]]] = defaultdict(lambda: defaultdict(list))
    roots: dict[tuple[str, str, str], Path | None] = {}
    out: dict[str, Series] = {}
    notes: list[str] = []
    for one in files:
        path = Path(one.files[0])
        root = dataset_of(path)
        if root is not None:
            inside = path.relative_to(root).as_posix()
            more = {"bids": inside, **({"derivative": True} if is_derivative(root) else {})}
            one = dataclasses.replace(one, facts={**one.facts, **more})
        out[one.uid] = one
        name = parse(path.name)
        if name is not None and one.geometry is not None:
            who = _home(path, root), one.patient_id, name.label("sub")
            groups[who][name.label("ses")].append(one)
            roots[who] = root
    for who, sessions in groups.items():
        root = roots[who]
        several = any(len(images) > 1 for images in sessions.values())
        links = transforms_of(root, who[2]) if root is not None and several else []
        for session, images in sessions.items():
            stems = [stem_of(one.files[0]).casefold() for one in images]
            # of X.nii and X.nii.gz nobody knows what they are
            clear = [one for one, stem in zip(images, stems, strict=True) if stems.count(stem) == 1]
            spaces = spaces_of(sorted(clear, key=_rank))
            placed = place(spaces, of_session(links, session, list(sessions)), notes)
            for together in placed:
                for one in _joined(spaces, together):
                    out[one.uid] = one
    return Grouped([out[one.uid] for one in files], notes)


def _home(path: Path, root: Path | None) -> str:
    """Folder in which a subject's label means one subject."""
    if root is not None:
        return str(root)
    above = [folder.parent for folder in path.parents if folder.name.startswith("sub-")]
    return str(above[-1] if above else path.parent)


def _rank(one: Series) -> tuple[bool, int, str]:
    name = parse(Path(one.files[0]).name)
    assert name is not None
    best = _BEST.index(name.suffix) if name.suffix in _BEST else len(_BEST)
    return bool(_PHASE.intersection(name.entities)), best, Path(one.files[0]).name


def _joined(spaces: Sequence[Sequence[Series]], together: Sequence[Placed]) -> list[Series]:
    """Images of spaces that one plan serves, with all that says so."""
    first = spaces[together[0].space][0]
    frame = first.frame_of_reference
    images = [(one, there) for there in together for one in spaces[there.space]]
    if len(images) < 2:
        return []
    out = []
    for number, (one, there) in enumerate(sorted(images, key=lambda pair: _rank(pair[0])), 1):
        if there.by:
            fact = {
                "matrix": there.matrix.tolist(),
                "frame_of_reference": frame,
                "by": there.by,
                "how": TRANSFORM,
            }
            out.append(dataclasses.replace(one, number=number, facts={**one.facts, "registered": fact}))
            continue
        facts = {**one.facts, "plan_on": True} if one is first else one.facts
        geometry = {**(one.geometry or {}), "frame_of_reference": frame}
        out.append(
            dataclasses.replace(one, frame_of_reference=frame, number=number, geometry=geometry, facts=facts)
        )
    return out
