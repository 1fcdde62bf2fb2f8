"""What a header or a sidecar says of an earlier defacing: who did it, and where that is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["by_header", "by_name", "by_sidecar", "said"]

CLEANED = "113102"
OWN = "99DEFACEDASK"
#: Defacers that methods, schemes and sidecars name.
_NAMED = re.compile(
    r"mri[ _-]?reface|mri[ _-]?deface|py[ _-]?deface|fsl[ _-]?deface|afni[ _-]?re?facer|@?afni_refacer_run|"
    r"quick ?shear|deep[ _-]?defacer|bids ?onym|carina|mask[ _-]?face|face[ _-]?mask(?:ing)?|"
    r"biometric[ _-]?mask(?:_strict)?|cbrain|spm[ _-]?deface",
    re.I,
)
_SAYS = re.compile(
    r"\b(?:de|re)-?fac(?:ed?|er|ing)\b|\bfaces?[ _](?:was |were |is )?(?:removed|replaced|blurred|stripped)",
    re.I,
)
_DENIES = re.compile(
    r"\b(?:not|no|never|without|un)[ _-]?(?:de|re)-?fac|\bfaces? (?:was |is )?(?:not|retained|kept|left)",
    re.I,
)
_OWN = re.compile(r"defacedask (\S+) (\S+)")
#: Words of a file's name that hint at it.
_NAME = re.compile(r"(?:^|[^a-z])(?:py)?(?:de|re)-?faced?(?:[^a-z]|$)|quickshear", re.I)


def said(facts: Mapping[str, Any]) -> str:
    """The finding as one clause: ``already defaced (quickshear, defacedask 0.1.0)``."""
    return f"already defaced ({facts['by']})"


def by_header(dataset: Any) -> dict[str, Any] | None:
    """What a DICOM header says of an earlier defacing.

    Parameters
    ----------
    dataset : pydicom.Dataset

    Returns
    -------
    dict or None
        ``by``: who, as far as it says; ``because``: where; ``sure``: True. None where it says nothing, or that the
        face is visible.
    """
    visible = str(dataset.get("RecognizableVisualFeatures", "") or "").strip().upper()
    codes = [
        {name: str(item.get(name, "") or "") for name in _CODE}
        for item in dataset.get("DeidentificationMethodCodeSequence", None) or ()
    ]
    method = dataset.get("DeidentificationMethod", None) or ()
    return _judged(visible, codes, _texts(method), "(0012,0064)", "(0012,0063)", "(0028,0302)")


def by_sidecar(sidecar: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the sidecar of a NIfTI file says of an earlier defacing; as `by_header`."""
    visible = str(sidecar.get("RecognizableVisualFeatures", "") or "").strip().upper()
    found = sidecar.get("DeidentificationMethodCodeSequence", None)
    codes = [
        {name: str(item.get(name, "") or "") for name in _CODE}
        for item in (found if isinstance(found, list) else [found])
        if isinstance(item, Mapping)
    ]
    texts = _texts(sidecar.get("DeidentificationMethod", None) or ())
    for key, value in sidecar.items():
        # such as "Defaced": true, "DefacingSoftware": "pydeface 2.0"
        if re.match(r"(?:is|was)?(?:de|re)fac", str(key), re.I) and value not in (
            False,
            None,
            "",
            [],
            "false",
            "no",
            0,
        ):
            texts.append(f"{value}" if isinstance(value, str) and _NAMED.search(value) else f"defaced: {key}")
    where = "its sidecar"
    return _judged(visible, codes, texts, where, where, where)


def by_name(stem: str) -> dict[str, Any] | None:
    """What the name of a file hints at: no more than a hint."""
    if not _NAME.search(stem):
        return None
    return {"by": "so its name says", "because": "its name says so, and nothing else", "sure": False}


_CODE = ("CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning")


def _texts(value: Any) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return [str(value)]
    return [str(one) for one in value]


def _judged(
    visible: str, codes: list[dict[str, str]], texts: list[str], coded: str, written: str, marked: str
) -> dict[str, Any] | None:
    cleaned = any(code["CodeValue"] == CLEANED for code in codes)
    if visible == "YES":
        return None
    who: list[str] = []
    own = False
    for code in codes:
        value, scheme, version, meaning = (code[name] for name in _CODE)
        if scheme == OWN:
            own = True
            who.append(f"{value}, defacedask {version}".strip())
        elif value != CLEANED and (_NAMED.search(scheme) or _NAMED.search(value)):
            who.append(f"{scheme if _NAMED.search(scheme) else value} {version}".strip())
        elif value != CLEANED and _SAYS.search(meaning) and not _DENIES.search(meaning):
            who.append(meaning)
    named = False
    for text in texts:
        ours = _OWN.search(text)
        if ours:
            own = True
            who.append(f"{ours[2]}, defacedask {ours[1]}")
        elif not _DENIES.search(text) and (_NAMED.search(text) or _SAYS.search(text)):
            named = True
            who.append(text.strip()[:80])
    marks = cleaned or visible == "NO"
    # what this program could not take the face out of carries its name too, but neither code nor NO
    if not (marks or (named and not own) or (who and not own)):
        return None
    because = [
        f"{coded} holds code {CLEANED}" if cleaned else "",
        f"{marked} RecognizableVisualFeatures is NO" if visible == "NO" else "",
        f"{written} DeidentificationMethod names it" if named and not cleaned else "",
    ]
    names = list(dict.fromkeys(_unversioned(who)))
    by = "; ".join(names) if names else "by whom it does not say"
    return {"by": by, "because": ", ".join(b for b in because if b) or f"{coded} names it", "sure": True}


def _unversioned(names: list[str]) -> list[str]:
    """Each defacer once: the longest way of naming it."""
    out: list[str] = []
    for name in names:
        if not any(name != other and other.startswith(name) for other in names):
            out.append(name)
    return out
