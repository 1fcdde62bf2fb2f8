"""NIfTI in, defaced NIfTI, mask and sidecar out; bit-exact outside the region."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from support.export_kit import HalfSpace, half_space, one_case, run_export, tree  # noqa: F401
from support.nifti_kit import write

from defacedask.io.nifti.write import mask_path, sidecar_path

PLAN = HalfSpace(1.0)


def raw(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


@pytest.mark.parametrize(
    ("dtype", "name", "options"),
    [
        ("int16", "sub-01_T1w.nii.gz", {}),
        ("uint8", "sub-01_T1w.nii", {"slope": 0.5, "inter": -3.0}),
        ("float32", "sub-01_T1w.nii.gz", {"extension": True}),
        ("int16", "sub-01_T1w.nii", {"order": ">"}),
        ("float64", "sub-01_T1w.nii.gz", {"slope": 1.0, "inter": 0.0}),
    ],
)
def test_bit_exact(tmp_path, dtype, name, options):
    source = write(tmp_path / "in" / "anat" / name, dtype, **options)
    outcome, out = run_export(tmp_path / "in", tmp_path, PLAN)
    path = out / "anat" / name
    assert outcome.facts["written"] == {"MR": 1, "defacemask": 1, "sidecar": 1}
    old, new = nibabel.load(source), nibabel.load(path)
    offset = int(old.dataobj.offset)
    assert raw(source)[:offset] == raw(path)[:offset]
    assert len(raw(source)) == len(raw(path))
    mask_image = nibabel.load(mask_path(path))
    mask = np.asarray(mask_image.dataobj) > 0
    assert mask_image.affine == pytest.approx(old.affine)
    # the region in world coordinates, by nibabel alone
    index = np.stack(np.meshgrid(*map(np.arange, old.shape), indexing="ij"), -1)
    anterior = nibabel.affines.apply_affine(old.affine, index)[..., 1] > -PLAN.y
    assert (mask == anterior).mean() > 0.99
    assert 0.2 < mask.mean() < 0.8
    before, after = np.asanyarray(old.dataobj.get_unscaled()), np.asanyarray(new.dataobj.get_unscaled())
    assert before[~mask].tobytes() == after[~mask].tobytes()
    filled = np.asarray(new.dataobj)[mask]
    lowest = max(0.0, options.get("inter") or 0.0)
    assert (filled == lowest).all()


def test_sidecar_keeps_what_was_there_and_says_what_was_done(tmp_path):
    source = write(tmp_path / "in" / "sub-01_T1w.nii.gz", "int16")
    sidecar_path(source).write_text(json.dumps({"EchoTime": 0.003, "DeidentificationMethod": ["by hand"]}))
    _, out = run_export(tmp_path / "in", tmp_path, PLAN)
    assert set(tree(out)) == {"sub-01_T1w.nii.gz", "sub-01_T1w.json", "sub-01_mod-T1w_defacemask.nii.gz"}
    facts = json.loads((out / "sub-01_T1w.json").read_text())
    assert facts["EchoTime"] == 0.003
    assert facts["DeidentificationMethod"][0] == "by hand"
    assert facts["DeidentificationMethod"][1].startswith("defacedask")
    assert [c["CodeValue"] for c in facts["DeidentificationMethodCodeSequence"]] == ["113102", "half_space"]
    assert facts["RecognizableVisualFeatures"] == "NO"


def test_the_mask_is_no_image_for_a_second_run(tmp_path):
    write(tmp_path / "in" / "sub-01_T1w.nii.gz", "int16")
    _, out = run_export(tmp_path / "in", tmp_path, PLAN)
    assert len(one_case(out).images) == 1


IDENTIFYING = {
    "PatientName": "Doe^John",
    "AcquisitionDateTime": "2019-05-05T10:11:12",
    "InstitutionName": "Hospital of Doe",
    "DeviceSerialNumber": "45678",
    "PhysicianOfRecord": "Doe",
    "ProcedureStepDescription": "Doe",
    "BidsGuess": ["anat", "_acq-Doe_T1w"],
    "Sources": ["/home/doe/T1.nii"],
    "global": {"const": {"PatientName": "Doe"}},
    "WhoKnows": "Doe",
}


def test_a_sidecar_keeps_only_what_is_known_to_carry_no_identity(tmp_path):
    source = write(tmp_path / "in" / "sub-01_T1w.nii.gz", "int16")
    technical = {"EchoTime": 0.003, "Manufacturer": "Siemens", "SliceTiming": [0.1, 0.2], "Modality": "MR"}
    sidecar_path(source).write_text(json.dumps({**technical, **IDENTIFYING}))
    outcome, out = run_export(tmp_path / "in", tmp_path, PLAN, identity_key=bytes(32))
    text = (out / "sub-01_T1w.json").read_text()
    facts = json.loads(text)
    assert {name: facts.get(name) for name in technical} == technical
    assert not IDENTIFYING.keys() & facts.keys()
    assert "Doe" not in text
    assert f"sidecar: {len(IDENTIFYING)} of its fields left out" in outcome.facts["notes"]


@pytest.mark.parametrize("name", ["John_Doe/T1.nii.gz", "DOE/sub-01_T1w.nii", "John_Doe_T1w.nii"])
def test_names_of_files_outside_bids_do_not_come_out(tmp_path, name):
    write(tmp_path / "in" / name, "int16")
    _, out = run_export(tmp_path / "in", tmp_path, PLAN, identity_key=bytes(32))
    files = list(tree(out))
    assert len(files) == 3
    assert not [f for f in files if "doe" in f.lower()]
    assert {"".join(Path(f).suffixes) for f in files} == {".json", ".nii.gz", "".join(Path(name).suffixes)}


ODD = {
    "a quaternion that is none": (256, np.array([0.9, 0.9, 0.9], "<f4")),
    "a quaternion of no number": (256, np.array([np.nan] * 3, "<f4")),
    "no voxel size": (80, np.array([0, 0, 0], "<f4")),
    "negative voxel sizes": (80, np.array([-1.5, 1.25, -2], "<f4")),
    "an unknown code": (252, np.array([9], "<i2")),
    "an offset between bytes": (108, np.array([352.5], "<f4")),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_odd_beside_a_valid_sform_stays_and_stops_nothing(tmp_path, kind, capfd):
    offset, bytes_ = ODD[kind]
    source = write(tmp_path / "in" / "sub-01_T1w.nii", "int16")
    data = bytearray(source.read_bytes())
    data[offset : offset + bytes_.nbytes] = bytes_.tobytes()
    source.write_bytes(data)
    outcome, out = run_export(tmp_path / "in", tmp_path, PLAN)
    assert outcome.facts["written"] == {"MR": 1, "defacemask": 1, "sidecar": 1}
    path = out / "sub-01_T1w.nii"
    assert path.read_bytes()[:352] == bytes(data[:352])
    assert capfd.readouterr().err == ""  # nibabel tells what it mends, of which file it does not say
    mask, image = nibabel.load(mask_path(path)), nibabel.load(path)
    assert mask.affine == pytest.approx(image.affine)
    changed = np.asarray(image.dataobj) != np.asarray(nibabel.load(source).dataobj)
    assert changed.any()
    assert not (changed & (np.asarray(mask.dataobj) == 0)).any()


@pytest.mark.parametrize("ends", [".NII", ".Nii", ".NII.GZ", ".nii.GZ"])
def test_capitals_in_the_end_of_a_name(tmp_path, ends):
    plain = write(tmp_path / f"x.nii{'.gz' if ends.lower().endswith('gz') else ''}", "int16")
    (tmp_path / "in").mkdir()
    plain.rename(tmp_path / "in" / f"sub-01_T1w{ends}")
    outcome, out = run_export(tmp_path / "in", tmp_path, PLAN)
    assert outcome.facts["written"] == {"MR": 1, "defacemask": 1, "sidecar": 1}
    assert (out / f"sub-01_T1w{ends}").is_file()
