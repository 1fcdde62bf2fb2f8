"""Heads that somebody else defaced, in the form in which a study's stages know heads.

The stages that need everybody (learned inversion, the forced crop as a full matrix) come after all pairs have been
looked at. For them the boxes of both heads stay in a store, and `study_results` tells of a pair what the stages
``ingest``, ``plan`` and ``faces`` of a study would: so these stages are the study's own.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.stages.crops import compare_crops
from defacedask.flow.stages.inversion import invert_faces, measure_depths
from defacedask.flow.stages.layout import ORIGINAL, store_path, volume_path
from defacedask.io.store import create_case
from defacedask.modality import air_of
from defacedask.volume import make_volume

if TYPE_CHECKING:
    from defacedask.attacks.examination import Shown
    from defacedask.io.store import CaseWriter

__all__ = [
    "HeadBoxes",
    "attacked_crops",
    "attacked_depths",
    "head_boxes",
    "invert_attacked",
    "study_results",
]


class HeadBoxes:
    """Where the boxes of both heads of a pair are laid, while they are looked at.

    Parameters
    ----------
    writer : CaseWriter, optional
        None: nothing is kept.
    names : list of str, optional
        Takes the originals' images in their order, that on which the head was found first.
    """

    def __init__(self, writer: CaseWriter | None = None, names: list[str] | None = None) -> None:
        self._writer, self._names = writer, [] if names is None else names
        #: ``original`` or the defacer -> ``pose`` and ``to_template``, (4, 4) each.
        self.places: dict[str, dict[str, Any]] = {}

    def place(self, who: str, pose: np.ndarray, to_template: np.ndarray) -> None:
        """Remember where a head lies."""
        self.places[who] = {
            "pose": np.asarray(pose).tolist(),
            "to_template": np.asarray(to_template).tolist(),
        }

    def lay(self, who: str, shown: Shown, pose: np.ndarray, units: str) -> None:
        """Lay the head's box of an image into the store; what is not body in the original reads as air.

        Parameters
        ----------
        who : str
            ``original``, or the defacer.
        shown : Shown
            Of any grid: an original and its defaced version need not share one.
        pose : (4, 4) array
            World LPS mm to the head frame.
        units : str
            Of its real values.

        Raises
        ------
        RefusedError
            If the head's box does not meet the image.
        """
        from defacedask.faces.surface import HEAD_BOX, crop_to_box

        if self._writer is None:
            return
        values, grid, drop = crop_to_box(shown.values, shown.geometry, shown.drop, np.asarray(pose), HEAD_BOX)
        values = np.asarray(values, np.float32)
        if drop is not None:
            values = np.where(drop, np.float32(air_of(shown.modality)), values)
        volume = make_volume(np.ascontiguousarray(values), grid, modality=shown.modality, units=units)
        self._writer.volume(volume_path(who, shown.path), volume)
        if who == ORIGINAL:
            self._names.append(shown.path.split("/")[1])


@contextlib.contextmanager
def head_boxes(root: str, case: str, key: str) -> Iterator[HeadBoxes]:
    """Keep both heads of a pair for later stages; what is begun is there as a whole or not at all.

    Parameters
    ----------
    root : str
        Folder of the stores; "": nothing is kept.
    case : str
        Id of the original.
    key : str
        Of what it is made from.
    """
    if not root:
        yield HeadBoxes()
        return
    names: list[str] = []
    with create_case(store_path(root, case), key=key, facts={"case": case, "images": names}) as writer:
        yield HeadBoxes(writer, names)


def study_results(attacked: TaskResult, who: str) -> tuple[TaskResult, TaskResult, TaskResult]:
    """What the stages ``ingest``, ``plan`` and ``faces`` (on the original) of a study tell of a head.

    Parameters
    ----------
    attacked : TaskResult
        Of `defacedask.flow.stages.attack.attack_case`, which kept the heads.
    who : str
        ``original``, or the defacer: where it lies may differ.
    """
    facts = attacked.facts
    # the couch is air already: there is no image that would say where it is
    planned = {**facts["places"][who], "image": ""}
    return (
        dataclasses.replace(attacked, stage="ingest", facts={"store": facts["store"]}, rows={}),
        dataclasses.replace(attacked, stage="plan", facts=planned, rows={}),
        dataclasses.replace(
            attacked, stage="faces", facts={"levels": facts["levels"], "looks": facts["original"]}, rows={}
        ),
    )


def attacked_depths(attacked: TaskResult, *, defacer: str, **arguments: Any) -> Outcome:
    """`measure_depths` of a head of a pair."""
    return measure_depths(*study_results(attacked, defacer), defacer=defacer, **arguments)


def invert_attacked(
    attacked: TaskResult, before: TaskResult, after: TaskResult, *, defacer: str, **arguments: Any
) -> Outcome:
    """`invert_faces` of the defaced head of a pair."""
    return invert_faces(*study_results(attacked, defacer), before, after, defacer=defacer, **arguments)


def attacked_crops(attacked: TaskResult, *, defacer: str, **arguments: Any) -> Outcome:
    """`compare_crops` of a head of a pair."""
    return compare_crops(*study_results(attacked, defacer), attacked, defacer=defacer, **arguments)
