"""All elements of a dataset in one walk, through its sequences, without decoding what is not asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from defacedask.errors import InputError

__all__ = ["vr_of", "walk"]

#: Sequences in sequences that are followed; real files have four or five.
DEEPEST = 24


def vr_of(element: Any, tag: Any) -> str:
    """VR of an element without decoding it; that of the dictionary where the file gives none, else ``UN``."""
    vr = str(element.VR or "UN")
    if vr == "UN" and not tag.is_private:
        from pydicom.datadict import dictionary_VR

        with contextlib.suppress(KeyError):
            vr = str(dictionary_VR(tag))
    return vr


def walk(dataset: Any, depth: int = 0) -> Iterator[tuple[Any, Any, str]]:
    """(dataset or item, tag, VR) of every element, sequences' items after the sequence itself.

    Raises
    ------
    InputError
        If sequences are nested deeper than `DEEPEST`: nothing below would be looked at.
    """
    if depth > DEEPEST:
        raise InputError(f"its sequences are nested more than {DEEPEST} deep")
    for tag, element in list(dataset.items()):
        vr = vr_of(element, tag)
        yield dataset, tag, vr
        if vr == "SQ" and tag in dataset:
            for item in dataset[tag].value or ():
                yield from walk(item, depth + 1)
