"""Controls on undefaced heads: whether a recogniser recognises anybody at all, and tells people apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from defacedask.faces.galleries import PHOTOGRAPHS, SECOND_SCAN, Gallery, gallery_of_originals
from defacedask.faces.identification import Distance, Sighting, identify
from defacedask.faces.rates import calibrate_threshold
from defacedask.faces.tolerances import largest_distance

__all__ = ["controls"]


def controls(
    originals: Sequence[Sighting],
    gallery: Gallery | None = None,
    *,
    distance: Distance | None = None,
    fpr: float = 0.01,
    tolerance: float = math.nan,
    compares: bool = True,
) -> dict[str, Any]:
    """Does the attack work at all, and does it tell people apart? Calibrates on originals by the way.

    Parameters
    ----------
    originals : sequence of Sighting
        Pictures of undefaced heads, several views a person.
    gallery : Gallery, optional
        Whom they are compared with; default: each other, at other views.
    distance : callable, optional
        A recogniser's; default: Euclidean.
    fpr : float
        Rate of impostors at the calibrated threshold.
    tolerance : float
        The recogniser's; NaN if it has none.
    compares : bool
        Whether the recogniser tells persons apart. One that only finds faces must find one in half of the originals.

    Returns
    -------
    dict
        ``compares``; ``calibration`` (`Calibration`), ``persons``, ``persons_detected``; ``gallery`` (its kind),
        ``not_in_gallery`` (persons of whom it holds nothing, comma-separated) and ``gallery_note`` (what is unusual
        about its pictures); positive control (each picture
        against its person in the gallery; in a gallery of originals, the other views): ``positive_matches``,
        ``positive_rank_1``, ``positive_n``
        by person (best view); negative control: ``negative_rate`` of impostor comparisons at the tolerance, and
        ``negative_matches`` of them at the larger of tolerance and calibrated threshold;
        ``holds`` and ``reason``: the positive control holds if at least half of the persons are detected, and
        half of those that can be compared are matched at the calibrated threshold. If it does not hold, a
        low match rate after defacing proves nothing.
    """
    pictures = list(originals)
    known = gallery or gallery_of_originals(pictures)
    scores = known.score(pictures, own=True, distance=distance)
    # an impostor may meet the gallery at its own view, as the defaced heads will
    impostors = _some(known.score(pictures, distance=distance).impostor)
    calibration = calibrate_threshold(_some(scores.genuine), impostors, fpr)
    persons = sorted({p.person for p in pictures})
    detected = {p.person for p in pictures if p.detected}
    best: dict[str, tuple[float, int]] = {}
    for probe, row in zip(pictures, identify(scores), strict=True):
        if row["distance_to_own"] is not None:
            found = (row["distance_to_own"], row["rank_of_own"])
            best[probe.person] = min(best.get(probe.person, found), found)
    fixed, largest = not math.isnan(tolerance), largest_distance(tolerance, calibration.threshold)
    matched = sum(d <= calibration.threshold for d, _ in best.values())
    reason = ""
    if len(detected) * 2 < len(persons):
        reason = f"faces were detected on {len(detected)} of {len(persons)} originals only"
    elif not compares:
        pass
    elif math.isnan(calibration.threshold):
        reason = f"no threshold could be calibrated: {calibration.reason}"
    elif matched * 2 < len(best) or not best:
        against = {SECOND_SCAN: "their other scan", PHOTOGRAPHS: "their photograph"}
        reason = (
            f"only {matched} of {len(best)} originals match "
            f"{against.get(known.kind, 'themselves at another view')}"
        )
    return {
        "compares": compares,
        "calibration": calibration,
        "gallery": known.kind,
        "not_in_gallery": ", ".join(known.missing),
        "gallery_note": " ".join(known.notes),
        "persons": len(persons),
        "persons_detected": len(detected),
        "positive_n": len(best),
        "positive_matches": matched,
        "positive_matches_at_tolerance": sum(d <= tolerance for d, _ in best.values()) if fixed else None,
        "positive_rank_1": sum(rank == 1 for _, rank in best.values()),
        "negative_n": len(impostors),
        "negative_rate": float((impostors <= tolerance).mean()) if fixed and len(impostors) else math.nan,
        "negative_matches": int((impostors <= largest).sum()) if not math.isnan(largest) else None,
        "holds": not reason,
        "reason": reason,
    }


def _some(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]
