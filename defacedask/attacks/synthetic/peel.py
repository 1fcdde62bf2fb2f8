"""Take off what a detector tells to be synthetic, and go on from what is left."""

from __future__ import annotations

import dataclasses

import numpy as np

from defacedask.attacks.base import Attempt
from defacedask.attacks.names import SYNTHETIC
from defacedask.attacks.synthetic.detector import Finding
from defacedask.attacks.synthetic.learned import shipped
from defacedask.attacks.target import Target

__all__ = ["found_in", "peeled_of", "synthetic_voxels"]


def synthetic_voxels(target: Target) -> list[Attempt]:
    """Show what remains when the synthetic voxels are taken for air, and the same with the average face in the hole.

    Returns
    -------
    list of Attempt
        Empty where nothing is found, and for a modality that no detector knows.
    """
    found = found_in(target)
    if found is None:
        return []
    # who peels does not mind a few of the patient's own voxels gone, too
    return [*peeled_of(target, found.mask), *peeled_of(target, found.likely, "peeled deeper")]


def found_in(target: Target) -> Finding | None:
    """What the detector that comes with the package finds; looked for once."""
    return target.once(_found)


def _found(target: Target) -> Finding | None:
    detector = shipped(target.modality)
    return None if detector is None else detector.find(target)


def peeled_of(target: Target, synthetic: np.ndarray, variant: str = "peeled") -> list[Attempt]:
    """Attempts that take off what of a mask the outside air reaches.

    Parameters
    ----------
    target : Target
    synthetic : (z, y, x) bool array
        In the voxels of `Target.finest`.
    variant : str
        What they are called.
    """
    from defacedask.anatomy.grid import resample
    from defacedask.attacks.outside import outside_air
    from defacedask.attacks.template_filled import template_filled
    from defacedask.modality import air_of

    values, geometry = target.finest
    body = values >= target.level
    gone = outside_air(~body | synthetic) & body
    if not gone.any():
        return []
    image = np.where(gone, np.float32(air_of(target.modality)), values)
    if target.fine is not None:
        # beyond the face's box nothing was taken off
        image = resample(image, geometry, target.geometry, outside=np.nan)
        image = np.where(np.isnan(image), np.asarray(target.values, np.float32), image)
    left = dataclasses.replace(target, values=image, fine=None, mask=None)
    filled = [
        Attempt(SYNTHETIC, f"{variant}, the average {one.variant}", one.values, one.level)
        for one in template_filled(left)
    ]
    return [Attempt(SYNTHETIC, variant, image, target.level), *filled]
