"""Contour data as text: what stays keeps the original's digits, what is new gets a tenth of a micrometre."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from defacedask.io.dicom.export.clip import Plane

__all__ = ["Line", "put_line"]

#: Bytes of a decimal string value in files with explicit VR (PS3.5 7.1.2).
DS_LIMIT = 65534
_DATA = 0x30060050


@dataclasses.dataclass
class Line:
    """Points of a contour, and the text they were written as."""

    points: np.ndarray
    texts: list[tuple[bytes, bytes, bytes]]

    @classmethod
    def of(cls, contour: Any) -> Line | None:
        """Points of a contour item, None if they cannot be read."""
        if _DATA not in contour:
            return None
        raw = contour.get_item(_DATA).value
        if isinstance(raw, (bytes, str)):
            fields = (raw if isinstance(raw, bytes) else raw.encode()).rstrip(b" \0").split(b"\\")
        else:
            fields = [str(v).encode() for v in np.atleast_1d(raw if raw is not None else [])]
        fields = [f.strip() for f in fields]
        try:
            values = np.array(fields).astype(np.float64)
        except ValueError:
            return None
        if not len(values) or len(values) % 3 or not np.isfinite(values).all():
            return None
        texts = list(zip(fields[0::3], fields[1::3], fields[2::3], strict=True))
        return cls(values.reshape(-1, 3), texts)


def put_line(
    item: Any,
    ring: np.ndarray,
    plane: Plane,
    texts: dict[tuple[float, float], tuple[bytes, bytes, bytes]],
    common: tuple[bytes | None, ...],
) -> None:
    """Write a closed line into a contour item.

    Parameters
    ----------
    item : pydicom.Dataset
    ring : (n, 2) array
        (row, column) on the plane's grid.
    plane : Plane
    texts : dict
        (row, column) -> x, y, z as the original wrote them.
    common : tuple
        x, y, z as written in every point of the original, None where they differ.
    """
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    for decimals in (4, 3, 2):
        flat = np.column_stack([np.zeros(len(ring)), ring])
        world = plane.grid.to_world(flat)
        fields: list[bytes] = []
        for vertex, point in zip(map(tuple, ring.tolist()), world, strict=True):
            known = texts.get(vertex)
            fields += known or [c or _number(v, decimals) for c, v in zip(common, point, strict=True)]
        data = b"\\".join(fields)
        if len(data) <= DS_LIMIT:
            break
        ring = _thinned(ring, 0.02 * 3 ** (4 - decimals))
    data += b" " * (len(data) % 2)
    implicit = bool(item.get_item(_DATA).is_implicit_VR) if item.get_item(_DATA).is_raw else False
    item[_DATA] = RawDataElement(Tag(_DATA), "DS", len(data), data, 0, implicit, True)
    item.NumberOfContourPoints = len(fields) // 3
    if str(item.get("ContourGeometricType", "")).upper() == "":
        item.ContourGeometricType = "CLOSED_PLANAR"


def _number(value: float, decimals: int) -> bytes:
    text = f"{value:.{decimals}f}".rstrip("0").rstrip(".")
    return (text if text not in ("-0", "") else "0")[:16].encode()


def _thinned(ring: np.ndarray, tolerance: float) -> np.ndarray:
    """Fewer vertices, none of them off by more than ``tolerance`` pixels."""
    import shapely

    return np.asarray(shapely.simplify(shapely.LinearRing(ring), tolerance).coords)[:-1]
