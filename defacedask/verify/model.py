"""What `verify` comes to."""

from __future__ import annotations

import dataclasses
from collections import Counter

from defacedask.verify.files import Found, Problem
from defacedask.verify.lines import Lines

__all__ = ["Verification", "verification"]


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
    counts: Counter[str] = Counter()
    refused = 0
    for line in lines:
        if line.get("status") == "written":
            counts[line["modality"]] += 1
        elif line.get("status") == "refused":
            refused += int(line.get("files", 1))
    problems = sorted(set(found.problems), key=lambda p: (p.file, p.check, p.what))
    return Verification(counts.total(), refused, dict(counts), problems, not_seen)
