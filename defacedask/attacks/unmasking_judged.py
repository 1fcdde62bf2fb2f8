"""Un-masking of one image, judged against its original: how much of the face's skin each kind of attempt finds.

Each kind has its positive control on the same original (`planted`): where that finds less than `LEAST_FOUND` of the
skin, the attempt proves nothing about this image, and the row says so. Where a part of the face was missing before
(`defacedask.anatomy.faceless`), there is no face's skin to be found: the control neither holds nor fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from defacedask.attacks.planted import KINDS, LEAST_FOUND, Ground, planted
from defacedask.attacks.skin_found import FaceSkin
from defacedask.attacks.uncovering import attempts_of, uncovered
from defacedask.attacks.unmasking import peeled
from defacedask.errors import DefacedaskError

if TYPE_CHECKING:
    from defacedask.anatomy.faceless import Faceless
    from defacedask.attacks.target import Target

__all__ = ["PEELS", "control_shares", "judged"]

#: Thicknesses of the peel that stands beside the attempts, mm.
PEELS = (3.0, 5.0, 7.0, 9.0, 12.0)


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
        return max(truth.shares(weak, attempts_of(weak, kind, weak=True)).values(), default=0.0)

    return {kind: share(kind) for kind in KINDS}


def judged(
    original: Target, defaced: Target, controls: dict[str, float], front: Faceless | None = None
) -> list[dict[str, Any]]:
    """Rows of the table ``unmasking``, without case and defacer.

    Parameters
    ----------
    original, defaced : Target
    controls : dict
        See `control_shares`.
    front : Faceless, optional
        What the original has of a face's front. ``control_holds`` is None where a part of it is missing.
    """
    try:
        truth = FaceSkin.of(original)
    except DefacedaskError:
        return []
    cut = front.sentence if front is not None and front.partly else ""
    peel = max(truth.shares(defaced, peeled(defaced, PEELS)).values())
    rows = []
    for kind, what in KINDS.items():
        found = truth.shares(defaced, uncovered(defaced)[kind])
        if not found:
            continue
        control = controls.get(kind, float("nan"))
        holds = None if cut else control >= LEAST_FOUND
        reason = ""
        if cut:
            reason = f"not judged here: {cut}"
        elif not holds:
            reason = (
                f"it proves nothing here: below {what} it finds {100 * control:.0f} % of the skin, where "
                f"{100 * LEAST_FOUND:.0f} % must be found"
            )
        rows.append(
            {
                "modality": defaced.modality,
                "attempt": kind,
                "skin_found": max(found.values()),
                "peel_found": peel,
                "control_found": control,
                "control_holds": holds,
                "reason": reason,
            }
        )
    return rows
