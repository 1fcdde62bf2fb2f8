"""One patient in two spellings, several persons under one id: merged or kept apart, and said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defacedask.io.dicom.headers import Header
from defacedask.io.dicom.people import collect_people, person_key
from defacedask.io.dicom.persons import Persons, plain_id


def header(patient, study="1", series="1", name="", birth="", sex="", frame=""):
    values = {
        "PatientID": patient,
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
        "PatientName": name,
        "PatientBirthDate": birth,
        "PatientSex": sex,
        "FrameOfReferenceUID": frame,
    }
    return Header("/x", 1, {key: value for key, value in values.items() if value})


def labels(*headers):
    persons = Persons(headers)
    return [persons.label(h) for h in headers], persons.notes


word = st.text("ABCDEFGHJKLMNPQRSTUVWXYZ", min_size=1, max_size=4)
number = st.integers(1, 10**7)


@given(word, number, st.integers(0, 4), st.sampled_from(["", "-", "_", " ", "."]), st.booleans())
def test_spellings_of_an_id(letters, digits, zeros, separator, low):
    spelled = f"{letters}{separator}{'0' * zeros}{digits}"
    assert plain_id(f" {spelled.lower() if low else spelled} ") == plain_id(f"{letters}{digits}")
    assert plain_id("0000" + spelled) == plain_id(spelled)


@given(word, number, number)
def test_different_numbers_are_different_ids(letters, one, other):
    assert (plain_id(f"{letters}{one}") == plain_id(f"{letters}{other}")) == (one == other)


@pytest.mark.parametrize("other", ["0000VP-0001", "vp-0001", "VP 0001 ", "VP-1", "VP_0001"])
def test_two_spellings_in_one_study_are_one_patient(other):
    found, notes = labels(header("VP-0001", "9"), header("VP-0001", "9", "2"), header(other, "9", "3"))
    assert set(found) == {"VP-0001"}
    (note,) = notes
    assert other.strip() in note
    assert "one patient" in note


@given(st.lists(st.integers(1, 99), min_size=2, max_size=4), st.sampled_from("-/. "), st.booleans())
def test_separators_between_digits_are_a_spelling_where_a_study_says_so(parts, separator, frame):
    one, other = separator.join(map(str, parts)), "".join(map(str, parts))
    place = {"frame": "1.2.3"} if frame else {}
    found, _ = labels(header(one, "9", **place), header(other, "8" if frame else "9", "2", **place))
    assert len(set(found)) == 1
    # of two sites, whose subjects were born on one day
    found, _ = labels(header(one, "9", birth="19500101"), header(other, "8", birth="19500101"))
    assert len(set(found)) == 2


def test_two_spellings_that_nothing_joins_are_kept_apart_and_said():
    found, notes = labels(header("1", "8"), header("001", "9"))
    assert len(set(found)) == 2
    assert "differ in spelling only" in notes[0]
    found, _ = labels(header("1", "8", name="Doe^Jo"), header("001", "9", name="DOE, JO"))
    assert len(set(found)) == 1
    found, _ = labels(header("1", "8", frame="1.2.3"), header("001", "9", frame="1.2.3"))
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("one", "other", "persons"),
    [
        ({"name": "Meier^Anna", "birth": "19500101"}, {"name": "Kunz^Bert", "birth": "19700202"}, 2),
        ({"name": "Meier^Anna"}, {"name": "Kunz^Bert"}, 2),
        ({"name": "Meier^Hans", "birth": "19500101"}, {"name": "Meier^Karl", "birth": "19700202"}, 2),
        ({"name": "Meier^Eva", "sex": "F"}, {"name": "Meier^Udo", "sex": "M"}, 2),
        ({"name": "Meier^Anna"}, {"name": "Kunz^Anna"}, 1),  # a new name
        ({"name": "Meier^Anna"}, {"name": "MEIER, ANNA"}, 1),
        ({"name": "Meier^Anna"}, {"name": "Anonymous"}, 1),
        ({"name": "Meier^Anna"}, {}, 1),
        ({"name": "Meier^Anna", "birth": "19500101"}, {"name": "Meier^Anna", "birth": "19500110"}, 1),
    ],
)
def test_one_id_of_several_persons(one, other, persons):
    found, notes = labels(header("P", "8", **one), header("P", "9", "2", **other))
    assert len(set(found)) == persons
    assert found[0] == "P" or found[1] == "P"
    assert ("shared by 2 persons" in " ".join(notes)) == (persons == 2)
    for word in ("Meier", "Kunz", "1950"):
        assert word not in " ".join(notes)


def test_three_persons_of_one_id_whatever_order_they_come_in():
    three = [header("P", str(k), str(k), name=f"{n}^X", birth=f"19{k}00101") for k, n in enumerate("ABC", 5)]
    found, _ = labels(*three)
    assert sorted(found) == ["P", "P [2]", "P [3]"]
    assert labels(*three[::-1])[0] == found[::-1]


def test_within_a_study_a_new_name_is_no_new_person_but_two_differences_are():
    old, new = header("P", name="Alt^Eva"), header("P", series="2", name="Neu^Ida")
    found, notes = labels(old, new)
    assert set(found) == {"P"}
    assert "more than one name" in notes[0]
    new.values["PatientBirthDate"], old.values["PatientBirthDate"] = "19500101", "19600101"
    assert len(set(labels(old, new)[0])) == 2


def test_a_study_of_two_ids_is_said():
    found, notes = labels(header("A"), header("B", series="2"))
    assert found == ["A", "B"]
    assert "names 2 patients" in notes[0]


def keys(*headers):
    persons = Persons(headers)
    people = collect_people(headers, persons)
    return [person_key(people, persons.label(h)) for h in headers]


def test_one_person_has_one_key_in_every_spelling_and_cohort():
    one, two = header("VP-0001", "9"), header("0000vp-1", "9", "2")
    assert (
        len({*keys(one), *keys(two), *keys(one, two), *keys(two, header("Q", "3"))} - {*keys(header("Q"))})
        == 1
    )


def test_several_persons_of_one_id_have_several_keys():
    three = [header("P", str(k), str(k), name=f"{n}^X", birth=f"19{k}00101") for k, n in enumerate("ABC", 5)]
    assert len(set(keys(*three))) == 3
    assert len(set(keys(header("1", "8"), header("001", "9")))) == 2


def test_what_people_are_called_is_collected_over_all_files():
    files = [
        header("P", name="Alt^Eva"),
        header("P", series="2", name="Neu^Eva"),
        header("Q", "2", name="Uhl^Jo"),
    ]
    files[1].values["OtherPatientIDs"] = "X1\\X2"
    people = collect_people(files, Persons(files))
    assert people["P"]["names"] == ["Alt^Eva", "Neu^Eva"]
    assert "X1\\X2" in people["P"]["ids"]
    assert people["Q"]["names"] == ["Uhl^Jo"]
