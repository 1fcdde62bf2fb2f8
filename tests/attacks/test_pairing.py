from __future__ import annotations

import pytest

from defacedask.attacks.likeness import Likeness
from defacedask.attacks.pairing import pair_cases, pair_series, plain_name
from defacedask.geometry import Geometry
from defacedask.io.dicom.model import Case, Series


def series(uid, modality="CT", *, file="f.dcm", size=4, shift=0.0, description="", nifti=False):
    grid = Geometry.from_spacing((size, 4, 4), (1, 1, 1), (shift, 0, 0))
    facts = {"format": "NIfTI"} if nifti else {}
    return Series(
        uid, modality, "", "", "", "", description, 1, (f"/x/{file}",), (uid,), (), grid.to_dict(), facts
    )


def case(name, patient, *images, frame=""):
    return Case(name, patient, frame or name, images or (series(name),))


def found(pairing):
    return [(p.original.id, p.defaced.id) for p in pairing.pairs]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("sub-01_T1w", "sub-01_T1w_defaced"),
        ("pt_100", "PT-100 carina"),
        ("IXI012", "anon_ixi012"),
        ("case.7", "case-7-mri-reface"),
    ],
)
def test_names_without_what_says_defaced(a, b):
    assert plain_name(a) == plain_name(b) != ""


def test_names_that_differ_stay_apart():
    assert plain_name("sub-01_T1w") != plain_name("sub-01_T2w")
    assert plain_name("carinas") == "carinas"


def test_patients_come_first_even_when_everything_else_changed():
    one, two = (case(n, p, series(n, shift=k)) for k, (n, p) in enumerate((("a", "P1"), ("b", "P2"))))
    # grids are exchanged, frames are new
    x, y = case("x", "P2", series("x", shift=0)), case("y", "P1", series("y", shift=1))
    pairing = pair_cases([one, two], [x, y])
    assert found(pairing) == [("a", "y"), ("b", "x")]
    assert {p.how for p in pairing.pairs} == {"the patient's id"}


def test_two_scans_of_a_patient_by_frame_then_name_then_grid():
    first = case("a", "P", series("a", shift=0, description="T1"), frame="1.1")
    second = case("b", "P", series("b", shift=5, description="T2"), frame="1.2")
    assert found(pair_cases([first, second], [case("x", "P", frame="1.2"), case("y", "P", frame="1.1")])) == [
        ("a", "y"),
        ("b", "x"),
    ]
    named = [
        case("x", "P", series("x", description="T2 defaced")),
        case("y", "P", series("y", description="T1")),
    ]
    assert found(pair_cases([first, second], named)) == [("a", "y"), ("b", "x")]
    grids = [case("x", "P", series("x", shift=5)), case("y", "P", series("y", shift=0))]
    assert found(pair_cases([first, second], grids)) == [("a", "y"), ("b", "x")]


def test_nifti_pairs_by_file_name():
    originals = [
        case(n, n, series(n, "MR", file=f"{n}.nii.gz", nifti=True)) for n in ("sub-01_T1w", "sub-02_T1w")
    ]
    defaced = [
        case(n, n, series(n, "MR", file=f"{n}.nii", nifti=True))
        for n in ("sub-02_T1w_defaced", "sub-01_T1w_defaced", "sub-09_T1w_defaced")
    ]
    pairing = pair_cases(originals, defaced)
    assert found(pairing) == [("sub-01_T1w", "sub-01_T1w_defaced"), ("sub-02_T1w", "sub-02_T1w_defaced")]
    assert [c.id for c in pairing.defaced] == ["sub-09_T1w_defaced"]


def test_anonymous_ones_by_folder_or_grid_and_only_if_that_is_unique():
    one = case("a", "P1", series("a", file="pt_1/i.dcm", shift=1))
    two = case("b", "P2", series("b", file="pt_2/i.dcm", shift=2))
    by_folder = pair_cases([one, two], [case("x", "ANON", series("x", file="pt_2/i.dcm", shift=9))])
    assert [(p.defaced.id, p.how) for p in by_folder.pairs] == [("x", "the folder's name")]
    assert [c.id for c in by_folder.originals] == ["a"]
    by_grid = pair_cases([one, two], [case("x", "ANON", series("x", file="o/i.dcm", shift=1))])
    assert [(p.original.id, p.how) for p in by_grid.pairs] == [("a", "the grid")]
    alike = case("c", "P3", series("c", file="pt_3/i.dcm", shift=1))
    nobody = pair_cases([one, alike], [case("x", "ANON", series("x", file="o/i.dcm", shift=1))])
    assert nobody.pairs == ()
    assert len(nobody.originals) == 2
    assert len(nobody.defaced) == 1


def test_what_is_called_alike_for_everybody_pairs_nobody():
    one = case("a", "P1", series("a", file="CT/i.dcm", shift=1, description="HEAD"))
    assert pair_cases([one], [case("x", "P2", series("x", file="CT/i.dcm", description="HEAD"))]).pairs == ()


def test_another_modality_is_no_partner():
    assert pair_cases([case("a", "P")], [case("x", "P", series("x", "MR"))]).pairs == ()


def test_images_of_a_pair():
    ct, mr, other = series("1", size=9), series("2", "MR", size=3), series("3", "MR", size=5)
    original = case("a", "P", mr, ct, other)
    defaced = case("x", "P", series("7", "MR", size=5), series("8", size=9))
    assert [(a.uid, b.uid if b else None) for a, b in pair_series(original, defaced)] == [
        ("1", "8"),
        ("2", "7"),
        ("3", None),
    ]


# --- keys that several cases share

SAME_SCAN, OTHER_SCAN = Likeness(0.9, 0.9, 1.0), Likeness(0.02, 0.0, 1.0)


def truth(table):
    """Likeness as somebody would find it who knows whose each is."""
    return lambda one, other: SAME_SCAN if table[one.id] == other.id else OTHER_SCAN


def test_three_persons_of_one_id_are_told_apart_by_their_voxels():
    originals = [case(n, "P") for n in "abc"]
    defaced = [case(n, "P") for n in "xyz"]
    asked = truth({"a": "z", "b": "x", "c": "y"})
    pairing = pair_cases(originals, defaced, alike=asked)
    assert found(pairing) == [("a", "z"), ("b", "x"), ("c", "y")]
    assert {p.how for p in pairing.pairs} == {"the patient's id and the voxels"}


def test_who_cannot_be_told_apart_is_not_paired_and_why_is_said():
    originals = [case(n, "P") for n in "abc"]
    pairing = pair_cases(originals, [case(n, "P") for n in "xy"], alike=lambda *_: OTHER_SCAN)
    assert pairing.pairs == ()
    assert set(pairing.reasons) == set("abcxy")
    assert "3 originals and 2 defaced cases have the patient's id P" in pairing.reasons["a"]
    # nor if nothing can be compared and everything else agrees
    pairing = pair_cases(originals, [case(n, "P") for n in "xy"], alike=lambda *_: Likeness())
    assert pairing.pairs == ()


def test_voxels_overrule_names_and_grids():
    originals = [case("a", "P", series("a", description="T1")), case("b", "P", series("b", shift=5))]
    defaced = [case("x", "P", series("x", description="T1")), case("y", "P", series("y", shift=5))]
    pairing = pair_cases(originals, defaced, alike=truth({"a": "y", "b": "x"}))
    assert found(pairing) == [("a", "y"), ("b", "x")]


def test_an_id_in_two_spellings_is_one_id():
    assert found(pair_cases([case("a", "VP-0001"), case("b", "VP-0002")], [case("x", "vp1")])) == [("a", "x")]


def test_new_ids_everywhere_and_one_grid_for_all_are_paired_by_voxels():
    originals = [case(n, f"P{n}") for n in "abc"]
    defaced = [case(n, f"N{n}") for n in "xyz"]
    pairing = pair_cases(originals, defaced, alike=truth({"a": "y", "b": "z", "c": ""}))
    assert found(pairing) == [("a", "y"), ("b", "z")]
    assert {p.how for p in pairing.pairs} == {"the voxels"}
    assert [c.id for c in pairing.originals] == ["c"]


def test_too_many_to_compare_are_not_guessed():
    originals, defaced = ([case(f"{n}{k}", "P") for k in range(21)] for n in "ax")

    def never(*_):
        raise AssertionError("asked")

    pairing = pair_cases(originals, defaced, alike=never)
    assert pairing.pairs == ()
    assert "too many to compare" in pairing.reasons["a0"]
