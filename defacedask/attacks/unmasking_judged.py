"""Un-masking of one image, judged against its original: how much of the face's skin each kind of attempt finds.

Each kind has its positive control on the same original (`planted`): where that finds less than `LEAST_FOUND` of the
skin, the attempt proves nothing about this image, and the row says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from defacedask.attacks.learned import learned
from defacedask.attacks.planted import KINDS, LEAST_FOUND, Ground, planted
from defacedask.attacks.skin_found import FaceSkin
from defacedask.attacks.unmasking_lines import mask_attempts, seam_attempt
from defacedask.errors import DefacedaskError

if TYPE_CHECKING:
    from defacedask.attacks.attempts import Attempt, Target

__all__ = ["PEELS", "control_shares", "judged", "uncovered"]

#: Thicknesses of the peel that stands beside the attempts, mm.
PEELS = (3.0, 5.0, 7.0, 9.0, 12.0)


def uncovered(target: Target) -> dict[str, list[Attempt]]:
    """Attempts of each kind at a target; `Target.uncovered` keeps them."""
    return {kind: _found(target, kind) for kind in KINDS}


def _found(target: Target, kind: str, weak: bool = False) -> list[Attempt]:
    if kind == "mask":
        return mask_attempts(target)
    if kind == "seam":
        return seam_attempt(target)
    classifier = learned(target.modality, weak)
    return [] if classifier is None else classifier.attempt(target)


def control_shares(original: Target) -> dict[str, float]:
    """Kind of attempt -> share of the original's skin that it finds below a weak layer of its kind.

    Returns
    -------
    dict
        Empty if no skin of the face is in view.
    """
    try:
        truth = FaceSkin.of(original)
    except DefacedaskError:
        return {}
    ground = Ground.of(original)

    def share(kind: str) -> float:
        weak = planted(original, kind, ground=ground)
        return max(truth.shares(weak, _found(weak, kind, True)).values(), default=0.0)

    return {kind: share(kind) for kind in KINDS}


def judged(original: Target, defaced: Target, controls: dict[str, float]) -> list[dict[str, Any]]:
    """Rows of the table ``unmasking``, without case and defacer.

    Parameters
    ----------
    original, defaced : Target
    controls : dict
        See `control_shares`.
    """
    from defacedask.attacks.unmasking import peeled

    try:
        truth = FaceSkin.of(original)
    except DefacedaskError:
        return []
    peel = max(truth.shares(defaced, peeled(defaced, PEELS)).values())
    rows = []
    for kind, what in KINDS.items():
        found = truth.shares(defaced, defaced.uncovered[kind])
        if not found:
            continue
        control = controls.get(kind, float("nan"))
        holds = control >= LEAST_FOUND
        rows.append(
            {
                "modality": defaced.modality,
                "attempt": kind,
                "skin_found": max(found.values()),
                "peel_found": peel,
                "control_found": control,
                "control_holds": holds,
                "reason": ""
                if holds
                else f"it proves nothing here: below {what} it finds {100 * control:.0f} % of the skin, where "
                f"{100 * LEAST_FOUND:.0f} % must be found",
            }
        )
    return rows
