"""Transforms that a data set holds between the images of a subject: ``sub-01_from-T2w_to-T1w_mode-image_xfm.txt``.

The file's name says between what (``from``, ``to``), the file how. Files of ITK are read (as ANTs, fMRIPrep and
sMRIPrep write them); in these a transform of ``mode-image`` maps points the other way round, from ``to`` to ``from``.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from defacedask.errors import RefusedError
from defacedask.io.bids.names import BidsName, parse
from defacedask.io.dicom.registration import check_matrix

__all__ = ["Transform", "as_text", "of_session", "read_matrix", "transforms_in", "transforms_of"]

#: Files of ITK that hold an affine map.
READ = (".txt", ".tfm", ".mat", ".h5", ".hdf5")
#: Entities of a transform's name that are no entities of an image's.
_OWN = {"sub", "from", "to", "mode", "desc"}
_NAME = re.compile(r"(sub-.*_xfm)(\.[A-Za-z0-9.]+)")


@dataclasses.dataclass(frozen=True)
class Transform:
    """A file that says how one image lies in the space of another.

    Attributes
    ----------
    path : Path
    name : BidsName
    """

    path: Path
    name: BidsName

    @property
    def session(self) -> str:
        """Label of the session; "" where the name has none."""
        return self.name.label("ses")

    def fits(self, end: str, image: BidsName) -> bool:
        """Whether an image is what the transform leads ``from`` or ``to``.

        ``orig`` is the raw image of what it leads to. Entities of the transform's own, such as ``run``, are those of
        the image that it leads from.
        """
        label = self.name.label(end)
        label = self.name.label("to") if end == "from" and label == "orig" else label
        if label not in (image.suffix, image.label("space")):
            return False
        theirs = {pair for pair in self.name.entities if pair[0] not in _OWN}
        return end == "to" or theirs <= set(image.entities)


def transforms_of(root: Path, subject: str) -> list[Transform]:
    """Transforms of one subject, in a data set and in those that are derived from it (``derivatives/NAME``).

    Parameters
    ----------
    root : Path
        Of the data set.
    subject : str
        Label, without ``sub-``.
    """
    homes = (root, *sorted((root / "derivatives").glob("*")))
    return [one for home in homes for one in transforms_in(home, subject)]


def transforms_in(home: Path, subject: str) -> list[Transform]:
    """Those of one subject that lie in the data set itself."""
    out = []
    for path in sorted((home / f"sub-{subject}").rglob("*_xfm.*")):
        found = _NAME.fullmatch(path.name)
        # the same grammar as an image's, but for the ending
        name = parse(f"{found[1]}.nii") if found else None
        ends = name is not None and name.label("from") and name.label("to")
        if name is not None and ends and name.label("sub") == subject and path.is_file():
            out.append(Transform(path, name))
    return out


def read_matrix(one: Transform) -> np.ndarray:
    """Map of a transform, LPS mm of what it leads from to LPS mm of what it leads to.

    Parameters
    ----------
    one : Transform

    Returns
    -------
    (4, 4) array

    Raises
    ------
    RefusedError
        With the reason as a clause: another kind of file, damaged, deformable, or no map between two scans of a head.
    """
    mode = one.name.label("mode") or "image"
    if mode not in ("image", "points"):
        raise RefusedError(f"its mode is neither image nor points ({mode})")
    matrix = _stored(one.path)
    check_matrix(matrix)
    return matrix if mode == "points" else np.linalg.inv(matrix)


def _stored(path: Path) -> np.ndarray:
    """(4, 4) matrix of a file of ITK, as it maps points of LPS mm."""
    import SimpleITK

    if path.suffix.lower() not in READ:
        raise RefusedError(f"files of this kind are not read ({path.suffix}), only ITK's")
    try:
        found = SimpleITK.ReadTransform(str(path))
    except RuntimeError:
        raise RefusedError("it cannot be read as a transform of ITK") from None
    if found.GetDimension() != 3:
        raise RefusedError(f"it has {found.GetDimension()} dimensions")
    if not found.IsLinear():
        raise RefusedError("it is deformable, and plans are carried over by rigid and affine maps only")
    matrix = np.eye(4)
    matrix[:3, 3] = found.TransformPoint((0.0, 0.0, 0.0))
    for axis, end in enumerate(np.eye(3)):
        matrix[:3, axis] = np.subtract(found.TransformPoint(end.tolist()), matrix[:3, 3])
    if not np.isfinite(matrix).all():
        raise RefusedError("its matrix does not hold numbers")
    return matrix


def as_text(one: Transform) -> str:
    """The map of a transform as a text file of ITK: twelve numbers, and nothing else that its file may hold.

    Raises
    ------
    RefusedError
        If it is no rigid or affine map. The field of a deformable one would show the face's shape.
    """
    import SimpleITK

    matrix = _stored(one.path)
    made = SimpleITK.AffineTransform(3)
    made.SetMatrix(matrix[:3, :3].ravel().tolist())
    made.SetTranslation(matrix[:3, 3].tolist())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "one.txt"
        SimpleITK.WriteTransform(made, str(file))
        return file.read_text("ascii")


def of_session(some: Iterable[Transform], session: str, sessions: Sequence[str]) -> list[Transform]:
    """Those that name a session; where the subject has just one, also those that name none."""
    return [one for one in some if one.session == session or (not one.session and len(sessions) == 1)]
