"""What headers, sidecars and names say of an earlier defacing."""

from __future__ import annotations

import pydicom
import pytest
from pydicom.dataset import Dataset
from support import make

from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.defaced import by_header, by_name, by_sidecar, said
from defacedask.io.dicom.export.record import mark_cleaned

GRID = make.grid(shape=(8, 6, 7))


def code(value, scheme="DCM", meaning="", version=""):
    return make.item(
        CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning, CodingSchemeVersion=version
    )


def header(method=None, codes=(), visible=None):
    dataset = Dataset()
    if method is not None:
        dataset.DeidentificationMethod = method
    if codes:
        dataset.DeidentificationMethodCodeSequence = list(codes)
    if visible is not None:
        dataset.RecognizableVisualFeatures = visible
    return dataset


CLEANED = code("113102", meaning="Clean Recognizable Visual Features Option")
BASIC = code("113100", meaning="Basic Application Confidentiality Profile")


@pytest.mark.parametrize(
    ("dataset", "by"),
    [
        (header(codes=[CLEANED]), "by whom it does not say"),
        (header(visible="NO"), "by whom it does not say"),
        (header(codes=[BASIC, CLEANED], visible="NO"), "by whom it does not say"),
        (header("pydeface 2.0.2"), "pydeface 2.0.2"),
        (header(["CTP", "Defaced with mri_deface 1.22"]), "Defaced with mri_deface 1.22"),
        (header("Face removed by XNAT mask_face"), "Face removed by XNAT mask_face"),
        (
            header(["mri_reface 0.3.4"], [CLEANED, code("replace", "mri_reface", "Replace face", "0.3.4")]),
            "mri_reface 0.3.4",
        ),
        (header("afni_refacer_run"), "afni_refacer_run"),
    ],
)
def test_headers_that_say_so(dataset, by):
    found = by_header(dataset)
    assert found is not None
    assert (found["by"], found["sure"]) == (by, True)


@pytest.mark.parametrize(
    "dataset",
    [
        header(),
        header("Basic profile", [BASIC]),
        header("dicognito"),
        header(visible="YES"),
        header("pydeface", visible="YES"),
        header("not defaced"),
        header("Headers de-identified, face not removed"),
        header("surface coil; interface engine; prefaced by CTP"),
    ],
)
def test_headers_that_do_not(dataset):
    assert by_header(dataset) is None


@pytest.mark.parametrize("visible", [False, True])
def test_our_own_stamp_is_read_back(visible):
    dataset = header()
    mark_cleaned(dataset, "quickshear", "0.1.0", image=True, visible=visible)
    found = by_header(dataset)
    if visible:
        assert found is None  # it says that the face is left
    else:
        assert said(found) == "already defaced (quickshear, defacedask 0.1.0)"
        assert "113102" in found["because"]


def test_a_plan_or_structure_set_of_ours_says_it_too():
    dataset = header()
    mark_cleaned(dataset, "carina", "0.1.0", image=False)
    assert by_header(dataset) is not None
    mark_cleaned(other := header(), "carina", "0.1.0", image=False, visible=True)
    assert by_header(other) is None


@pytest.mark.parametrize(
    ("sidecar", "found"),
    [
        (
            {"DeidentificationMethod": ["defacedask 0.1.0 quickshear"], "RecognizableVisualFeatures": "NO"},
            True,
        ),
        ({"DeidentificationMethodCodeSequence": [{"CodeValue": "113102"}]}, True),
        ({"DeidentificationMethod": "pydeface"}, True),
        ({"DeidentificationMethod": ["mri_reface"], "EchoTime": 0.1}, True),
        ({"Defaced": True}, True),
        ({"DefacingSoftware": "pydeface 2.0.2"}, True),
        ({"Defaced": False}, False),
        ({"Defaced": "no"}, False),
        (
            {"DeidentificationMethod": ["defacedask 0.1.0 quickshear"], "RecognizableVisualFeatures": "YES"},
            False,
        ),
        ({"DeidentificationMethod": "dcm2niix -ba y"}, False),
        ({"EchoTime": 0.1}, False),
        ({"DeidentificationMethodCodeSequence": "odd", "DeidentificationMethod": 3}, False),
    ],
)
def test_sidecars(sidecar, found):
    assert (by_sidecar(sidecar) is not None) == found


@pytest.mark.parametrize(
    ("stem", "found"),
    [
        ("sub-01_desc-defaced_T1w", True),
        ("sub-01_T1w_defaced", True),
        ("t1_deface", True),
        ("head_pydeface", True),
        ("img_deFaced", True),
        ("sub-01_rec-refaced_T1w", True),
        ("sub-01_T1w", False),
        ("surface_T1w", False),
        ("interfaced", False),
    ],
)
def test_names(stem, found):
    hint = by_name(stem)
    assert (hint is not None) == found
    if hint:
        assert not hint["sure"]


def test_scan_says_it_and_keeps_the_image(tmp_path):
    def change(dataset, k):
        mark_cleaned(dataset, "quickshear", "0.1.0", image=True)

    make.write_series(tmp_path, make.ramp(GRID.shape), GRID, change=change)
    found = scan(tmp_path)
    assert found.cases[0].primary.facts["already_defaced"]["by"] == "quickshear, defacedask 0.1.0"
    assert any("already defaced (quickshear, defacedask 0.1.0)" in note for note in found.notes)


@pytest.mark.parametrize("slices", [{0, 1, 2, 3}, {0}, {7}])
@pytest.mark.parametrize("what", ["all", "codes", "method", "visible"])
def test_a_series_that_is_marked_in_part_is_not_marked(tmp_path, slices, what):
    def change(dataset, k):
        if k in slices and what == "all":
            mark_cleaned(dataset, "quickshear", "0.1.0", image=True)
        elif k in slices:
            said = {
                "codes": header(codes=[CLEANED]),
                "method": header("pydeface 2.0"),
                "visible": header(visible="NO"),
            }
            dataset.update(said[what])

    make.write_series(tmp_path, make.ramp(GRID.shape), GRID, change=change)
    assert "already_defaced" not in scan(tmp_path).cases[0].primary.facts


@pytest.mark.data
def test_real_codes_of_mri_reface(shared_data):
    path = next((shared_data / "deident_header_mrireface").glob("*.dcm"))
    found = by_header(pydicom.dcmread(path, stop_before_pixels=True))
    assert said(found) == "already defaced (mri_reface 0.3.4)"
