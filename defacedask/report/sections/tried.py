"""What was tried to recognise anybody, and what was not: no match means no more than that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from defacedask.attacks import BUILT_IN
from defacedask.attacks.inversion.regression import LEAST_PERSONS
from defacedask.attacks.names import BODY, DOSE, INVERSION, PET, PLAIN
from defacedask.modality import IMAGES
from defacedask.report.run import CONTROL, Run

__all__ = ["attacks_tried", "tried_lines", "untried"]

#: Attacks that are told apart by what the surface was made from.
_SURFACES = {"RTSTRUCT": BODY, "RTDOSE": DOSE, "PT": PET}


def attacks_tried(run: Run, defacer: str) -> list[str]:
    """Attacks of which a defacer has rows, built-in ones in their order, then others."""
    found = set()
    own = [(key[1], attacks) for key, attacks in run.looked.attacks.items() if key[0] == defacer]
    for modality, attack in {(modality, attack) for modality, attacks in own for attack in attacks}:
        if modality in _SURFACES:
            found.add(_SURFACES[modality])
            if attack == PLAIN:
                continue
        found.add(attack)
    return [a for a in BUILT_IN if a in found] + sorted(found - set(BUILT_IN))


def untried(run: Run, defacer: str) -> list[str]:
    """Built-in attacks of which a defacer has no rows."""
    tried = attacks_tried(run, defacer)
    return [a for a in BUILT_IN if a not in tried]


def _words(attacks: list[str]) -> str:
    return ", ".join(a.replace("_", " ") for a in attacks) or "nothing"


def tried_lines(run: Run) -> list[str]:
    """Say what was tried and what was not; defacers of which the same was tried share a line."""
    looked = [d for d in run.defacers if d != CONTROL and len(attacks_tried(run, d))]
    if not looked:
        return ["Nothing was tried to recognise anybody: that nobody was recognised means nothing."]
    rows = [key for key in run.looked.attacks if key[0] in looked]
    recognisers = list(dict.fromkeys(recogniser for _, _, recogniser in rows))
    images = [m for m in IMAGES if any(modality == m for _, modality, _ in rows)]
    persons = run.tables["verification"]["gallery_size"].dropna()
    number = int(persons.max()) if len(persons) else 0
    size = f" of {number} {'person' if number == 1 else 'persons'}" if number else ""
    gallery = {c.gallery for c in run.controls} or {"originals"}
    against = {
        "originals": f"the originals{size}, the very scans that were defaced",
        "second-scan": f"other scans{size}",
        "photographs": f"photographs{size}",
    }
    compared = " and ".join(against.get(g, g) for g in sorted(gallery))
    groups: dict[tuple[str, ...], list[str]] = {}
    for defacer in looked:
        groups.setdefault(tuple(attacks_tried(run, defacer)), []).append(defacer)
    lines = []
    for attacks, names in groups.items():
        who = f" on {', '.join(names)}" if len(groups) > 1 else ""
        lines.append(
            f"Tried{who}: {_words(list(attacks))}; by {', '.join(recognisers)}; "
            f"on {', '.join(images) or 'no image'}; against {compared}."
        )
        lacking = [a for a in BUILT_IN if a not in attacks]
        absent = [a for a in lacking if a in _asked(run)]
        left = [a for a in lacking if a not in absent]
        parts = [_words(left)] if left else []
        if INVERSION in absent:
            absent.remove(INVERSION)
            parts.append(
                "inversion (asked for, but nobody is learnt from when they are predicted themselves, and fewer than "
                f"{LEAST_PERSONS + 1} persons have both versions of an image)"
            )
        if absent:
            parts.append(f"{_words(absent)} (asked for, but there was nothing of the kind to look at)")
        if _matrix(run) and not len(run.tables["forced_matrix"]):
            parts.append(
                "the forced crop as a full matrix (asked for, but fewer than two persons show a face)"
            )
        if len(recognisers) == 1:
            parts.append("a second recogniser")
        if gallery == {"originals"}:
            parts.append("another scan or a photograph of the same persons")
        parts.append("people who look")
        lines.append(f"Not tried{who}: {'; '.join(parts)}.")
    return lines


def _matrix(run: Run) -> int:
    """Persons of which a full matrix was asked for."""
    settings: Any = run.config.get("settings")
    return int(settings.get("forced_matrix") or 0) if isinstance(settings, Mapping) else 0


def _asked(run: Run) -> set[str]:
    settings: Any = run.config.get("settings")
    faces = settings.get("faces") if isinstance(settings, Mapping) else None
    asked = faces.get("attacks") if isinstance(faces, Mapping) else None
    return set(map(str, asked)) if isinstance(asked, list) else set()
