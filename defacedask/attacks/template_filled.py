"""The average face put where the face is missing (Schwarz and others, NeuroImage 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from defacedask.attacks.base import Attempt
from defacedask.attacks.names import FILLED
from defacedask.attacks.target import Target, span_of
from defacedask.geometry import Geometry
from defacedask.modality import modality_of

if TYPE_CHECKING:
    from defacedask.anatomy.template import Template

__all__ = ["template_filled"]

#: The average face fills what is missing to at least twice this depth.
HOLE_MM = 4.0


def template_filled(target: Target, template: Template | None = None) -> list[Attempt]:
    """Put the average face where the face is missing, so that a detector has something to detect.

    What is left of the original (eyes above a low cut, the jaw below) then decides whom it looks like. Two attempts:
    the average everywhere in front, and only where the image lacks at least `HOLE_MM` of face on all sides.

    Parameters
    ----------
    target : Target
    template : Template, optional
        Default: the built-in one of the target's modality.
    """
    from defacedask.anatomy.grid import resample
    from defacedask.anatomy.template import load_template
    from defacedask.volume import geometry_of

    if template is None:
        template = load_template(modality_of(target.modality).average)
    values = np.asarray(target.values, np.float32)
    matrix = target.matrix
    # stored values are resampled: they take half the room
    distance, slope = np.asarray(template.skin.values), float(template.skin.coords["slope"].values[0])
    far = float(distance.max())
    skin = resample(distance, geometry_of(template.skin), target.geometry, matrix=matrix, outside=far)
    skin *= np.float32(slope)
    span = np.float32(span_of(target))
    # through the level at the average skin
    average = np.float32(target.level) - span * np.clip(skin / np.float32(2.0), -1.0, 1.0)
    front = target.front
    filled = np.where(front, np.maximum(values, average), values)
    found = [Attempt(FILLED, "everywhere", filled, target.level)]
    hole = _thick(front & (average >= target.level) & (values < target.level), target.geometry)
    if hole.any():
        # what the patient still has is not covered by what the average has in front of it
        found.append(Attempt(FILLED, "where it is missing", np.where(hole, filled, values), target.level))
    return found


def _thick(missing: np.ndarray, geometry: Geometry, mm: float = HOLE_MM) -> np.ndarray:
    """Parts of a region that hold a ball of ``mm`` radius, with a little around to meet what is left."""
    from defacedask.anatomy.distances import within

    # nearer than ``mm``: what is just as far counts as thick
    thin = within(np.pad(~missing, 1, constant_values=True), geometry.spacing, mm * (1.0 - 1e-5))
    return within(~thin[1:-1, 1:-1, 1:-1], geometry.spacing, mm + 2.0)
