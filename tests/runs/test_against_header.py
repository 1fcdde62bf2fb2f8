"""Images that are not what their header says, through the real program: the face goes, or nothing leaves."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from click.testing import CliRunner

import defacedask as dd
from benchmarks.heads.non_heads import cylinder
from defacedask.anatomy.head import Head
from defacedask.cli.deface import command
from defacedask.io.dicom.image import read_image
from defacedask.volume import real_values

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def patient(virtual_patients) -> Path:
    """A virtual patient's CT."""
    return virtual_patients / "VP-0001"


@pytest.fixture(scope="module")
def face(patient) -> np.ndarray:
    """Bool (z, y, x): tissue in the skin of the face, by a look at the patient as he came."""
    from benchmarks.heads.orientations import face_voxels

    volume = read_image(dd.scan(patient).cases[0].primary).load()
    return face_voxels(volume, Head(volume))


def slices(folder: Path) -> list[pydicom.Dataset]:
    found = [pydicom.dcmread(f) for f in folder.rglob("*.dcm")]
    found = [d for d in found if d.get("Modality") == "CT" and "PixelData" in d]
    return sorted(found, key=lambda d: float(d.ImagePositionPatient[2]))


def deface(source: Path, out: Path):
    arguments = [str(source), "--defacer", "quickshear", "--out", str(out), "--cluster", "here"]
    return CliRunner().invoke(command, arguments)


def test_voxels_turned_in_their_slices(patient, face, tmp_path):
    """Prone under a supine label: the rows and columns run the other way."""
    (tmp_path / "in").mkdir()
    before = slices(patient)
    for k, dataset in enumerate(before):
        dataset.PixelData = dataset.pixel_array[::-1, ::-1].copy().tobytes()
        dataset.save_as(tmp_path / "in" / f"{k}.dcm")
    run = deface(tmp_path / "in", tmp_path / "out")
    assert run.exit_code == 0, run.output
    assert "degrees against what the header says" in " ".join(run.output.split())
    after = slices(tmp_path / "out")
    assert {d.RecognizableVisualFeatures for d in after} == {"NO"}
    changed = np.stack([a.pixel_array != b.pixel_array for a, b in zip(before, after, strict=True)])
    assert changed[:, ::-1, ::-1][face].mean() > 0.95


def test_lps_voxels_under_a_ras_affine(patient, face, tmp_path):
    volume = read_image(dd.scan(patient).cases[0].primary)
    values = np.ascontiguousarray(real_values(volume).values.transpose(2, 1, 0)).astype(np.int16)
    affine = _affine(volume)
    source = tmp_path / "in" / "case_0001_ct.nii.gz"
    source.parent.mkdir()
    image = nibabel.Nifti1Image(values, affine)
    image.set_qform(affine, 1)
    nibabel.save(image, source)
    run = deface(source.parent, tmp_path / "out")
    assert run.exit_code == 0, run.output
    after = np.asanyarray(nibabel.load(tmp_path / "out" / source.name).dataobj)
    assert (after != values).transpose(2, 1, 0)[face].mean() > 0.95


def _affine(volume) -> np.ndarray:
    from defacedask.volume import geometry_of

    spacing = geometry_of(volume).spacing
    return np.diag([*spacing[::-1], 1.0])


def test_a_phantom_of_physicists_scanned_as_a_head(patient, tmp_path):
    """Nothing is written, and the reason is that it is no head."""
    (tmp_path / "in").mkdir()
    before = slices(patient)
    values = real_values(cylinder()).values
    for k, dataset in enumerate(before):
        picture = np.full((dataset.Rows, dataset.Columns), -1000.0)
        own = values[min(k * len(values) // len(before), len(values) - 1)]
        rows, columns = min(own.shape[0], dataset.Rows), min(own.shape[1], dataset.Columns)
        picture[:rows, :columns] = own[:rows, :columns]
        stored = np.rint((picture - float(dataset.RescaleIntercept)) / float(dataset.RescaleSlope))
        kind = np.int16 if dataset.PixelRepresentation else np.uint16
        dataset.PixelData = np.clip(stored, np.iinfo(kind).min, np.iinfo(kind).max).astype(kind).tobytes()
        dataset.save_as(tmp_path / "in" / f"{k}.dcm")
    run = deface(tmp_path / "in", tmp_path / "out")
    assert run.exit_code == 1
    assert not list((tmp_path / "out").rglob("*.dcm"))
    lines = [json.loads(line) for line in (tmp_path / "out" / "audit.jsonl").read_text().splitlines()]
    assert {line["status"] for line in lines} == {"refused"}
