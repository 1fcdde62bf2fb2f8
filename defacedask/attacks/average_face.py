"""The control in which everybody has the average face: what the head around a face, and its size, give away.

Whatever a defacer leaves is to be compared with this and not with a coin: the average face on the patient's own head,
at the patient's own scale and with the patient's own box and landmarks, already points a little to its owner.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.examination import examiner_for
from defacedask.attacks.names import AVERAGE, AVERAGE_FORCED
from defacedask.attacks.template_filled import template_filled
from defacedask.faces.recognition import compares

if TYPE_CHECKING:
    from defacedask.attacks.base import Attempt
    from defacedask.attacks.examination import Examination
    from defacedask.attacks.target import Target
    from defacedask.faces.looking import Examiner

__all__ = ["AVERAGE", "AVERAGE_FORCED", "average_face", "average_looks"]


def average_face(target: Target) -> Attempt:
    """An original cut off in front of the coronal plane through its middle, with the average put there.

    Parameters
    ----------
    target : Target
        An original.
    """
    from defacedask.modality import air_of

    cut = np.where(target.front, np.float32(air_of(target.modality)), np.asarray(target.values, np.float32))
    return template_filled(dataclasses.replace(target, values=cut))[0]


def average_looks(
    examination: Examination, examiner: Examiner, target: Target, path: str
) -> list[dict[str, Any]]:
    """Looks at the average face on an original's head: plain views, and the original's box and landmarks.

    Parameters
    ----------
    examination : Examination
    examiner : Examiner
        Of the original, which has been looked at; its looks are left as they are.
    target : Target
        The original at its level.
    path : str
        Of the image.

    Returns
    -------
    list of dict
        As `defacedask.faces.looking.Examiner.looks`; none by a service, which is asked no more than it must be.
    """
    from defacedask.faces.surface import skin_surface

    eyes = [one for one in examiner.recognisers if compares(one) and not one.remote]
    if not eyes:
        return []
    made = average_face(target)
    surface = skin_surface(
        made.values, target.geometry, level=made.level, pose=examiner.pose, smooth_mm=examination.smooth_mm
    )
    one = examiner_for(examination, eyes, examiner.pose, examiner.looks)
    one.see(surface, examination.views, path=path, modality=target.modality, level=made.level, attack=AVERAGE)
    return [look | {"attack": AVERAGE_FORCED} if look["forced"] else look for look in one.looks]
