"""Fields of a sidecar that name other files of the data set: a validator asks that these are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from defacedask.io.bids.names import dataset_of, parse
from defacedask.io.dicom.find import is_nifti
from defacedask.io.nifti.read import is_left_out

__all__ = ["FIELD", "gone_note", "is_read", "without_absent"]

#: Field that names what a field map is for: paths below the subject's folder, or URIs of BIDS.
FIELD = "IntendedFor"
#: URI of a file of the same data set.
_HERE = "bids::"


def is_read(path: Path) -> bool:
    """Whether a file is an image that a run looks at."""
    return path.is_file() and is_nifti(str(path)) and not is_left_out(str(path))


def without_absent(
    facts: dict[str, Any], path: str | Path, there: Callable[[Path], bool] = is_read
) -> tuple[dict[str, Any], list[str]]:
    """Fields of a sidecar without the names of files that a run leaves out, such as BOLD and DWI.

    Parameters
    ----------
    facts : dict
    path : path
        Of the image, in its source.
    there : callable, optional
        Whether a file of the source is among what is written; by default whether it is read.

    Returns
    -------
    facts : dict
        As given, if nothing goes; without the field, if nothing stays of it.
    gone : list of str
        Names that went.
    """
    root, name = dataset_of(path), parse(Path(path).name)
    value = facts.get(FIELD)
    names = [value] if isinstance(value, str) else value
    if root is None or name is None or not isinstance(names, list):
        return facts, []
    below = root / f"sub-{name.label('sub')}"
    gone = [one for one in names if isinstance(one, str) and not _comes_along(one, root, below, there)]
    if not gone:
        return facts, []
    kept = [one for one in names if one not in gone]
    rest = {key: there for key, there in facts.items() if key != FIELD}
    return ({**rest, FIELD: kept} if kept else rest), gone


def gone_note(count: int) -> str:
    """What the record says of a sidecar that names fewer files than its source's."""
    return f"{FIELD} no longer names {count} files that are not written"


def _comes_along(named: str, root: Path, below: Path, there: Callable[[Path], bool]) -> bool:
    """Whether a name leads to an image that is there; that of another data set is left as it is."""
    if named.startswith(_HERE):
        places = [root / named.removeprefix(_HERE).lstrip("/")]
    elif named.startswith("bids:"):
        return True
    else:
        places = [below / named.lstrip("/"), root / named.lstrip("/")]
    return any(there(one) for one in places)
