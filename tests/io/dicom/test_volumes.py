"""Slices at one place are told apart by their headers: none is lost, none is in two volumes, nothing is guessed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defacedask.errors import RefusedError
from defacedask.io.dicom.volumes import Element, places_of, split

#: The ways in which a volume may be told from the others: name, whether firm.
WAYS = [("EchoTime", True), ("ImageType", True), ("DiffusionBValue", True), ("AcquisitionNumber", False)]


@st.composite
def series(draw):
    """(place, volume, elements) of slices in any order: a grid of volumes over up to four elements, and times."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    repeats = draw(st.integers(1, 3))  # told apart by time alone
    count = draw(st.integers(2, 6))
    kinds = list(np.ndindex(*sizes))
    volumes = [(kind, again) for again in range(repeats) for kind in kinds]
    slices = [(place, v) for v in range(len(volumes)) for place in range(count)]
    slices = draw(st.permutations(slices))
    elements = [
        Element(name, tuple(float(volumes[v][0][k]) for _, v in slices), firm)
        for k, (name, firm) in enumerate(WAYS[: len(sizes)])
    ]
    # a slice has a time of its own, later than all of the volume before; interleaved within it
    spread = draw(st.permutations(range(count)))
    times = tuple(100.0 * v + spread[place] for place, v in slices)
    elements.append(Element("AcquisitionTime", times, False, times))
    # what differs from slice to slice, or nowhere, tells nothing
    elements.append(Element("SliceLocation", tuple(float(place) for place, _ in slices)))
    elements.append(Element("KVP", (None,) * len(slices), True))
    return (
        np.array([p for p, _ in slices]),
        [v for _, v in slices],
        draw(st.permutations(elements)),
        len(volumes),
    )


@settings(max_examples=60, deadline=None)
@given(series())
def test_every_slice_is_in_exactly_one_volume_and_in_the_right_one(given_):
    places, truth, elements, volumes = given_
    if volumes == 1:
        return
    found = split(places, elements)
    assert not found.rest
    assert sorted(k for volume in found.volumes for k in volume) == list(range(len(places)))
    assert len(found.volumes) == volumes
    for volume in found.volumes:
        assert len({truth[k] for k in volume}) == 1
        assert sorted(places[volume]) == sorted(set(places.tolist()))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 5),
    st.integers(2, 4),
    st.lists(st.tuples(st.booleans(), st.booleans(), st.randoms(use_true_random=False)), max_size=4),
)
def test_whatever_headers_say_nothing_is_lost_or_taken_twice(count, volumes, kinds):
    places = np.repeat(np.arange(count), volumes)
    elements = []
    for n, (firm, timed, random) in enumerate(kinds):
        values = tuple(float(random.randrange(3)) for _ in places)
        elements.append(Element(f"E{n}", values, firm, values if timed and not firm else ()))
    try:
        found = split(places, elements)
    except RefusedError:
        return
    every = [*found.volumes, *(some for some, _ in found.rest)]
    assert sorted(k for some in every for k in some) == list(range(len(places)))
    for volume in found.volumes:
        assert sorted(places[volume]) == list(range(count))
        for one in elements:
            assert not one.firm or len({one.values[k] for k in volume}) == 1
    assert all(reason for _, reason in found.rest)


PLACES = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ([], "nothing in their headers tells whole volumes apart"),
        ([Element("EchoTime", (1, 1, 2, 2, 2, 1), True)], ""),
        ([Element("EchoTime", (1, 1, 1, 2, 2, 1), True)], "nothing in their headers"),
        (
            [Element("EchoTime", (1, 1, 1, 2, 2, 2), True), Element("KVP", (1, 1, 2, 2, 2, 1), True)],
            "EchoTime and KVP tell its volumes apart in different ways",
        ),
        (
            [Element("EchoTime", (1, 1, 1, 2, 2, 2), True), Element("AcquisitionNumber", (1, 1, 2, 2, 2, 1))],
            "AcquisitionNumber tells its volumes apart otherwise",
        ),
        # two orders in time, each of whole volumes, that are not the same
        (
            [
                Element("AcquisitionTime", (1, 2, 3, 4, 5, 6), False, (1, 2, 3, 4, 5, 6)),
                Element("TriggerTime", (1, 2, 6, 4, 5, 3), False, (1, 2, 6, 4, 5, 3)),
            ],
            "more than one way",
        ),
        # volumes that overlap in time: which slice is whose nobody knows
        (
            [Element("AcquisitionTime", (1, 3, 5, 2, 4, 6), False, (1, 3, 5, 2, 4, 6))],
            "nothing in their headers",
        ),
        # two at once
        (
            [Element("AcquisitionTime", (1, 2, 3, 3, 4, 5), False, (1, 2, 3, 3, 4, 5))],
            "nothing in their headers",
        ),
    ],
)
def test_nothing_is_guessed(elements, words):
    if not words:
        assert len(split(PLACES, elements).volumes) == 2
        return
    with pytest.raises(RefusedError, match=words):
        split(PLACES, elements)


def test_a_volume_that_lacks_a_slice_is_left_over_and_the_others_go_on():
    places = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    found = split(places, [Element("TemporalPositionIdentifier", (1, 1, 1, 2, 2, 2, 3, 3))])
    assert found.volumes == [[0, 1, 2], [3, 4, 5]]
    assert found.rest == [([6, 7], "a volume of its series lacks 1 of the 3 slices that the others have")]


def test_a_volume_of_slices_that_were_not_made_alike_is_none():
    echoes = Element("EchoTime", (5, 5, 6, 5, 5, 5, 5, 5, 5), True)
    phases = Element("TemporalPositionIdentifier", (1, 1, 1, 2, 2, 2, 3, 3, 3))
    found = split(np.array([0, 1, 2] * 3), [echoes, phases])
    assert found.volumes == [[3, 4, 5], [6, 7, 8]]
    assert found.rest == [([0, 1, 2], "slices of one volume differ in EchoTime")]


def test_places():
    cosines = np.tile([1.0, 0, 0, 0, 1, 0], (4, 1))
    positions = np.array([[0, 0, 3.0], [0, 0, 0], [0, 0, 3.004], [0, 0, 0]])
    assert places_of(positions, cosines).tolist() == [1, 0, 1, 0]
    cosines[3] = [0, 1, 0, 0, 0, 1]
    assert places_of(positions, cosines) is None
