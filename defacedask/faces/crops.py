"""The forced crop in its two forms: the own original's landmarks for everybody, or everybody's own.

Where a detector finds no face on a defaced picture, landmarks of an original are put on it. Whoever holds a gallery
would put each candidate's landmarks on the picture, and compare what comes out with that candidate: one encoding a
candidate. The cheap form puts on the landmarks of the *own* original alone, and compares that one encoding with
everybody. Then the crop itself may carry the person: how far the eyes are apart and how the head was held come from
the original, and other persons are compared with a crop that is not theirs. The distance to the own person is the
same in both forms; those to others are what he would see in the full form alone. Measured on nine heads the AUC of
the two is within 0.04 either way (benchmarks/RESULTS.md, "Independent recognisers").
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from defacedask.faces.identification import distances
from defacedask.faces.recognition import Box, Recogniser, distance_of

__all__ = ["Known", "crop_distances"]


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """The face of a person's original at one view.

    Attributes
    ----------
    box : tuple of int
        top, right, bottom, left in pixels.
    landmarks : (n, 2) array, optional
        x, y in pixels.
    encoding : array
    """

    box: tuple[int, int, int, int]
    landmarks: Any
    encoding: Any


def crop_distances(
    recogniser: Recogniser,
    pictures: Mapping[str, np.ndarray],
    known: Mapping[str, Mapping[str, Known]],
    own: str,
) -> tuple[dict[str, float], dict[str, float]]:
    """Compare one head with everybody, by both forms of the forced crop.

    Parameters
    ----------
    recogniser : Recogniser
    pictures : mapping
        View -> picture of the head, (rows, columns, 3) uint8.
    known : mapping
        Person -> view -> face of that person's original, by this recogniser.
    own : str
        Whose head it is. Only views in which their original shows a face count, in both forms, so that the distance
        to the own person is the same in both.

    Returns
    -------
    matrix, plain : dict
        Person -> smallest distance over the views in which that person's original shows a face: by that person's
        landmarks, and by the own ones. Persons without such a view are left out.
    """
    measure = distance_of(recogniser)
    matrix: dict[str, float] = {}
    plain: dict[str, float] = {}
    for view, picture in pictures.items():
        there = {person: faces[view] for person, faces in known.items() if view in faces}
        if own not in there:
            continue
        persons = list(there)
        codes = recogniser.encode(
            picture,
            [Box(*there[person].box) for person in persons],
            None
            if any(there[person].landmarks is None for person in persons)
            else [np.asarray(there[person].landmarks, dtype=np.float64) for person in persons],
        )
        mine = codes[persons.index(own)]
        theirs = [there[person].encoding for person in persons]
        each = [
            float(distances([code], [other], measure)[0, 0])
            for code, other in zip(codes, theirs, strict=True)
        ]
        for found, values in ((matrix, each), (plain, distances([mine], theirs, measure)[0])):
            for person, value in zip(persons, values, strict=True):
                found[person] = min(found.get(person, math.inf), float(value))
    return matrix, plain
