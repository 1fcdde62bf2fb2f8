"""Structures of a case as its structure sets draw them, for a case that is in no store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from defacedask.anatomy.structure_names import standard_names
from defacedask.errors import DefacedaskError
from defacedask.io.dicom.model import image_of
from defacedask.io.dicom.registration import moved, own_geometry
from defacedask.io.dicom.structures import read_structures

if TYPE_CHECKING:
    from defacedask.geometry import Geometry
    from defacedask.io.dicom.model import Case
    from defacedask.io.dicom.structures import Structure

__all__ = ["DrawnStructures"]


class DrawnStructures:
    """Answers about the structures of a case what `defacedask.io.store.CaseStore` answers.

    Parameters
    ----------
    case : Case
        Whose structure sets are read now.
    """

    def __init__(self, case: Case) -> None:
        self._sets: dict[str, tuple[list[Structure], Geometry]] = {}
        #: ``unread_structures``: those that a set names and that could not be read.
        self.facts: dict[str, Any] = {"unread_structures": []}
        for part in case.structures:
            image = image_of(part, case)
            try:
                found = read_structures(part, own_geometry(image))
            except DefacedaskError as error:
                named = part.facts.get("structures", ())
                names = [*named, *standard_names(named)]
                self.facts["unread_structures"].append({"names": names, "reason": str(error)})
                continue
            self._sets[f"structures/{len(self._sets)}"] = found, moved(own_geometry(image), image.facts)

    @property
    def structure_sets(self) -> list[str]:
        """Names of the sets that could be read."""
        return list(self._sets)

    def structures(self, path: str) -> list[Structure]:
        """Structures of one set."""
        return self._sets[path][0]

    def geometry(self, path: str) -> Geometry:
        """Grid of the image that a set lies on, in the case's frame of reference."""
        return self._sets[path][1]
