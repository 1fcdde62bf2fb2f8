"""Sidecars: what an image inherits from the folders above."""

from __future__ import annotations

import json

from defacedask.io.bids.sidecar import sidecar_of


def put(path, **facts):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts))


def test_the_nearer_sidecar_counts(tmp_path):
    image = tmp_path / "sub-1" / "ses-a" / "anat" / "sub-1_ses-a_acq-x_T1w.nii.gz"
    put(tmp_path / "dataset_description.json", Name="x", BIDSVersion="1.9.0")
    put(tmp_path / "T1w.json", A=1, B=1, C=1)
    put(tmp_path / "acq-x_T1w.json", B=2, D=2)
    put(tmp_path / "sub-1" / "sub-1_T1w.json", C=3)
    put(image.with_name("sub-1_ses-a_acq-x_T1w.json"), D=4)
    for other in ("acq-y_T1w.json", "T2w.json", "inplaneT1w.json", "desc-T1w.json"):
        put(tmp_path / other, A=9)
    put(tmp_path / "sub-1" / "sub-2_T1w.json", A=9)
    assert sidecar_of(image) == {"A": 1, "B": 2, "C": 3, "D": 4}


def test_outside_a_data_set_only_its_own_counts(tmp_path):
    image = tmp_path / "anat" / "sub-1_T1w.nii.gz"
    put(tmp_path / "anat" / "T1w.json", A=1)
    put(tmp_path / "anat" / "sub-1_T1w.json", B=2)
    assert sidecar_of(image) == {"B": 2}


def test_what_is_no_object_says_nothing(tmp_path):
    image = tmp_path / "sub-1_T1w.nii.gz"
    image.with_name("sub-1_T1w.json").write_text("[1, 2]")
    assert sidecar_of(image) == {}
    image.with_name("sub-1_T1w.json").write_text("{")
    assert sidecar_of(image) == {}
