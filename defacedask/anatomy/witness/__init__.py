"""An independent witness: where the face is by the original image alone, and whether it changed there.

It shares nothing with what it checks: neither the plan nor the pose, the average head or its registration. A plan
that looks for the face in the wrong place proves itself right in its own pose; here it does not.

Two cues that do not depend on each other say where the face looks (`defacedask.anatomy.witness.cues`): the air inside
the head, which lies in the nose, its sinuses and the throat, and the distance of the skin from the middle of the
skull. No orientation is assumed: everything is seen from the middle of the skull, over the whole sphere of rotations,
on a grid along the image's own axes.
"""

from __future__ import annotations

from defacedask.anatomy.witness.judging import Verdict, verdict
from defacedask.anatomy.witness.seeing import Sighting, hidden, sighting

__all__ = ["Sighting", "Verdict", "hidden", "sighting", "verdict"]
