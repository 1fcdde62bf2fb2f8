"""Images of a session that lie in one space, and spaces that transforms relate.

Two images lie in one space if they have the same grid, the same ``space`` in their names, or both give positions in
the scanner (code 1 of their affine) and nothing says that it was another scanner.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from defacedask.errors import RefusedError
from defacedask.geometry import Geometry
from defacedask.io.bids.names import parse
from defacedask.io.bids.sidecar import sidecar_of
from defacedask.io.bids.transforms import Transform, read_matrix
from defacedask.io.dicom.registration import AGREE, OVERLAP, furthest, share_inside
from defacedask.io.dicom.series_facts import Series

__all__ = ["TRANSFORM", "Placed", "place", "spaces_of"]

#: Of the fact ``registered``: how an image came there, by a transform of its data set.
TRANSFORM = "transform"
#: Fields of a sidecar in which two images of one scanner agree.
_SCANNER = ("Manufacturer", "ManufacturersModelName", "DeviceSerialNumber")


@dataclasses.dataclass(frozen=True, eq=False)
class Placed:
    """A space among those that one plan serves.

    Attributes
    ----------
    space : int
        Its index.
    matrix : (4, 4) array
        LPS mm there -> LPS mm of the first space.
    by : str
        File of the transform that led here; "" for the first space.
    """

    space: int
    matrix: np.ndarray
    by: str = ""


def spaces_of(images: Sequence[Series]) -> list[list[Series]]:
    """Images of one session by the space that they lie in, in their order."""
    spaces: list[list[Series]] = []
    for one in images:
        home = next((space for space in spaces if any(_together(one, other) for other in space)), None)
        if home is None:
            spaces.append([one])
        else:
            home.append(one)
    return spaces


def _together(one: Series, other: Series) -> bool:
    here, there = Geometry.from_dict(one.geometry or {}), Geometry.from_dict(other.geometry or {})
    if here.close_to(there):
        return True
    labels = [_label(series, "space") for series in (one, other)]
    if labels[0] != labels[1]:
        return False
    if not labels[0] and not _one_scanner(one, other):
        return False
    return _overlap(here, np.eye(4), there) >= OVERLAP


def _label(one: Series, key: str) -> str:
    name = parse(Path(one.files[0]).name)
    return name.label(key) if name is not None else ""


def _one_scanner(one: Series, other: Series) -> bool:
    # a PET and an MR have scanners of their own, unless a transform says more
    if one.modality != other.modality or any(s.facts.get("space") != "scanner" for s in (one, other)):
        return False
    facts = [sidecar_of(s.files[0]) for s in (one, other)]
    return all(facts[0][key] == facts[1][key] for key in _SCANNER if all(key in each for each in facts))


def _overlap(here: Geometry, matrix: np.ndarray, there: Geometry) -> float:
    """Larger of the fractions of each field of view that lies in the other."""
    back = np.linalg.inv(matrix)
    return max(share_inside(here, matrix, there), share_inside(there, back, here))


def place(
    spaces: Sequence[Sequence[Series]], transforms: Sequence[Transform], notes: list[str]
) -> list[list[Placed]]:
    """Which spaces lie in one another, by the transforms of their data set.

    Parameters
    ----------
    spaces : sequence of sequence of Series
        Each begins with the image that a plan is best made on; so do they.
    transforms : sequence of Transform
    notes : list of str
        Why transforms are not used is added here.

    Returns
    -------
    list of list of Placed
        Each space once; the first of each list is the one that the others are led to, on a chain of transforms if
        need be.
    """
    links = _links(spaces, transforms, notes) if len(spaces) > 1 else {}
    out: list[list[Placed]] = []
    done: set[int] = set()
    for first in range(len(spaces)):
        if first in done:
            continue
        together = [Placed(first, np.eye(4))]
        done.add(first)
        for home in together:  # grows on the way
            for (here, there), (matrix, by) in links.items():
                if there == home.space and here not in done:
                    together.append(Placed(here, home.matrix @ matrix, by))
                    done.add(here)
        out.append(together)
    return out


def _links(
    spaces: Sequence[Sequence[Series]], transforms: Sequence[Transform], notes: list[str]
) -> dict[tuple[int, int], tuple[np.ndarray, str]]:
    """(space, space) -> map from the one to the other, and its file; both ways round."""
    found: dict[tuple[int, int], list[tuple[np.ndarray, str]]] = defaultdict(list)
    for one in transforms:
        ends = [_fitting(spaces, one, end) for end in ("from", "to")]
        if not all(ends) or ends[0] == ends[1]:
            continue  # it leads to or from what is not here, such as a standard space
        if max(map(len, ends)) > 1:
            notes.append(
                f"The transform {one.path} is not used: its name fits images in {max(map(len, ends))} spaces."
            )
            continue
        try:
            matrix = read_matrix(one)
        except RefusedError as error:
            notes.append(f"The transform {one.path} is not used: {error.message}.")
            continue
        here, there = ends[0][0], ends[1][0]
        if here < there:
            here, there, matrix = there, here, np.linalg.inv(matrix)
        found[here, there].append((matrix, one.path.name))
    out: dict[tuple[int, int], tuple[np.ndarray, str]] = {}
    for (here, there), maps in found.items():
        grids = [Geometry.from_dict(spaces[k][0].geometry or {}) for k in (here, there)]
        names = ", ".join(name for _, name in maps)
        apart = furthest(grids[0], [matrix for matrix, _ in maps])
        if apart > AGREE:
            notes.append(f"The transforms {names} disagree by {apart:.0f} mm, so none is used.")
        elif _overlap(grids[0], maps[0][0], grids[1]) < OVERLAP:
            notes.append(f"The transform {names} is not used: it leads an image to where the other is not.")
        else:
            matrix, name = maps[0]
            out[here, there] = matrix, name
            out[there, here] = np.linalg.inv(matrix), name
    return out


def _fitting(spaces: Sequence[Sequence[Series]], one: Transform, end: str) -> list[int]:
    """Spaces of the images that a transform's name fits."""
    names = [[parse(Path(s.files[0]).name) for s in space] for space in spaces]
    return [k for k, some in enumerate(names) if any(n is not None and one.fits(end, n) for n in some)]
