"""Figures with gates: how far each thing that is known about a head may be trusted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from defacedask.anatomy.morphology import dilate
from defacedask.modality import modality_of
from defacedask.showing import beside

if TYPE_CHECKING:
    from defacedask.anatomy.atlas import Atlas
    from defacedask.anatomy.registration import Registration
    from defacedask.geometry import Geometry

__all__ = ["GATES", "Figure", "Judged", "figures"]


@dataclasses.dataclass(frozen=True)
class Figure:
    """One number and its verdict.

    Attributes
    ----------
    name : str
    value : float
    gate : float
        What the value must reach.
    ok : bool
    meaning : str
        What the number says, with its unit.
    reason : str
        What is wrong with the case where the gate is not passed, as one clause.
    """

    name: str
    value: float
    gate: float
    ok: bool
    meaning: str
    reason: str = ""

    @classmethod
    def at_least(cls, name: str, value: float, gate: float, meaning: str, reason: str = "") -> Figure:
        """A figure that must reach its gate."""
        return cls(name, float(value), float(gate), bool(value >= gate), meaning, reason)

    @property
    def sentence(self) -> str:
        """Why the case is refused: the reason, then the figure and its gate."""
        reason = f"{self.reason}: " if self.reason else ""
        return (
            f"{reason}{self.name} is {beside(self.value, self.gate)} (gate {self.gate:.3g}; {self.meaning})."
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able facts."""
        return dataclasses.asdict(self)


#: Gates, measured on the real heads and limbs (see the tests); two more stand in the records of modalities.
GATES: dict[str, float] = {
    "body_ml": 400.0,
    "enclosed_ml": 20.0,
    "margin": 0.10,
    "brain_in_view": 0.28,
    "eyes_in_view_mm": -12.0,
    "brain_agreement": 0.45,
}


#: mL enclosed by bone from which, with air above the crown, it is no reason that too little is in view: a small
#: child's head has 290 to 370. Real heads that are cut below the eyes have 10 to 264, and no crown.
MOST_OF_A_BRAIN = 250.0


class Judged(Protocol):
    """What is asked of a head to judge it; see `defacedask.anatomy.head.Head`, which answers."""

    modality: str

    @property
    def grid(self) -> Geometry:
        """Working grid, patient LPS mm."""

    @property
    def body(self) -> np.ndarray:
        """Bool on `grid`: the patient."""

    @property
    def enclosed_ml(self) -> float:
        """CT: mL of soft tissue that bone encloses."""

    @property
    def atlas(self) -> Atlas:
        """What is needed of the average head."""

    @property
    def registration(self) -> Registration:
        """The average's place in the patient."""

    @property
    def to_template(self) -> np.ndarray:
        """(4, 4) affine: patient LPS mm -> the average's."""

    @property
    def outline_agreement(self) -> float:
        """Dice overlap of body and average head."""

    @property
    def brain_by_template(self) -> np.ndarray:
        """Bool on `grid`: the average's brain."""

    @property
    def brain_by_value(self) -> np.ndarray:
        """Bool on `grid`: CT, the brain by Hounsfield units."""

    def landmark(self, name: str) -> np.ndarray:
        """The average's landmark in the patient, LPS mm."""


def figures(head: Judged) -> Iterator[Figure]:
    """Figures of a head, cheapest first; ends after the first failure, which makes the rest meaningless.

    Parameters
    ----------
    head : Judged

    Yields
    ------
    Figure
    """
    for make in (_body, _enclosed, _match, _margin, _in_view, _eyes, _outline, _agreement):
        figure = make(head)
        if figure is not None:
            yield figure
            if not figure.ok:
                return


def _body(head: Judged) -> Figure:
    return Figure.at_least(
        "body_ml",
        head.body.sum() * head.grid.voxel_volume / 1000,
        GATES["body_ml"],
        "mL of solid body in view",
        "no head was found",
    )


def _enclosed(head: Judged) -> Figure | None:
    if head.modality != "CT":
        return None
    enclosed = head.enclosed_ml
    return Figure.at_least(
        "enclosed_ml",
        enclosed,
        GATES["enclosed_ml"],
        "mL of soft tissue that bone encloses as a skull encloses the brain",
        "no head was found, or too little of one is in view",
    )


def _match(head: Judged) -> Figure:
    # on CT something is known to be enclosed like a brain; elsewhere nothing is known yet
    if head.modality != "CT":
        reason = "no head was found, or none of a size and form that the average head can be laid on"
    elif head.enclosed_ml < MOST_OF_A_BRAIN or head.body[-1].any():
        reason = "too little of the head is in view to place it"
    else:
        reason = (
            "the head in view cannot be placed: it differs too much from the average head in size or form"
        )
    return Figure.at_least(
        "match",
        head.registration.score,
        modality_of(head.modality).match,
        "mutual information with the average head, nats a point",
        reason,
    )


def _margin(head: Judged) -> Figure:
    return Figure.at_least(
        "margin",
        head.registration.margin,
        GATES["margin"],
        "by how much this pose matches better than any other way up or round, as a part of its match",
        "it is not clear which way up or round the head is, or whether it is a head",
    )


def _outline(head: Judged) -> Figure:
    return Figure.at_least(
        "outline",
        head.outline_agreement,
        modality_of(head.modality).outline,
        "Dice overlap of the body with the average head, from the crown to the mouth",
        "no head was found (what is in view has another outline)",
    )


def _in_view(head: Judged) -> Figure:
    inside = head.brain_by_template.sum() * head.grid.voxel_volume
    scale = abs(np.linalg.det(head.to_template[:3, :3]))
    return Figure.at_least(
        "brain_in_view",
        inside * scale / 1000 / head.atlas.brain_ml,
        GATES["brain_in_view"],
        "fraction of the brain inside the field of view",
        "too little of the brain is in view",
    )


def _eyes(head: Judged) -> Figure:
    eyes = np.array([head.landmark("eye_left"), head.landmark("eye_right")])
    # along the working grid's own S
    top = int(np.flatnonzero(head.body.any(axis=(1, 2))).max())
    above = (top - head.grid.to_index(eyes)[:, 0]) * head.grid.spacing[0]
    return Figure.at_least(
        "eyes_in_view_mm",
        float(above.min()),
        GATES["eyes_in_view_mm"],
        "mm of head in view above the middle of the eyes, whose radius is 12 mm",
        "the eyes lie outside the field of view",
    )


def _agreement(head: Judged) -> Figure | None:
    if head.modality != "CT":
        return None
    a, b = head.brain_by_value, head.brain_by_template
    near = dilate(b, 5)
    both = float((a & b).sum())
    return Figure.at_least(
        "brain_agreement",
        2 * both / max(float((a & near).sum() + b.sum()), 1.0),
        GATES["brain_agreement"],
        "Dice overlap of the brain by Hounsfield units with the template's brain",
        "the brain found by value and by template disagree",
    )
