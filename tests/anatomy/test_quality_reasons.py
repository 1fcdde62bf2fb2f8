"""The reason beside a figure is true of what is in view."""

from __future__ import annotations

import types

import numpy as np
import pytest

from defacedask.anatomy.quality import MOST_OF_A_BRAIN, _match


@pytest.mark.parametrize(
    ("modality", "enclosed", "crown", "words"),
    [
        ("CT", 30.0, True, "too little of the head is in view"),
        ("CT", MOST_OF_A_BRAIN + 1, False, "too little of the head is in view"),
        ("CT", MOST_OF_A_BRAIN + 1, True, "differs too much from the average head"),
        ("MR", float("nan"), True, "no head was found, or none of a size"),
    ],
)
def test_a_head_that_cannot_be_placed(modality, enclosed, crown, words):
    """A small child's whole head is in view: that there is too little of it would be untrue."""
    body = np.ones((4, 3, 3), bool)
    body[-1] = not crown  # array axis 0 runs upwards
    head = types.SimpleNamespace(
        modality=modality, enclosed_ml=enclosed, body=body, registration=types.SimpleNamespace(score=0.1)
    )
    figure = _match(head)
    assert not figure.ok
    assert words in figure.sentence
