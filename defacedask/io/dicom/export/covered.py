"""What a file says of a face that was covered and not removed, so that the original can be recovered from it.

Such a file may not claim what PS3.15 calls the Clean Recognizable Visual Features Option: it carries no code 113102,
and RecognizableVisualFeatures is YES. It says so by a code of its own and in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["CLEANED", "CODE", "METHOD", "SCHEME", "done", "drop_cleaned", "problems", "sidecar_problems"]

#: Designator of the codes that are ours.
SCHEME = "99DEFACEDASK"
#: Code of the Clean Recognizable Visual Features Option.
CLEANED = "113102"
#: Code value and meaning of what can be undone, in `SCHEME`.
CODE = ("REVERSIBLE", "Face covered, not removed: it can be recovered")
#: Second value of (0012,0063).
METHOD = "face covered, not removed: it can be recovered"
_WORDS = "covered, not removed"


def done(reversible: bool) -> str:
    """What was done to the face, as the first words of a sentence."""
    return f"Face {_WORDS} (it can be recovered)," if reversible else "Face removed"


def drop_cleaned(dataset: Any) -> None:
    """Take code 113102 out of (0012,0064), where an earlier de-identification claimed it of other pixels."""
    from pydicom.sequence import Sequence

    items = list(dataset.get("DeidentificationMethodCodeSequence", None) or ())
    kept = [i for i in items if str(i.get("CodeValue", "")) != CLEANED]
    if len(kept) < len(items):
        dataset.DeidentificationMethodCodeSequence = Sequence(kept)


def problems(dataset: Any, *, image: bool) -> list[str]:
    """What is wrong with the claims of an instance whose face can be recovered, one clause each.

    Parameters
    ----------
    dataset : pydicom.Dataset
    image : bool
        Whether it has pixels that could show a face (CT, MR, PET, RTDOSE).
    """
    found = _codes(
        (str(i.get("CodeValue", "")), str(i.get("CodingSchemeDesignator", "")))
        for i in dataset.get("DeidentificationMethodCodeSequence", None) or ()
    )
    if _WORDS not in str(dataset.get("DeidentificationMethod", "")):
        found.append("(0012,0063) does not say that the face is covered, not removed")
    if image and str(dataset.get("RecognizableVisualFeatures", "")) != "YES":
        found.append("the face can be recovered from it, but (0028,0302) is not YES")
    if image and _WORDS not in str(dataset.get("DerivationDescription", "")):
        found.append("(0008,2111) does not say that the face is covered, not removed")
    return found


def sidecar_problems(facts: Mapping[str, Any]) -> list[str]:
    """The same of the sidecar of a NIfTI file."""
    found = _codes(
        (str(i.get("CodeValue", "")), str(i.get("CodingSchemeDesignator", "")))
        for i in facts.get("DeidentificationMethodCodeSequence", [])
    )
    if not any(_WORDS in str(one) for one in facts.get("DeidentificationMethod", [])):
        found.append(
            "the sidecar's DeidentificationMethod does not say that the face is covered, not removed"
        )
    if facts.get("RecognizableVisualFeatures") != "YES":
        found.append("the face can be recovered, but the sidecar's RecognizableVisualFeatures is not YES")
    return found


def _codes(items: Iterable[tuple[str, str]]) -> list[str]:
    there = set(items)
    found = []
    if CLEANED in {value for value, _ in there}:
        found.append(f"the face can be recovered from it, but it carries code {CLEANED}")
    if (CODE[0], SCHEME) not in there:
        found.append(
            f"it does not carry code {CODE[0]} of {SCHEME}, although the face can be recovered from it"
        )
    return found
