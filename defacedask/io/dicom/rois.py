"""The regions of interest of an RTSTRUCT file, as written: names, numbers, closed contours in LPS mm."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.errors import InputError, RefusedError
from defacedask.io.dicom.headers import open_dataset
from defacedask.whole_files import state_of

__all__ = ["TWICE", "Roi", "read_rois"]

_RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
#: A deflated structure set may inflate to this.
MOST_BYTES = 256 * 2**20
#: Said of a structure that cannot be told from another.
TWICE = "its ROI number is used twice."
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


@dataclasses.dataclass
class Roi:
    """A region of interest on its way from file to mask.

    ``contours`` are the closed ones as (n, 3) LPS mm, ``xor`` says which are CLOSEDPLANAR_XOR; ``polygons`` (row,
    column indices), ``plane_of`` and ``planes`` (slice indices) are set once it is placed on an image. ``refused``
    says why it cannot be used.
    """

    path: str
    number: int
    name: str
    frame: str
    colour: tuple[int, int, int] = (255, 255, 255)
    kind: str = ""
    contours: list[np.ndarray] = dataclasses.field(default_factory=list)  # (n, 3) LPS mm
    xor: list[bool] = dataclasses.field(default_factory=list)  # of each contour: CLOSEDPLANAR_XOR
    warnings: list[str] = dataclasses.field(default_factory=list)
    refused: str = ""
    closed: bool = False
    polygons: list[np.ndarray] = dataclasses.field(default_factory=list)  # (n, 2) row, column
    plane_of: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    planes: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))

    def copy(self) -> Roi:
        """Another one, with lists of its own; nobody changes points in place."""
        return dataclasses.replace(
            self,
            contours=list(self.contours),
            xor=list(self.xor),
            warnings=list(self.warnings),
            polygons=list(self.polygons),
        )


def read_rois(path: str) -> list[Roi]:
    """Read every region of interest of one file, in its order.

    The last files are remembered as long as they stay as they are: several steps of one export ask for them.

    Raises
    ------
    InputError
        If the file is not a readable RTSTRUCT, or has no contours although it lists structures.
    """
    try:
        state = state_of(path)
    except OSError:
        return _read(path)  # says why
    return [roi.copy() for roi in _remembered(path, *state)]


@functools.lru_cache(maxsize=2)
def _remembered(path: str, *state: int) -> list[Roi]:
    return _read(path)


def _read(path: str) -> list[Roi]:
    try:
        dataset = open_dataset(path, pixels=True, limit=MOST_BYTES)
        rois = _parse(dataset, path)
    except (InputError, RefusedError):
        raise
    except Exception as error:
        raise InputError(
            f"{Path(path).name} cannot be read as a structure set ({error}).", "Is the file whole?"
        ) from error
    return rois


def _parse(dataset: Any, path: str) -> list[Roi]:
    if dataset.get("SOPClassUID", "") != _RTSTRUCT and dataset.get("Modality", "") != "RTSTRUCT":
        raise InputError(f"{Path(path).name} is not a structure set (RTSTRUCT).")
    rois: dict[int, Roi] = {}
    repeated = []
    for item in dataset.get("StructureSetROISequence") or ():
        number = _number(item, "ROINumber", path)
        roi = Roi(
            path, number, str(item.get("ROIName") or ""), str(item.get("ReferencedFrameOfReferenceUID") or "")
        )
        if number in rois:
            roi.warnings.append(f"its ROI number {number} is used twice: its contours cannot be told apart.")
            roi.refused = TWICE
            repeated.append(roi)
        else:
            rois[number] = roi
    for item in dataset.get("RTROIObservationsSequence") or ():
        known = rois.get(int(item.get("ReferencedROINumber") or -1))
        if known:
            known.kind = str(item.get("RTROIInterpretedType") or "")
    if rois and "ROIContourSequence" not in dataset:
        raise InputError(f"{Path(path).name} lists structures but has no contours.", "Is the file whole?")
    for item in dataset.get("ROIContourSequence") or ():
        number = _number(item, "ReferencedROINumber", path)
        if number not in rois:
            rois[number] = Roi(path, number, "", "")
            rois[number].warnings.append("its contours belong to no named region.")
        roi = rois[number]
        colour = item.get("ROIDisplayColor")
        if colour is not None and len(colour) == 3:
            roi.colour = tuple(int(np.clip(float(c), 0, 255)) for c in colour)  # type: ignore[assignment]
        _collect(roi, item.get("ContourSequence") or ())
    return [*rois.values(), *repeated]


def _number(item: Any, keyword: str, path: str) -> int:
    try:
        return int(item.get(keyword))
    except (TypeError, ValueError):
        what = "lists a structure" if keyword == "ROINumber" else "has contours"
        raise InputError(f"{Path(path).name} {what} without a usable ROI number ({keyword}).") from None


def _collect(roi: Roi, contours: Iterable[Any]) -> None:
    """Keep the closed contours of one region, say what is ignored."""
    ignored: dict[str, int] = {}
    seen = set()
    for contour in contours:
        kind = str(contour.get("ContourGeometricType") or "").upper()
        if kind not in _CLOSED:
            ignored[kind or "contour of no type"] = ignored.get(kind or "contour of no type", 0) + 1
            continue
        points = _points(contour)
        if points is None:
            ignored["contour with unreadable points"] = ignored.get("contour with unreadable points", 0) + 1
        elif len(points) < 3:
            ignored["closed contour of fewer than three points"] = (
                ignored.get("closed contour of fewer than three points", 0) + 1
            )
        elif (key := points.tobytes()) in seen:
            ignored["repeated contour"] = ignored.get("repeated contour", 0) + 1
        else:
            seen.add(key)
            roi.contours.append(points)
            roi.xor.append(kind == "CLOSEDPLANAR_XOR")
    roi.warnings += [f"ignored: {count} x {what}." for what, count in sorted(ignored.items())]
    roi.closed = bool(roi.contours)


def _points(contour: Any) -> np.ndarray | None:
    """(n, 3) LPS mm of a contour, or None.

    The decimal strings are parsed in one go: pydicom's own conversion makes an object of every number.
    """
    if "ContourData" not in contour:
        return np.zeros((0, 3))
    raw = contour.get_item("ContourData").value
    if isinstance(raw, (bytes, str)):
        text = raw if isinstance(raw, bytes) else raw.encode()
        fields = text.rstrip(b" \0").split(b"\\")
        try:
            values = np.array(fields).astype(np.float64) if fields != [b""] else np.zeros(0)
        except ValueError:
            return None
    else:
        values = np.atleast_1d(np.array(raw if raw is not None else [], dtype=np.float64))
    if len(values) % 3 or not np.isfinite(values).all() or np.abs(values).max(initial=0) > 1e6:
        return None
    return values.reshape(-1, 3)
