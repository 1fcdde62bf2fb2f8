"""Is the face still there? Measured on the defaced image itself, before anything of a case is written.

What counts is how much of the face's skin, from brow to chin, no longer lies where it was (`surface_change`): a
plan that says it covers the face may still leave it. Where a mask stands before the face, that holds for the skin
behind it, too, and for the mask if it is a cast (`standing`). The published boxes of ``biometric_mask`` leave eyes
and upper nose, which is their known fault: they do not pass, and are written only if the user asks for it by name.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from defacedask.errors import InputError, RefusedError
from defacedask.flow.stages.heads import head_in_place
from defacedask.flow.stages.layout import volume_path
from defacedask.showing import beside

if TYPE_CHECKING:
    from defacedask.flow.result import TaskResult
    from defacedask.io.store import CaseStore

__all__ = ["LEAST_MOVED", "Residual", "residual_face"]

#: Fraction of the face's skin that must have moved by `LEAST_MM`.
LEAST_MOVED, LEAST_MM = 0.90, 3.0


@dataclasses.dataclass(frozen=True)
class Residual:
    """What is left of a face.

    Attributes
    ----------
    moved : float or None
        Fraction of the face's skin that moved by at least 3 mm; None if no skin of a face is in view.
    of : str
        What that is a fraction of, where a mask stands before the face.
    """

    moved: float | None
    of: str = "the face's skin from brow to chin"

    @property
    def ok(self) -> bool:
        """Whether the face is gone."""
        return self.moved is None or self.moved >= LEAST_MOVED

    @property
    def sentence(self) -> str:
        """What is wrong, or unusual."""
        if self.moved is None:
            return "no skin of the face is in view, so that none could be left"
        return (
            f"{beside(100 * self.moved, 100 * LEAST_MOVED, '.0f')} % of {self.of} moved by {LEAST_MM:g} mm or more "
            f"(at least {100 * LEAST_MOVED:.0f} % must): the face is still visible"
        )

    def require(self) -> None:
        """Refuse the case if the face is left.

        Raises
        ------
        RefusedError
        """
        if not self.ok:
            raise RefusedError(
                f"{self.sentence}.",
                "Use another defacer or protect less; --allow-visible writes it nevertheless, and says so.",
            )


def residual_face(store: CaseStore, planned: TaskResult, defacer: str, path: str = "") -> Residual | None:
    """Compare an image before and after, where the plan's own pose has the face.

    The independent measure is `defacedask.anatomy.witness`: a wrong pose proves itself right here.

    Parameters
    ----------
    store : CaseStore
        With the defaced image.
    planned : TaskResult
        Of the stage that looked at the head; its facts name the image and where the head lies in it.
    defacer : str
    path : str
        Of the image; by default the one that the plan was made on.

    Returns
    -------
    Residual or None
        None if the head's place is not known: the caller decides.
    """
    from defacedask.faces.standing import standing_before
    from defacedask.faces.surface_change import surface_change

    if planned.facts.get("to_template") is None:
        return None
    path = path or planned.facts["image"]
    head = head_in_place(store, path, planned)
    defaced = store.volume(volume_path(defacer, path))
    found = []
    try:
        found.append(Residual(surface_change(head, defaced, least_mm=LEAST_MM, count_brain=False).moved))
    except InputError as error:
        if "in view" not in error.message:
            raise
    standing = standing_before(head, defaced, least_mm=LEAST_MM)
    if standing.there:
        found.append(Residual(standing.skin, "the skin behind what stands before the face, such as a mask,"))
    if standing.cast:
        found.append(
            Residual(standing.thing, "what stands before the face, such as a mask, and has its relief,")
        )
    return min(found, key=lambda one: one.moved or 0.0, default=Residual(None))
