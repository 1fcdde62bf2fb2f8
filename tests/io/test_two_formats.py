"""One head as DICOM and as NIfTI, by one plan: what leaves of both is the same, so that one attack tells of both."""

from __future__ import annotations

import nibabel
import numpy as np
import pydicom
import pytest
from support.export_kit import one_case, run_export

from defacedask.anatomy.head import Head
from defacedask.defacers import get_defacer
from defacedask.io.dicom.image import read_image
from defacedask.io.nifti.write import mask_path
from defacedask.volume import geometry_of, real_values

#: LPS to RAS.
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def patient(virtual_patients, tmp_path_factory):
    """(source folder, CT, plan, DICOM output) of one virtual patient, with carina's layer."""
    source = virtual_patients / "VP-0001"
    volume = read_image(one_case(source).primary).load()
    plan = get_defacer("carina").plan(Head(volume), key=bytes(range(32)))
    work = tmp_path_factory.mktemp("dicom")
    return source, volume, plan, run_export(source, work, plan, masks=["nifti"], allow_reversible=True)[1]


@pytest.fixture(scope="module", params=["rows as they are", "rows from the back"])
def both(request, patient, tmp_path_factory):
    """``patient``, the same voxels' NIfTI output, and whether its rows are the other way round."""
    _, volume, plan, _ = patient
    work = tmp_path_factory.mktemp("nifti")
    grid, back = geometry_of(volume), request.param == "rows from the back"
    values = real_values(volume).values.astype(np.int16)
    if back:
        planes, rows, columns = grid.shape
        grid = grid.block((0, rows - 1, 0), (planes, -1, columns), (1, -1, 1))
        values = values[:, ::-1]
    (work / "in").mkdir()
    image = nibabel.Nifti1Image(values.T, (RAS @ grid.affine)[:, [2, 1, 0, 3]])
    nibabel.save(image, work / "in" / "sub-01_ct.nii.gz")
    return *patient, run_export(work / "in", work, plan, allow_reversible=True)[1], back


def test_voxels(both):
    _, volume, plan, dicom, nifti, back = both
    slices = sorted(dicom.glob("**/CT*/*.dcm"), key=lambda p: pydicom.dcmread(p).ImagePositionPatient[2])
    stored = [pydicom.dcmread(p) for p in slices]
    mine = np.stack([d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in stored])
    (file,) = nifti.rglob("*_ct.nii.gz")
    theirs = np.asarray(nibabel.load(file).dataobj).T[:, :: -1 if back else 1]
    region = np.asarray(plan.region(geometry_of(volume)))
    assert (mine != real_values(volume).values)[region].mean() > 0.5
    # a NIfTI's affine has single precision: what falls on a half may be rounded to either side
    differs = mine != theirs
    assert np.abs(mine - theirs).max() <= 1
    assert differs.sum() < 1e-3 * region.sum()
    assert not (differs & ~region).any()


def test_masks(both):
    *_, dicom, nifti, _ = both
    (file,) = nifti.rglob("*_ct.nii.gz")
    (beside,) = dicom.rglob("defacemask_CT_*.nii.gz")
    theirs, mine = (nibabel.as_closest_canonical(nibabel.load(p)) for p in (mask_path(file), beside))
    assert mine.affine == pytest.approx(theirs.affine, abs=1e-3)
    held = np.asarray(mine.dataobj) > 0
    np.testing.assert_array_equal(held, np.asarray(theirs.dataobj) > 0)
    assert 0.05 < held.mean() < 0.95
