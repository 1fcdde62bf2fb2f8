"""What `verify` comes to."""

from __future__ import annotations

import dataclasses
from collections import Counter

from defacedask.verify.files import Found, Lines, Problem

__all__ = ["THERE", "Verification", "verification"]

#: Status of a line whose file is there; of what was passed on as it came its bytes alone are looked at.
THERE = ("written", "copied")


@dataclasses.dataclass
class Verification:
    """Result of `verify`.

    Attributes
    ----------
    written, refused : int
        Instances on record.
    counts : dict
        Modality -> instances written.
    problems : list of Problem
    unseen : list of str
        What could not be checked with what was given, one sentence each.
    """

    written: int
    refused: int
    counts: dict[str, int]
    problems: list[Problem]
    unseen: list[str] = dataclasses.field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verification(found: Found, lines: Lines, not_seen: list[str]) -> Verification:
    """What was found, counted."""
    written = [line for line in lines if line.get("status") == "written"]
    counts = Counter(line["modality"] for line in written)
    refused = sum(int(line.get("files", 1)) for line in lines if line.get("status") == "refused")
    problems = sorted(set(found.problems), key=lambda p: (p.file, p.check, p.what))
    return Verification(len(written), refused, dict(counts), problems, not_seen)
