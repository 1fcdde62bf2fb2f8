"""Whether the values of a CT can be Hounsfield units, and what is likely wrong where they cannot.

Only asked where no head was found: a CT in which one was is taken as it is.
"""

from __future__ import annotations

import numpy as np

__all__ = ["likely_fault"]

#: HU about air and about soft tissue in which their voxels lie, of scanners and reconstructions of all kinds.
AIR, TISSUE = (-1100.0, -880.0), (-150.0, 150.0)
#: HU just under air, where a patient's image has next to nothing: values that were clipped lie there.
UNDER = 600.0
#: Offsets that are tried, HU: 1000, 1024 and twice that, as much as air and soft tissue have room in their limits.
OFFSETS = np.concatenate(
    [sign * np.arange(*ends, 8.0) for sign in (-1, 1) for ends in ((860, 1160), (1860, 2200))]
)
#: Parts of the voxels that air and soft tissue each have in an image of a patient, at least; and by how many times an
#: offset must part the two better than the values as they are.
LEAST, TIMES = 0.02, 4.0
#: Part of the voxels at the sides of the slices that one value fills where the background was overwritten.
CONSTANT = 0.9
#: HU under which some voxel must lie if there is air in view.
NEAR_AIR = -700.0


def likely_fault(values: np.ndarray, intercept: float | None = None) -> str:
    """What is likely wrong with the values of a CT, and what to do.

    Parameters
    ----------
    values : array
        HU as the header has them.
    intercept : float, optional
        RescaleIntercept of the header.

    Returns
    -------
    str
        One sentence; "" if they may be Hounsfield units.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return ""
    counts, edges = np.histogram(finite, bins=np.arange(-6000.0, 9001.0, 4.0))
    below = np.concatenate([[0], np.cumsum(counts)]) / finite.size

    def part(limits: tuple[float, float], by: np.ndarray) -> np.ndarray:
        return np.interp(limits[1] + by, edges, below) - np.interp(limits[0] + by, edges, below)

    def fit(by: np.ndarray) -> np.ndarray:
        tissue, between = part(TISSUE, by), part((AIR[1], TISSUE[0]), by)
        likely = (tissue > between) & (part((AIR[0] - UNDER, AIR[0]), by) < LEAST)
        return np.where(likely, np.minimum(part(AIR, by), tissue), 0.0)

    fits, here = fit(OFFSETS), float(fit(np.zeros(1))[0])
    if fits.max() >= LEAST and fits.max() > TIMES * here:
        # the middle of all that fit as well
        offset = float(OFFSETS[fits >= 0.98 * fits.max()].mean())
        said = "" if intercept is None else f" ({intercept:g} in the header)"
        return (
            f"Its values look like Hounsfield units that are about {abs(offset):.0f} too "
            f"{'high' if offset > 0 else 'low'}: see to its RescaleIntercept{said}, which often is -1024 or -1000."
        )
    low = float(np.percentile(finite, 0.5))
    said = (
        f"None of it reads as air (-1000 HU; the lowest values are about {low:.0f})" if low > NEAR_AIR else ""
    )
    around = _around(values)
    if not said and around is not None and around > NEAR_AIR:
        said = f"What surrounds the patient reads {around:.0f} HU, and not as air (-1000 HU)"
    asked = "give the CT as it was reconstructed, not one that was clipped, windowed or masked"
    return f"{said}: {asked}." if said else ""


def _around(values: np.ndarray) -> float | None:
    """The one value that nearly all voxels at the sides of the slices have; None if there is no such value."""
    if values.ndim != 3:
        return None
    sides = np.concatenate([values[:, [0, -1]].ravel(), values[:, :, [0, -1]].ravel()])
    middle = float(np.median(sides))
    return middle if np.mean(np.abs(sides - middle) < 0.5) > CONSTANT else None
