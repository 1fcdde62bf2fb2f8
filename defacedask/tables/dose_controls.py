"""The positive control of dose grids: counted where the dose is at the face, beside one of planted doses.

See `defacedask.attacks.dose_face`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from defacedask.attacks.dose_face import AT_FACE
from defacedask.faces.controls import controls
from defacedask.faces.identification import Distance, Sighting
from defacedask.tables.looks import PLANTED, Group, read_looks

__all__ = ["dose_control"]

#: What of the positive control is counted of those alone who have dose at the face.
_COUNTED = (
    "persons",
    "persons_detected",
    "positive_n",
    "positive_matches",
    "positive_matches_at_tolerance",
    "positive_rank_1",
    "holds",
    "reason",
)


def dose_control(
    folders: Sequence[Path],
    group: Group,
    originals: Sequence[Sighting],
    found: Mapping[str, Any],
    again: Callable[[Sequence[Sighting]], Mapping[str, Any]],
    *,
    distance: Distance | None = None,
    sample: Collection[str] | None = None,
) -> dict[str, Any]:
    """Figures of ``controls`` that differ from what all originals gave.

    Parameters
    ----------
    folders : sequence of Path
        That hold a part of `PLANTED` each.
    group : (modality, recogniser)
    originals : sequence of Sighting
        Plain pictures of them.
    found : mapping
        What `defacedask.faces.controls.controls` says of all of them.
    again : callable
        The same of some of them.
    distance : callable, optional
        The recogniser's.
    sample : collection of str, optional
        Persons that count; default all.

    Returns
    -------
    dict
        Nothing where no dose was planted. Else ``planted`` (persons), ``planted_detected``, ``planted_matches``,
        ``not_judged``, and, where somebody has no dose at the face, the counts without them.
    """
    planted = [
        one
        for folder in folders
        if (folder / f"{PLANTED}.parquet").is_file()
        for one in read_looks(folder, PLANTED).get(group, ())
        if sample is None or one.person in sample
    ]
    if not planted:
        return {}
    shown = controls(planted, distance=distance)
    out = {
        "planted": shown["persons"],
        "planted_detected": shown["persons_detected"],
        "planted_matches": shown["positive_matches"],
        "not_judged": 0,
    }
    at_face = {one.facts["case"] for one in planted if one.facts["variant"] == AT_FACE}
    judged = [one for one in originals if one.facts["case"] in at_face]
    persons = {one.person for one in judged}
    out["not_judged"] = len({one.person for one in originals} - persons)
    if not out["not_judged"]:
        return out
    if judged:
        counted = again(judged)
        return out | {name: counted[name] for name in _COUNTED}
    nobody: dict[str, Any] = {name: 0 for name in _COUNTED if found[name] is not None}
    reason = f"the dose is at the face of none of {out['not_judged']} persons"
    return out | nobody | {"holds": False, "reason": reason}
