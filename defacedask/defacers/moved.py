"""A plan seen from another frame of reference that is registered to its own."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.geometry import Geometry

if TYPE_CHECKING:
    from defacedask.defacers.plan import Plan

__all__ = ["MovedPlan", "plan_for"]


@dataclasses.dataclass(frozen=True, eq=False)
class MovedPlan:
    """Answers for grids of another frame what the plan answers for its own.

    For whatever is written in its own coordinates, such as the contours and segmentations on a registered MR. Images
    need it not: theirs are moved when they are read (`defacedask.io.dicom.registration.moved`).

    Attributes
    ----------
    plan : Plan
    matrix : (4, 4) array
        LPS mm of the other frame -> LPS mm of the plan's.
    """

    plan: Plan
    matrix: np.ndarray

    def region(self, geometry: Geometry, xp: Any = np) -> Any:
        """See `Plan.region`; ``geometry`` is a grid of the other frame."""
        return self.plan.region(Geometry(geometry.shape, self.matrix @ geometry.affine), xp)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plan, name)


def plan_for(plan: Plan, facts: dict[str, Any]) -> Any:
    """The plan for a series (its ``facts``) in its own coordinates."""
    fact = facts.get("registered")
    return MovedPlan(plan, np.array(fact["matrix"])) if fact else plan
