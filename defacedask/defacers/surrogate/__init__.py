"""surrogate: a face that is nobody's takes the place of the patient's; what is treated and measured stays.

Of the patient's face the new skin knows one number (`surrogate_fit`), and the old tissue is overwritten well below
the old skin, to a depth that does not follow it. Deliberately kept, to the bit: the brain, the bone of a CT, and the
organs that a radiotherapist measures (`Surrogate.spares`), with whatever else the user protects. The new skin
encloses them, so that what can still be told of a face is where these lie below it.

The values are painted as `mri_reface` paints them: the image's own fat, muscle, noise and grain; dose is carried on
from below. No bone is painted.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from defacedask.defacers.base import Defacer
from defacedask.defacers.fields import Stack
from defacedask.defacers.mri_reface import FEATHER, STEP, MriRefacePlan, in_steps
from defacedask.defacers.mri_reface.average import FIT_GRID
from defacedask.defacers.options import within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from defacedask.anatomy.head import Head
    from defacedask.defacers.protect import Protected

__all__ = ["Surrogate", "SurrogatePlan"]

#: mm beside bone, and beside protected structures, over which new and old values mix.
SHARP = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class SurrogatePlan(MriRefacePlan):
    """A new face in one patient's place and values.

    Attributes are those of `MriRefacePlan` and two more.

    Attributes
    ----------
    bone : (z, y, x) int8 array
        mm from the patient's bone in steps of 0.25 mm of the average's space, negative inside, on
        `average.FIT_GRID`; empty where none is known (no CT).
    lift : float
        mm by which the new face stands out over the average's, besides what is secret.
    """

    defacer: ClassVar[str] = "surrogate"
    _capped: ClassVar[bool] = True

    bone: np.ndarray
    lift: float

    def _away_from_kept(self, places: tuple[Any, Any, Any]) -> Iterator[np.ndarray]:
        """See `MriRefacePlan._away_from_kept`; bone and protected structures lie outside the replaced part too."""
        yield from super()._away_from_kept(places)
        sharp = np.float32(FEATHER / SHARP)
        if self.bone.size:
            yield self._bone_mm * sharp
        for one in self.protected:
            if one.name != "Brain":
                away = one._distance(places, np) - np.float32(one.margin_mm)
                # the base keeps its voxels; here new and old mix next to them
                yield (away + np.float32(SHARP)) * sharp

    @property
    def _bone_mm(self) -> np.ndarray:
        return self.bone.astype(np.float32) * np.float32(STEP)

    @property
    def _kept_bone(self) -> Stack | None:
        return self._to_bone if self.bone.size else None

    @functools.cached_property
    def _to_bone(self) -> Stack:
        return Stack(self._bone_mm[None], FIT_GRID)


@dataclasses.dataclass(frozen=True)
class Surrogate(Defacer):
    """A face that is nobody's in place of the patient's; brain, bone and the organs of radiotherapy stay to the bit.

    Parameters
    ----------
    brain_margin_mm : float
        No voxel within this distance of the brain changes; 2 to 11 mm.
    """

    name: ClassVar[str] = "surrogate"
    spares: ClassVar[tuple[str, ...]] = (
        "Brainstem",
        "OpticChiasm",
        "OpticNrv_L",
        "OpticNrv_R",
        "Eye_L",
        "Eye_R",
        "Cavity_Oral",
        "Bone_Mandible",
        "Parotid_L",
        "Parotid_R",
        "Larynx*",
        "SpinalCord*",
        "Esophagus*",
        "*Submand*",
        "Lens*",
        "Cochlea*",
        "*Thyroid*",
        "*Constrict*",
    )
    personal: ClassVar[bool] = True

    _plan: ClassVar[type[SurrogatePlan]] = SurrogatePlan
    _keeps_bone: ClassVar[bool] = True
    #: mm of old tissue below the old skin that are overwritten, at least, where nothing is kept.
    _overwritten_mm: ClassVar[float] = 10.0

    brain_margin_mm: float = 4.0

    def __post_init__(self) -> None:
        within(self, brain_margin_mm=(2, 11))

    def propose(self, head: Head, *, key: bytes, protected: tuple[Protected, ...]) -> SurrogatePlan:
        """See `Defacer.propose`.

        Raises
        ------
        RefusedError
            If too little of the face is in view.
        """
        from defacedask.defacers.surrogate.fit import bone_distance, fit_surrogate

        bone = bone_distance(head) if self._keeps_bone and head.modality == "CT" else None
        found = fit_surrogate(head, key, protected, bone, self._overwritten_mm)
        return self._plan.of(
            head,
            found.fit,
            self.brain_margin_mm,
            key,
            protected,
            bone=np.zeros((0, 0, 0), np.int8) if bone is None else in_steps(bone),
            lift=found.lift,
        )
