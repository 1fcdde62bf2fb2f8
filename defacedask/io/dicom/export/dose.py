"""RTDOSE: the original dataset with the plan's dose in it; grid, offsets and scaling stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.errors import InputError
from defacedask.io.dicom.dose_steps import planes_of_file
from defacedask.io.dicom.export.image import Context, Written, write_one
from defacedask.io.dicom.series_facts import Series

__all__ = ["write_doses"]


def write_doses(
    series: Series,
    order: list[int],
    original: np.ndarray,
    defaced: np.ndarray,
    place: Callable[[str], Path],
    context: Context,
    finish: Callable[[Any], None] | None = None,
) -> Iterator[Written]:
    """Write a dose grid, one file or one file a plane as it came.

    Parameters
    ----------
    series : Series
        The original.
    order : list of int
        Frame of the file (or file of the series) of each plane (``attrs["frames"]`` of `read_dose`); planes without
        one are not written.
    original, defaced : (z, y, x) arrays
        Stored values, planes ascending along the stack.
    place, context
        See `write_images`.
    finish : callable, optional
        Called with each dataset before its pixels are set.

    Yields
    ------
    Written
    """
    in_file = planes_of_file(np.asarray(order))
    original, defaced = original[in_file], defaced[in_file]
    if len(series.files) == 1:
        parts = [slice(None)]
    elif len(series.files) == len(original):
        parts = [slice(k, k + 1) for k in range(len(original))]
    else:
        raise InputError(
            f"the dose series {series.uid} has {len(series.files)} files and {len(original)} planes."
        )
    for source, instance, part in zip(series.files, series.instances, parts, strict=True):
        yield write_one(source, instance, "RTDOSE", original[part], defaced[part], place, context, finish)
