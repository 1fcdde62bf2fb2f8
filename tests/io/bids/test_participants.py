"""Sex and age from the tables of a data set: what is clear is used, what is damaged is said once."""

from __future__ import annotations

import json

import pytest
from support.bids_kit import data_set, image, write

from defacedask.io.bids.participants import age_in_years, capped_age, sex_by_word
from defacedask.io.dicom.catalogue import scan
from defacedask.tables.rows import About


def people(root):
    found = scan(root)
    return {
        About.of(case).patient_id: (About.of(case).sex, About.of(case).age) for case in found.cases
    }, found.notes


@pytest.fixture
def root(tmp_path):
    return data_set(tmp_path)


def test_sex_and_age_of_participants_reach_the_row_of_their_case(root):
    assert people(root) == ({"sub-01": ("F", 31.0), "sub-02": ("M", 92.0)}, ())


def test_the_age_of_a_session_counts_first(root):
    write(root / "sub-01/sub-01_sessions.tsv", "session_id\tage\nses-a\t33.5\nses-b\t40\n")
    write(root / "sub-02/sub-02_sessions.tsv", "session_id\tage\nses-a\tn/a\n")
    assert people(root)[0] == {"sub-01": ("F", 33.5), "sub-02": ("M", 92.0)}


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("participant_id\tsex\nsub-01\tfemale\nsub-02\tn/a\n", {"sub-01": ("F", None), "sub-02": ("", None)}),
        ("\ufeffparticipant_id\tage\r\nsub-01\t89+\r\n", {"sub-01": ("", 89.0), "sub-02": ("", None)}),
        ("participant_id\tAge\tSex\n01\t7\tO\nsub-77\t5\tM\n", {"sub-01": ("O", 7.0), "sub-02": ("", None)}),
        ("participant_id\n", {"sub-01": ("", None), "sub-02": ("", None)}),
    ],
)
def test_tables_as_people_write_them(root, table, expected):
    (root / "participants.tsv").write_text(table)
    (root / "participants.json").unlink()
    assert people(root) == (expected, ())


def test_units_and_levels_are_those_of_the_description(root):
    write(root / "participants.tsv", "participant_id\tage\tsex\nsub-01\t18\t1\nsub-02\t24\t2\n")
    about = {"age": {"Units": "months"}, "sex": {"Levels": {"1": "male", "2": {"Description": "Female"}}}}
    write(root / "participants.json", json.dumps(about))
    assert people(root)[0] == {"sub-01": ("M", 1.5), "sub-02": ("F", 2.0)}


def test_rows_that_contradict_each_other_are_said_in_one_sentence(root):
    rows = "sub-01\t31\tF\nsub-01\t32\tF\nsub-02\t40\tM\nsub-02\t40\tM\n"
    write(root / "participants.tsv", f"participant_id\tage\tsex\n{rows}")
    found, (note,) = people(root)
    assert found == {"sub-01": ("F", None), "sub-02": ("M", 40.0)}
    assert "several rows for sub-01:" in note


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"participant_id\tage\nsub-01\t31\tF\n", "no table"),
        (b"participant_id\tage\tage\nsub-01\t31\t31\n", "no table"),
        (b"participant_id,age\nsub-01,31\n", "no column participant_id"),
        ("participant_id\tage\nsub-01\t31\n".encode("utf-16"), "no UTF-8"),
        (bytes(range(256)) * 10, "no UTF-8"),
        (b"participant_id\tage\n" + b"x" * 200_000 + b"\t1\n", "no table"),
    ],
)
def test_a_damaged_table_is_one_note(root, content, why):
    (root / "participants.tsv").write_bytes(content)
    found, notes = people(root)
    assert found == {"sub-01": ("", None), "sub-02": ("", None)}
    assert len(notes) == 1
    assert why in notes[0]


@pytest.mark.parametrize("description", ["[]", "{", '{"age": 3, "sex": {"Levels": []}}'])
def test_a_damaged_description_says_nothing(root, description):
    write(root / "participants.json", description)
    assert people(root)[0] == {"sub-01": ("F", 31.0), "sub-02": ("M", 92.0)}


def test_a_table_beside_files_and_that_of_the_source_of_derived_ones(tmp_path):
    image(tmp_path / "plain" / "anna.nii.gz", 1)
    write(tmp_path / "plain" / "participants.tsv", "participant_id\tage\tsex\nanna\t50\tF\n")
    assert people(tmp_path / "plain") == ({"anna": ("F", 50.0)}, ())
    source = tmp_path / "set"
    write(source / "dataset_description.json", "{}")
    write(source / "participants.tsv", "participant_id\tsex\nsub-9\tmale\n")
    write(source / "derivatives/x/dataset_description.json", "{}")
    image(source / "derivatives/x/sub-9/anat/sub-9_T1w.nii.gz", 2)
    assert people(source)[0] == {"sub-9": ("M", None)}


def test_no_table_is_nothing_to_tell(root):
    (root / "participants.tsv").unlink()
    assert people(root) == ({"sub-01": ("", None), "sub-02": ("", None)}, ())


@pytest.mark.parametrize(
    ("word", "sex"),
    [
        ("M", "M"),
        ("male", "M"),
        ("FEMALE", "F"),
        ("f", "F"),
        ("O", "O"),
        ("Other", "O"),
        ("n/a", ""),
        ("1", ""),
    ],
)
def test_words_of_a_sex(word, sex):
    assert sex_by_word(word) == sex


@pytest.mark.parametrize(
    ("word", "unit", "years"),
    [
        ("31", "years", 31.0),
        ("31.5", "year", 31.5),
        ("89+", "years", 89.0),
        ("6", "months", 0.5),
        ("n/a", "years", None),
        ("-3", "years", None),
        ("400", "years", None),
        ("nan", "years", None),
        ("31", "parsecs", None),
        ("", "years", None),
    ],
)
def test_words_of_an_age(word, unit, years):
    assert age_in_years(word, unit) == years


@pytest.mark.parametrize(
    ("word", "unit", "published"),
    [
        ("88", "years", "88"),
        ("89", "years", "89+"),
        ("95+", "years", "89+"),
        ("90-95", "years", "89+"),
        ("95 years", "years", "89+"),
        ("60-65", "years", "60-65"),
        ("n/a", "years", "n/a"),
        ("adult", "years", "adult"),
        ("1100", "months", "1068+"),
        ("95", "months", "95"),
        ("40000", "days", "32507+"),
        ("95", "parsecs", "89+"),
    ],
)
def test_an_age_that_tells_who_it_is_is_not_published(word, unit, published):
    assert capped_age(word, unit) == published
