"""What a study writes as DICOM: one tree a defacer, on record, verified."""

from __future__ import annotations

import json

import dask
import pydicom
import pytest
from support.planted import FEW_VIEWS

import defacedask as dd
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
