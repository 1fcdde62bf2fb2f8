"""mri_reface: the average face and ears take the place of the patient's, in the image's own values.

Source: the published description of mri_reface (Schwarz et al. 2021, 2022: affine, then nonlinear fit of an average
head; intensities of the average normalised to the image; face and ears swapped; ghosts and wrap in air replaced;
noise matched; brain kept clear) and AFNI's open recipe for gain and blur. The construction is ours; nothing of the
authors' program or template is used.

What is done at a voxel follows from its place ``p`` in the average's space alone:

- ``inside(p)``, mm within the part that is replaced, gives the share of the new value: 0 at the edge, 1 from 3.5 mm
  on. The brain, grown by 6 mm, lies outside.
- ``p - shift(p)`` is where in the average the new value comes from; the shift is smooth (see `refacing`) and lays the
  new skin at least 5 mm in front of the patient's over the face. In front of it all is air: masks, tubes and
  glasses go too, and so does what of the patient's ears and nose reaches farther out than the average's.
- Between the new skin and the old there is soft tissue only: a sinus or a dark bone of the average there would be
  taken for air.
- Values: CT is painted from the average's synthesised CT, its fat and muscle moved to the patient's; MR from the
  average T1, through a histogram match (for other contrasts a match by place) and a smooth local gain; PET gets a low
  uptake in the new tissue, the quarter of the patient's own body with the least; each with noise of the image's own
  amplitude and grain (on MR as magnitudes).
- Dose is carried on smoothly from what lies well below the old skin into the new tissue, and is 0 in air: its edge
  then draws the average face. Within 8 mm of where the dose ended and of the new skin it is extrapolated (mixed up
  to 14 mm): not to plan with. Deeper it is the patient's, to the bit.
- On MR, air more than 8 mm from the body that is brighter than ten times the robust mean of air (ghosts, wrap) is
  replaced by air.

Images other than the one the plan was made on are measured once, as a whole, when the plan is applied (`tuned`).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from defacedask.defacers.base import Defacer
from defacedask.defacers.mri_reface.plan import FEATHER, STEP, MriRefacePlan, in_steps
from defacedask.defacers.options import within

if TYPE_CHECKING:
    from defacedask.anatomy.head import Head
    from defacedask.defacers.protect import Protected

__all__ = ["FEATHER", "STEP", "MriReface", "MriRefacePlan", "in_steps"]


@dataclasses.dataclass(frozen=True)
class MriReface(Defacer):
    """The average face and ears take the place of the patient's, in the image's own values.

    Parameters
    ----------
    brain_margin_mm : float
        No voxel within this distance of the brain changes; 5 to 11 mm.
    """

    name: ClassVar[str] = "mri_reface"

    brain_margin_mm: float = 6.0

    def __post_init__(self) -> None:
        within(self, brain_margin_mm=(5, 11))

    def propose(self, head: Head, *, key: bytes, protected: tuple[Protected, ...]) -> MriRefacePlan:
        """See `Defacer.propose`.

        Raises
        ------
        RefusedError
            If too little of the face is in view, or the average cannot be laid clear of it.
        """
        from defacedask.defacers.mri_reface.refacing import fit_average, require_cover

        fit = fit_average(head)
        require_cover(fit)
        return MriRefacePlan.of(head, fit, self.brain_margin_mm, key, protected)
