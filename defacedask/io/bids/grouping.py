"""Which images of a subject's session share one plan: those on one grid.

On one grid an image lies where the other does, as far as files can say. Whether the head lies there too is seen
later: every image is measured itself before it is written.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from defacedask.geometry import Geometry
from defacedask.io.bids.names import dataset_of, is_derivative, parse
from defacedask.io.dicom.model import Series
from defacedask.io.nifti.names import stem_of

__all__ = ["one_plan_each"]

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


def one_plan_each(files: Sequence[Series]) -> list[Series]:
    """Let images of one subject and session that lie on one grid be one case, and number them.

    Parameters
    ----------
    files : sequence of Series
        NIfTI files, each with a frame of reference of its own.

    Returns
    -------
    list of Series
        As given; those that share a grid have the frame of reference of the one that a plan is best made on, and
        numbers from 1 in that order. In a data set, the fact ``bids`` is the path below it, and ``derivative`` says
        that it is a derived one.
    """
    groups: dict[tuple[str, str, str, str], list[Series]] = defaultdict(list)
    out: dict[str, Series] = {}
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
            groups[_home(path, root), one.patient_id, name.label("sub"), name.label("ses")].append(one)
    for several in groups.values():
        stems = [stem_of(one.files[0]).casefold() for one in several]
        # of X.nii and X.nii.gz nobody knows what they are
        clear = [one for one, stem in zip(several, stems, strict=True) if stems.count(stem) == 1]
        for grid in _on_one_grid(sorted(clear, key=_rank)):
            if len(grid) > 1:
                for number, one in enumerate(grid, 1):
                    out[one.uid] = _joined(one, grid[0].frame_of_reference, number)
    return [out[one.uid] for one in files]


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


def _on_one_grid(several: Sequence[Series]) -> list[list[Series]]:
    grids: list[tuple[Geometry, list[Series]]] = []
    for one in several:
        own = Geometry.from_dict(one.geometry or {})
        for grid, there in grids:
            if own.close_to(grid):
                there.append(one)
                break
        else:
            grids.append((own, [one]))
    return [there for _, there in grids]


def _joined(one: Series, frame: str, number: int) -> Series:
    geometry = {**(one.geometry or {}), "frame_of_reference": frame}
    return dataclasses.replace(one, frame_of_reference=frame, number=number, geometry=geometry)
