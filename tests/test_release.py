"""What a study writes as DICOM: one tree a defacer, on record, verified."""

from __future__ import annotations

import json

import pydicom
import pytest

import defacedask as dd
from defacedask.phantom import write_phantom
from defacedask.verify import verify


@pytest.mark.slow
def test_each_defacer_has_its_tree_and_the_control_has_none(tmp_path):
    write_phantom(tmp_path / "in", 1, seed=5, modalities=("CT",), size="coarse")
    out = tmp_path / "out"
    dd.study(tmp_path / "in", out, defacers="quickshear,carina", seed=3, pictures=False)
    assert sorted(p.name for p in (out / "defaced").iterdir()) == ["carina", "quickshear"]
    lines = [json.loads(line) for line in (out / "audit.jsonl").read_text().splitlines()]
    assert {line["defacer"] for line in lines} == {"carina", "quickshear"}
    # a dose that still follows the skin under an added layer is held back, on record with its reason
    held = [line for line in lines if line["status"] != "written"]
    assert {(line["status"], line["defacer"], line["modality"]) for line in held} <= {
        ("refused", "carina", "RTDOSE")
    }
    assert all(line["reason"] for line in held)
    lines = [line for line in lines if line["status"] == "written"]
    uids = [
        pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID for p in (out / "defaced").rglob("*.dcm")
    ]
    assert len(uids) == len(set(uids)) == len(lines)
    assert verify(out).ok

    # a file that was tampered with is found out, and one that is gone is written again
    path = next((out / "defaced" / "quickshear").rglob("CT*.dcm"))
    path.write_bytes(path.read_bytes()[:-2] + b"\1\1")
    assert not verify(out).ok
    path.unlink()
    dd.study(tmp_path / "in", out, defacers="quickshear,carina", seed=3, pictures=False)
    assert verify(out).ok
