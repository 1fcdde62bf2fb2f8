"""Real structure sets: the masks they were made from, and plastimatch's masks of them, voxel for voxel."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from support.rt_writers import openkbp_dicom

from defacedask.geometry import Geometry
from defacedask.io.dicom.structures import read_structures

pytestmark = pytest.mark.data
PATIENTS = ("pt_24", "pt_100")


def grid_of(folder: Path) -> Geometry:
    """Geometry straight from the headers, by none of the package's readers."""
    headers = [pydicom.dcmread(f, stop_before_pixels=True) for f in folder.iterdir()]
    headers = [h for h in headers if h.get("Modality") in ("CT", "MR", "PT")]
    axes = np.array(headers[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(*axes)
    places = sorted((np.array(h.ImagePositionPatient, float) for h in headers), key=lambda p: p @ normal)
    down, across = (float(v) for v in headers[0].PixelSpacing)
    return Geometry.from_steps(
        (len(headers), headers[0].Rows, headers[0].Columns),
        places[0],
        (places[-1] - places[0]) / (len(places) - 1),
        axes[1] * down,
        axes[0] * across,
        headers[0].FrameOfReferenceUID,
    )


def plastimatch(rtstruct: Path, images: Path, out: Path) -> dict[str, np.ndarray]:
    """Masks by plastimatch with holes by exclusive or; it stores slices upwards as we do."""
    if shutil.which("plastimatch") is None:
        pytest.skip("plastimatch is not installed")
    given = ["--referenced-ct", images] if images.is_dir() else ["--fixed", images]
    command = ["plastimatch", "convert", "--xor-contours", "--input", rtstruct, *given]
    subprocess.run(
        [*map(str, command), "--output-prefix", str(out), "--prefix-format", "nrrd"],
        check=True,
        capture_output=True,
    )
    return {p.stem: sitk.GetArrayFromImage(sitk.ReadImage(str(p))).astype(bool) for p in out.glob("*.nrrd")}


@pytest.fixture
def openkbp(shared_data, shared_tools, patient):
    return openkbp_dicom(shared_tools / "openkbp_to_dicom.py", shared_data / "openkbp", patient)


@pytest.mark.parametrize("patient", PATIENTS)
def test_openkbp_gives_the_original_masks_back(openkbp, shared_data, patient):
    grid = grid_of(openkbp)
    structures = read_structures(openkbp / "RS.dcm", grid)
    stored = np.load(shared_data / "openkbp" / f"{patient}.npz")
    masks = {str(n): (stored["roi_bits"] >> i) & 1 for i, n in enumerate(stored["roi_names"])}
    compared = 0
    for structure in structures:
        if structure.original_name in masks:
            expected = np.moveaxis(masks[structure.original_name], 2, 0)[::-1].astype(bool)
            assert np.array_equal(structure.full(grid.shape), expected), structure.original_name
            compared += 1
    assert compared >= 5
    assert {"Bone_Mandible", "Brainstem", "Parotid_L", "Parotid_R", "Target"} <= {s.name for s in structures}


@pytest.mark.parametrize("patient", PATIENTS)
def test_openkbp_equals_plastimatch(openkbp, tmp_path):
    folder = openkbp
    grid = grid_of(folder)
    theirs = plastimatch(folder / "RS.dcm", folder, tmp_path / "masks")
    ours = {s.original_name: s.full(grid.shape) for s in read_structures(folder / "RS.dcm", grid)}
    assert ours.keys() == theirs.keys()
    for name, mask in ours.items():
        assert np.array_equal(mask, theirs[name]), name


@pytest.mark.parametrize("modality", ["CT", "PET", "MR_T1"])
def test_sarcoma_equals_plastimatch(shared_data, modality, tmp_path):
    folder = shared_data / "rt_sts_001" / modality / "dicom"
    grid = grid_of(folder / "image")
    (structure,) = read_structures(folder / "mask" / "RS.dcm", grid)
    (theirs,) = plastimatch(folder / "mask" / "RS.dcm", folder / "image", tmp_path / "masks").values()
    assert structure.name == "Target"
    assert structure.voxels > 5000
    assert np.array_equal(structure.full(grid.shape), theirs)


def test_dicompyler_equals_plastimatch(shared_data, tmp_path):
    """141 contours a body, several polygons a slice, an empty region, thin ones; one image slice is known."""
    folder = shared_data / "rt_dicompyler"
    head = pydicom.dcmread(folder / "ct.0.dcm", stop_before_pixels=True)
    x, y, _ = (float(v) for v in head.ImagePositionPatient)
    down, across = (float(v) for v in head.PixelSpacing)
    grid = Geometry.from_spacing(
        (98, head.Rows, head.Columns), (3, down, across), (x, y, -122.44), head.FrameOfReferenceUID
    )
    image = sitk.Image([*reversed(grid.shape)], sitk.sitkUInt8)
    image.SetOrigin([x, y, -122.44])
    image.SetSpacing([across, down, 3])
    sitk.WriteImage(image, str(tmp_path / "grid.nrrd"))
    theirs = plastimatch(folder / "rtss.dcm", tmp_path / "grid.nrrd", tmp_path / "masks")
    structures = read_structures(folder / "rtss.dcm", grid)
    assert [s.original_name for s in structures if s.empty] == ["Areola"]
    ours = {s.original_name: s.full(grid.shape) for s in structures if not s.empty}
    assert len(ours) == 9
    for name, mask in ours.items():
        assert np.array_equal(mask, theirs[name]), name


def test_points_of_the_pydicom_file_are_ignored(shared_data):
    grid = Geometry.from_spacing((40, 100, 100), (5, 5, 5), (-250, -250, -250))
    body, *points = read_structures(shared_data / "rt_pydicom" / "rtstruct.dcm", grid)
    assert body.interpreted_type == "EXTERNAL"
    assert body.mask.shape == (6, 60, 80)  # three contours 10 mm apart on 5 mm slices
    assert all(p.empty and any("POINT" in w for w in p.warnings) for p in points)
