"""Files that gave no header: which of them lost something, and which series are incomplete without them.

A stack of which the last slice is cut off looks whole without it: only the file that could not be read tells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence
from pathlib import Path

from defacedask.io.dicom.bulk import Unreadable
from defacedask.io.dicom.headers import Header
from defacedask.io.dicom.model import Skipped
from defacedask.io.dicom.no_image import kind, lost_image

__all__ = ["Lost"]


class Lost:
    """What a scan could not read.

    Parameters
    ----------
    files : sequence of Unreadable
    headers : sequence of Header
        Of all other files.
    wanted : container of str
        Series UIDs that the user named; empty if every series is wanted.

    Attributes
    ----------
    skipped : list of Skipped
    """

    def __init__(
        self, files: Sequence[Unreadable] = (), headers: Sequence[Header] = (), wanted: Container[str] = ()
    ) -> None:
        self.skipped: list[Skipped] = []
        self._cut: dict[str, list[Unreadable]] = defaultdict(list)
        kinds = {kind(header.path) for header in headers} if files else set()
        whole = {header.text("SOPInstanceUID") for header in headers} if files else set()
        for one in files:
            uid = one.rest.text("SeriesInstanceUID") if one.rest else ""
            if one.rest and one.rest.text("SOPInstanceUID") in whole:
                self.skipped.append(Skipped(one.path, f"{one.reason}; the same instance is there whole", uid))
                continue
            self._cut[uid].append(one)
            lost = one.damaged or lost_image(one.path, one.reason, kinds)
            other = bool(wanted) and bool(uid) and uid not in wanted
            self.skipped.append(Skipped(one.path, one.reason, uid, damaged=lost and not other))

    def of(self, header: Header) -> str:
        """Why the series of a file is not whole, as a clause; "" if nothing of it is lost."""
        uid = header.text("SeriesInstanceUID")
        gone = self._cut.get(uid, []) if uid else []
        if not gone:
            return ""
        many = "1 of its files is" if len(gone) == 1 else f"{len(gone)} of its files are"
        return f"{many} not whole ({Path(gone[0].path).name}: {gone[0].reason})"
