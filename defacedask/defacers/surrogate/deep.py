"""surrogate_deep: `surrogate` for a release that needs no bone of the face: bone tells most of what a face was.

Jaw, teeth, nose and orbital rim are overwritten like all else below the old skin, and deeper. What stays to the bit
is what lies behind: the brain, and the organs of `SurrogateDeep.spares`. Who measures mandible or mouth takes
`surrogate`.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from defacedask.defacers.surrogate import Surrogate, SurrogatePlan

__all__ = ["SurrogateDeep", "SurrogateDeepPlan"]


@dataclasses.dataclass(frozen=True, eq=False)
class SurrogateDeepPlan(SurrogatePlan):
    """Plan of `SurrogateDeep`; its ``bone`` is empty."""

    defacer: ClassVar[str] = "surrogate_deep"


@dataclasses.dataclass(frozen=True)
class SurrogateDeep(Surrogate):
    """A face that is nobody's in place of the patient's, and no bone under it; brain and deep organs stay.

    Parameters
    ----------
    brain_margin_mm : float
        No voxel within this distance of the brain changes; 2 to 11 mm.
    """

    name: ClassVar[str] = "surrogate_deep"
    # not the mandible, the mouth and the lips: where they lie is the lower face
    spares: ClassVar[tuple[str, ...]] = tuple(
        name for name in Surrogate.spares if name not in ("Bone_Mandible", "Cavity_Oral")
    )

    _plan: ClassVar[type[SurrogatePlan]] = SurrogateDeepPlan
    _keeps_bone: ClassVar[bool] = False
    _overwritten_mm: ClassVar[float] = 20.0
