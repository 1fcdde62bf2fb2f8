"""What a study writes as DICOM: one tree a defacer, on record, verified."""

from __future__ import annotations

import json

import dask
import pydicom
import pytest
from support.planted import FEW_VIEWS

import defacedask as dd
from defacedask.errors import ConfigError, InputError
from defacedask.report.run import read_run
from defacedask.report.sections.decision import withheld_lines
from defacedask.runs.preparing import prepare
from defacedask.verify import verify

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(virtual_patients, tmp_path_factory):
    """Run it, or go on with it."""
    out = tmp_path_factory.mktemp("release") / "out"

    def run(**options):
        with dask.config.set(FEW_VIEWS):
            return dd.study(
                virtual_patients / "VP-0001",
                out,
                defacers="quickshear,carina",
                attacks="basic",
                seed=3,
                pictures=False,
                **{"allow_reversible": True, **options},
            )

    return run


@pytest.fixture(scope="module")
def result(study):
    return study()


def test_each_defacer_has_its_tree_and_the_control_has_none(result):
    out = result.out
    assert sorted(p.name for p in (out / "defaced").iterdir()) == ["carina", "quickshear"]
    lines = [json.loads(line) for line in (out / "audit.jsonl").read_text().splitlines()]
    assert {line["defacer"] for line in lines} == {"carina", "quickshear"}
    # a dose that still follows the skin under an added layer is held back, on record with its reason
    held = [line for line in lines if line["status"] != "written"]
    assert {(line["status"], line["defacer"], line["modality"]) for line in held} <= {
        ("refused", "carina", "RTDOSE")
    }
    assert all("falls off" in line["reason"] for line in held)
    lines = [line for line in lines if line["status"] == "written"]
    uids = [
        pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID for p in (out / "defaced").rglob("*.dcm")
    ]
    assert len(uids) == len(set(uids)) == len(lines)
    assert verify(out).ok


def test_pictures_can_be_left_out(result):
    assert result.tables["cases"]["status"].tolist() == ["done"]
    assert not list((result.out / "pictures").rglob("*.png"))
    assert json.loads((result.out / "pictures" / "index.json").read_text()) == []


def test_an_unchanged_study_makes_nothing_again_and_still_looks_at_its_files(study, result):
    out = result.out

    def times():
        return {p: p.stat().st_mtime_ns for p in [result.report, *(out / "tables").iterdir()]}

    def no_cluster():
        raise AssertionError("nothing has to run")

    before = times()
    study(client=no_cluster)
    assert times() == before
    # what was written is gone, and the tables are as they were: it is written all the same
    path = next((out / "defaced" / "quickshear").rglob("CT*.dcm"))
    path.unlink()
    (out / "audit.jsonl").unlink()
    again = study()
    assert path.is_file()
    assert verify(out).ok
    faces = [p for p in before if p.stem in ("recognition", "verification", "controls")]
    assert {p: before[p] for p in faces} == {p: times()[p] for p in faces}
    assert again.tables["exports"].equals(result.tables["exports"])
    # of the tables or the page one is gone
    for lost in (out / "tables" / "cases.parquet", out / "tables" / "verification.csv", result.report):
        lost.unlink()
        found = study(client=no_cluster)
        assert lost.is_file()
        for name in ("exports", "verification"):
            assert found.tables[name].equals(result.tables[name])
    assert found.tables["cases"]["status"].tolist() == ["done"]
    assert found.tables["cases"]["seconds_export"].notna().all()


def test_a_file_that_was_tampered_with_is_found_out_and_one_that_is_gone_is_written_again(study, result):
    out = result.out
    other = {p: p.stat().st_mtime_ns for p in (out / "defaced" / "carina").rglob("*.dcm")}
    path = next((out / "defaced" / "quickshear").rglob("CT*.dcm"))
    path.write_bytes(path.read_bytes()[:-2] + b"\1\1")
    assert not verify(out).ok
    path.unlink()
    study()
    assert verify(out).ok
    assert other == {p: p.stat().st_mtime_ns for p in (out / "defaced" / "carina").rglob("*.dcm")}


def test_without_leave_what_only_covers_the_face_is_compared_and_not_written(study, result):
    """Comes last: it takes back what the others look at."""
    out = result.out
    assert any((out / "defaced" / "carina").rglob("*.dcm"))
    other = {p: p.stat().st_mtime_ns for p in (out / "defaced" / "quickshear").rglob("*.dcm")}
    again = study(allow_reversible=False)
    assert not any((out / "defaced" / "carina").rglob("*.dcm"))
    assert other == {p: p.stat().st_mtime_ns for p in (out / "defaced" / "quickshear").rglob("*.dcm")}
    lines = [json.loads(line) for line in (out / "audit.jsonl").read_text().splitlines()]
    refused = [line for line in lines if line["defacer"] == "carina"]
    assert refused
    assert all(line["status"] == "refused" and "un-masked" in line["reason"] for line in refused)
    assert {line["status"] for line in lines if line["defacer"] == "quickshear"} == {"written"}
    assert verify(out).ok
    cases = again.tables["cases"]
    assert cases["status"].tolist() == ["done"]
    assert "--allow-reversible" in cases["reason"].tolist()[0]
    assert "carina" in set(again.tables["recognition"]["defacer"])
    assert "carina covers the face and does not remove it" in again.report.read_text()


def stamps(out):
    images = (out / "defaced").rglob("CT*.dcm")
    return {pydicom.dcmread(p, stop_before_pixels=True).RecognizableVisualFeatures for p in images}


def test_no_file_says_what_the_study_found_untrue(study, result):
    """At a distance within which everybody is the same, the attacks find the person."""
    out = result.out
    lax = {"tolerance": 1.9, "allow_reversible": False}
    found = study(**lax)
    assert not any((out / "defaced").rglob("*.dcm"))
    rows = found.tables["exports"].set_index("defacer")
    assert rows.loc["quickshear", "status"] == "refused"
    assert rows.loc["quickshear", "recognised"]
    assert "this study recognised 1 of 1 cases behind quickshear" in rows.loc["quickshear", "reason"]
    lines = [json.loads(line) for line in (out / "audit.jsonl").read_text().splitlines()]
    assert {line["status"] for line in lines} == {"refused"}
    assert verify(out).ok
    seen = read_run(out)
    assert any("quickshear did not hide everybody: 1" in line for line in withheld_lines(seen))
    # asked for, it is written, and says so
    found = study(**lax, allow_visible=True)
    assert stamps(out) == {"YES"}
    rows = found.tables["exports"].set_index("defacer")
    assert rows.loc["quickshear", ["status", "visible", "recognised"]].tolist() == ["done", False, True]
    assert verify(out).ok
    assert "RecognizableVisualFeatures YES" in " ".join(withheld_lines(read_run(out)))
    # and at the study's own distance nobody is found
    study(allow_reversible=False)
    assert stamps(out) == {"NO"}
    assert not withheld_lines(read_run(out))


def test_a_study_writes_a_trials_ids_and_masks_as_deface_does(study, result, tmp_path):
    out = result.out
    table = tmp_path / "ids.csv"
    table.write_text("patient_id,subject_id,site_id\nVP-0001,TRI-7,S1\n")
    study(
        allow_reversible=False,
        deidentify=True,
        ids=table,
        trial=["sponsor=A trials unit", "protocol=T1"],
        masks=["seg"],
    )
    files = [pydicom.dcmread(p, stop_before_pixels=True) for p in (out / "defaced").rglob("*.dcm")]
    assert {f.PatientID for f in files} == {"TRI-7"}
    images = [f for f in files if f.Modality == "CT"]
    assert {(f.ClinicalTrialSponsorName, f.ClinicalTrialSiteID) for f in images} == {("A trials unit", "S1")}
    assert [f.Modality for f in files].count("SEG") == 1
    kept = out / "store" / "patient_ids.csv"
    assert "VP-0001,TRI-7,S1" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0
    assert verify(out).ok


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"ids": "ids.csv"}, ConfigError, "where headers are de-identified"),
        ({"trial": ["sponsor=x", "protocol=y"]}, ConfigError, "where headers are de-identified"),
        ({"ids": "ids.csv", "deidentify": True}, InputError, "not in the map"),
        ({"trial": ["site=x"], "deidentify": True}, ConfigError, "sponsor"),
        ({"masks": ["png"]}, ConfigError, "mask"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(virtual_patients, tmp_path, options, error, why):
    (tmp_path / "ids.csv").write_text("patient_id,subject_id\nNOBODY,T1\n")
    options = {name: tmp_path / "ids.csv" if name == "ids" else one for name, one in options.items()}
    with pytest.raises(error, match=why):
        prepare(virtual_patients / "VP-0001", tmp_path / "out", defacers="quickshear", **options)
    assert not (tmp_path / "out").exists()
