"""Real series, read here and by independent readers: same voxels, same places in the patient."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest

from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.image import read_image
from defacedask.volume import geometry_of, real_values

pytestmark = pytest.mark.data

SERIES = {
    "H&N planning CT": ("ct_pycerr_hn", "CT"),
    "oblique sagittal MR": ("mr_trio_b17", "MR"),
    "H&N PET": ("pet_qin_hn_0024/PET", "PT"),
    "limb CT": ("rt_sts_001/CT", "CT"),
    "limb PET": ("rt_sts_001/PET", "PT"),
    "limb MR": ("rt_sts_001/MR_T1", "MR"),
    "openkbp CT": ("openkbp", "CT"),
}


@pytest.fixture(scope="session")
def openkbp_case(shared_data, shared_tools, tmp_path_factory):
    out = tmp_path_factory.mktemp("openkbp")
    tool = shared_tools / "openkbp_to_dicom.py"
    command = [sys.executable, tool, shared_data / "openkbp", out, "--only", "pt_24", "--no-rt"]
    subprocess.run(command, check=True, capture_output=True)
    return out / "pt_24"


@pytest.fixture(params=SERIES)
def series(request, shared_data):
    folder, modality = SERIES[request.param]
    where = request.getfixturevalue("openkbp_case") if folder == "openkbp" else shared_data / folder
    images = [image for case in scan(where).cases for image in case.images]
    (image,) = [image for image in images if image.modality == modality]
    return image


def rescaled(image, volume):
    """Values as every reader gives them: stored x slope + intercept, without the factor to SUV."""
    if image.modality == "PT":
        return real_values(volume, np.float64).values / image.facts["suv"]["factor"]
    return real_values(volume).values


def assert_same(image, volume, theirs, atol_mm):
    """``theirs`` is a SimpleITK image: same grid, same voxels, in whichever slice order."""
    import SimpleITK as sitk

    values = sitk.GetArrayFromImage(theirs)
    ours = rescaled(image, volume)
    assert values.shape == ours.shape
    grid = geometry_of(volume)
    nz, ny, nx = grid.shape
    for z, y, x in ((0, 0, 0), (nz - 1, 0, 0), (0, ny - 1, 0), (0, 0, nx - 1), (nz - 1, ny - 1, nx - 1)):
        point = theirs.TransformContinuousIndexToPhysicalPoint((float(x), float(y), float(z)))
        np.testing.assert_allclose(grid.to_world([z, y, x]), point, atol=atol_mm)
    slopes = volume.coords["slope"].values
    if (slopes != np.rint(slopes)).any():
        # such slopes make real numbers, which the other readers keep as float32
        assert np.abs(values - ours).max() <= 1e-6 * np.abs(ours).max()
    else:
        assert np.array_equal(values.astype(ours.dtype), ours)


def test_simpleitk_reads_the_same(series):
    import SimpleITK as sitk

    volume = read_image(series)
    folder = series.files[0].rsplit("/", 1)[0]
    reader = sitk.ImageSeriesReader()
    names = reader.GetGDCMSeriesFileNames(folder, series.uid)
    assert len(names) == len(series.files)
    assert [name.rsplit("/", 1)[1] for name in names] == [name.rsplit("/", 1)[1] for name in series.files]
    reader.SetFileNames(names)
    assert_same(series, volume, reader.Execute(), atol_mm=1e-3)


def test_plastimatch_reads_the_same(series, tmp_path):
    import SimpleITK as sitk

    if shutil.which("plastimatch") is None:
        pytest.skip("plastimatch is not installed")
    folder = tmp_path / "in"
    folder.mkdir()
    for file in series.files:
        (folder / file.rsplit("/", 1)[1]).symlink_to(file)
    out = tmp_path / "out.nrrd"
    command = ["plastimatch", "convert", "--input", folder, "--output-img", out, "--output-type", "float"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert out.exists(), done.stdout[-500:] + done.stderr[-500:]
    assert_same(series, read_image(series), sitk.ReadImage(str(out)), atol_mm=1e-2)


def test_suv_of_the_head_and_neck_pet_is_plausible(shared_data):
    (case,) = scan(shared_data / "pet_qin_hn_0024").cases
    image = case.primary
    facts = image.facts["suv"]
    assert facts["delay_s"] == pytest.approx(5024.678)  # 11:39:00 to 13:02:44.678
    volume = read_image(image)
    assert volume.attrs["real_units"] == "g/mL"
    values = real_values(volume).values
    # body-weight SUV is about 1 on average over the body, by definition of the unit
    assert 0.5 < values[values > 0.1].mean() < 2
    assert case.others[0].modality == "SEG"


def test_limb_is_one_case_with_its_structures(shared_data):
    (case,) = scan(shared_data / "rt_sts_001").cases
    assert sorted(s.modality for s in case.images) == ["CT", "MR", "PT"]
    assert len(case.structures) == 3
    # the images were cropped and renamed after the structures were drawn: only the frame of reference is left
    known = {uid for image in case.images for uid in (image.uid, *image.instances)}
    for structures in case.structures:
        assert structures.references
        assert not known & set(structures.references)
        assert structures.frame_of_reference == case.frame_of_reference


def test_odd_files_are_refused_each_for_its_reason(shared_data):
    reasons = {s.modality: s.reason for s in scan(shared_data / "rt_dicompyler").skipped if s.modality}
    assert "single slice" in reasons["CT"]
    assert "refers to is refused" in reasons["RTSTRUCT"]
    assert "not there" in reasons["RTPLAN"]
    (skip,) = [s for s in scan(shared_data / "deident_header_mrireface").skipped if s.modality == "MR"]
    assert "slices are missing" in skip.reason


@pytest.mark.parametrize("name", ["mr_ixi012", "mr_colin27_ch2"])
def test_nifti_agrees_with_simpleitk(shared_data, name):
    import SimpleITK as sitk

    for case in scan(shared_data / name).cases:
        volume = read_image(case.primary)
        theirs = sitk.ReadImage(case.primary.files[0])
        assert_same(case.primary, volume, theirs, atol_mm=2e-3)
