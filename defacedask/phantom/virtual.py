"""How a virtual patient is known: by the maker and the model in the header of every image of it.

`defacedask phantom` writes them, and nobody else does. A report must not let virtual patients pass for people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from defacedask.io.dicom.model import Case

__all__ = ["MANUFACTURER", "MODEL", "is_virtual"]

#: Manufacturer (0008,0070) and ManufacturerModelName (0008,1090) of a virtual patient's instances.
MANUFACTURER, MODEL = "defacedask", "virtual patient"


def is_virtual(case: Case) -> bool:
    """Whether every image of a case says that it was made by `defacedask phantom`.

    One image of somebody else is enough to make the case a person's. NIfTI has no such header: it never is virtual.
    """
    made = [
        (series.facts.get("manufacturer"), series.facts.get("scanner")) == (MANUFACTURER, MODEL)
        for series in case.images
    ]
    return bool(made) and all(made)
