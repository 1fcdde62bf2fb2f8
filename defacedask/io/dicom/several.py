"""Series of single-frame images, one volume or several; which is which, and the best of them to look at."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from defacedask.errors import InputError, RefusedError
from defacedask.io.dicom.headers import Header
from defacedask.io.dicom.series import image_series
from defacedask.io.dicom.series_facts import Series
from defacedask.io.dicom.telling import elements_of
from defacedask.io.dicom.volumes import places_of, split

__all__ = ["image_volumes", "in_order", "numbered", "told"]

#: Words of ImageType, FrameType and ComplexImageComponent of images in which a head's shape is not what is bright.
UNLIKE = re.compile(r"P|PHASE|PHASE MAP|R|REAL|I|IMAGINARY|ADC|FA|TRACEW?|DERIVED")


def image_volumes(headers: Sequence[Header]) -> tuple[list[Series], list[tuple[list[Header], str]]]:
    """Check, tell apart and order the single-frame images of one series.

    Parameters
    ----------
    headers : sequence of Header
        Of one SOP class, without copies of an instance.

    Returns
    -------
    list of Series
        One for each volume. Of several each has the fact ``volume`` (see `numbered`).
    list of (list of Header, str)
        What belongs to no volume that can be used, and why, as a clause.

    Raises
    ------
    RefusedError
        If the series cannot be used, with the reason as a clause.
    """
    places = _places(headers)
    if places is None or places.max() < 1 or np.bincount(places).max() < 2:
        return [image_series(list(headers))], []
    try:
        found = split(places, elements_of(headers))
    except InputError as error:
        raise RefusedError(error.message.rstrip(".")) from None
    except RefusedError as error:
        why = error.message
        try:
            image_series(list(headers))
        except RefusedError as plain:
            raise RefusedError(f"{plain.message}; {why}") from None
        raise
    out: list[tuple[Series, Mapping[str, Hashable]]] = []
    left = [([headers[k] for k in some], why) for some, why in found.rest]
    for volume, by in zip(found.volumes, found.by, strict=True):
        own = [headers[k] for k in volume]
        try:
            out.append((image_series(own), by))
        except RefusedError as error:
            left.append((own, error.message))
    return numbered(in_order(out)), left


def _places(headers: Sequence[Header]) -> np.ndarray | None:
    positions = [header.values.get("ImagePositionPatient", ()) for header in headers]
    cosines = [header.values.get("ImageOrientationPatient", ()) for header in headers]
    if any(len(one) != 3 for one in positions) or any(len(one) != 6 for one in cosines):
        return None
    return places_of(np.array(positions, dtype=np.float64), np.array(cosines, dtype=np.float64))


def in_order(
    volumes: Sequence[tuple[Series, Mapping[str, Hashable]]],
) -> list[tuple[Series, Mapping[str, Hashable]]]:
    """Volumes of a series by what tells them apart, whatever the order of their files."""

    def place(one: tuple[Series, Mapping[str, Hashable]]) -> Any:
        return [_sortable(value) for value in one[1].values()], one[0].files, one[0].facts.get("frames", [])

    return sorted(volumes, key=place)


def _sortable(value: Hashable) -> Any:
    """Numbers before texts before what is missing."""
    if isinstance(value, (int, float)):
        return 0, float(value), ""
    return (2, 0.0, "") if value is None else (1, 0.0, str(value))


def numbered(volumes: Sequence[tuple[Series, Mapping[str, Hashable]]]) -> list[Series]:
    """Say of each of several volumes of a series which it is.

    Returns
    -------
    list of Series
        With the fact ``volume``: ``number`` (from 1) and ``of``, ``by`` (element -> its value, as text, of those that
        tell the volumes apart) and ``rank`` (0 for the volume that a head is best looked for in). A single volume
        that nothing lies beside is as it was.
    """
    if len(volumes) < 2:
        return [series for series, _ in volumes]
    best = sorted(range(len(volumes)), key=lambda k: (_likely(*volumes[k]), k))
    out = []
    for k, (series, by) in enumerate(volumes):
        fact = {
            "number": k + 1,
            "of": len(volumes),
            "rank": best.index(k),
            "by": {name: _text(value) for name, value in by.items()},
        }
        out.append(dataclasses.replace(series, facts={**series.facts, "volume": fact}))
    return out


def _likely(series: Series, by: Mapping[str, Hashable]) -> Any:
    """Sorts volumes: magnitude before phase, low b-values and short echoes first, of a PET what counted longest."""
    words = {
        word for name, value in by.items() if "Type" in name or "Complex" in name for word in _words(value)
    }
    unlike = sum(UNLIKE.fullmatch(word) is not None for word in words)
    unlike += by.get("kind of image (GE)") not in (None, 0.0)
    numbers = {name: value for name, value in by.items() if isinstance(value, float)}
    weighting = next((v for name, v in numbers.items() if "b-value" in name.lower() or "BValue" in name), 0.0)
    echo = next((v for name, v in numbers.items() if "EchoTime" in name), 0.0)
    long = numbers.get("ActualFrameDuration", 0.0)
    late = numbers.get("FrameReferenceTime", 0.0) if series.modality == "PT" else 0.0
    return unlike, weighting, echo, -long, -late


def _words(value: Hashable) -> list[str]:
    return [str(one).upper().strip() for one in (value if isinstance(value, tuple) else (value,))]


def _text(value: Hashable) -> str:
    if isinstance(value, tuple):
        return "\\".join(map(_text, value))
    return f"{value:.10g}" if isinstance(value, float) else "" if value is None else str(value)[:64]


def told(series: Series) -> str:
    """Which volume of its series one is, such as ``volume 2 of 4: EchoTime 80``; "" if its series has one."""
    fact = series.facts.get("volume")
    if not fact:
        return ""
    by = ", ".join(f"{name} {value}" for name, value in fact["by"].items() if value)
    return f"volume {fact['number']} of {fact['of']}" + (f": {by[:120]}" if by else "")
