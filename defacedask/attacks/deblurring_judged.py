"""The controls of deblurring, on an original: a blur that was planted is undone, and where none is none is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from defacedask.attacks.deblurred import blur_of, blurred_face, deblurred
from defacedask.attacks.planted import LEAST_FOUND
from defacedask.attacks.skin_found import FaceSkin
from defacedask.errors import DefacedaskError

if TYPE_CHECKING:
    from defacedask.attacks.target import Target

__all__ = ["PLANTED_MM", "deblurring_control"]

#: Standard deviation of the blur that is planted on the face.
PLANTED_MM = 5.0


def deblurring_control(original: Target) -> dict[str, Any] | None:
    """Row of the table ``deblurring``, without the case; None if no skin of the face is in view.

    Parameters
    ----------
    original : Target

    Returns
    -------
    dict or None
        ``untouched_mm`` (blur found on the original, which must be 0), ``measured_mm`` (that of the face with a blur
        of `PLANTED_MM`), ``blurred_found`` and ``control_found`` (share of the skin within 2 mm before and after it
        is undone, the latter at least `LEAST_FOUND`), ``control_holds``, ``reason``.
    """
    try:
        truth = FaceSkin.of(original)
    except DefacedaskError:
        return None
    weak = blurred_face(original, PLANTED_MM)
    found = max(truth.shares(weak, deblurred(weak)).values(), default=0.0)
    untouched, measured = blur_of(original), blur_of(weak)
    failed = []
    if untouched > 0:
        failed.append(f"the untouched face reads as blurred by {untouched:.1f} mm")
    if not measured > 0:
        failed.append(f"a blur of {PLANTED_MM:g} mm is not noticed")
    elif not found >= LEAST_FOUND:
        failed.append(
            f"{100 * found:.0f} % of the skin is found again, where {100 * LEAST_FOUND:.0f} % must be"
        )
    return {
        "modality": original.modality,
        "untouched_mm": untouched,
        "measured_mm": measured,
        "blurred_found": truth.share(weak.values, weak.geometry, weak.level),
        "control_found": found,
        "control_holds": not failed,
        "reason": "; ".join(failed),
    }
