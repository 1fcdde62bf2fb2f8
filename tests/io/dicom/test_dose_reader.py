"""RTDOSE files of every kind of plane order, and those that must be refused."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from support.rt_writers import FRAME, mutated, openkbp_dicom, write_dose

from defacedask.errors import DefacedaskError, InputError, RefusedError
from defacedask.geometry import Geometry
from defacedask.io.dicom.dose import read_dose
from defacedask.volume import geometry_of, real_values

STORED = np.arange(4 * 3 * 5, dtype=np.uint16).reshape(4, 3, 5)
GRID = Geometry.from_spacing((4, 3, 5), (2.5, 3, 2), (-10, 20, 30), FRAME)


def test_relative_offsets(tmp_path):
    path = write_dose(tmp_path / "rd.dcm", STORED)
    dose = read_dose(path)
    assert dose.dtype == np.uint16
    assert np.array_equal(dose.values, STORED)
    assert geometry_of(dose) == GRID
    assert (dose.attrs["modality"], dose.attrs["real_units"]) == ("RTDOSE", "Gy")
    assert dose.attrs["frames"] == [0, 1, 2, 3]
    assert (dose.attrs["dose_type"], dose.attrs["dose_summation_type"]) == ("PHYSICAL", "PLAN")
    assert np.allclose(real_values(dose), STORED * 0.001)


def test_absolute_offsets(tmp_path):
    dose = read_dose(write_dose(tmp_path / "rd.dcm", STORED, GridFrameOffsetVector=[30, 32.5, 35, 37.5]))
    assert geometry_of(dose).close_to(GRID)
    with pytest.raises(RefusedError, match="neither 0 nor"):
        read_dose(write_dose(tmp_path / "rd.dcm", STORED, GridFrameOffsetVector=[31, 33.5, 36, 38.5]))
    sideways = [0, 1, 0, 0, 0, -1]
    with pytest.raises(RefusedError, match="axial"):
        read_dose(
            write_dose(
                tmp_path / "rd.dcm",
                STORED,
                GridFrameOffsetVector=[30, 32.5, 35, 37.5],
                ImageOrientationPatient=sideways,
            )
        )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.permutations(range(4)),
    st.tuples(*[st.floats(-90, 90)] * 3),
    st.sampled_from([1.0, 2.5, 3.3]),
    st.booleans(),
)
def test_any_order_and_orientation_gives_every_value_its_place(tmp_path, order, angles, step, down):
    """Stored frames in any order: the dose at a point in the patient stays what was put there."""
    axes = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    steps = np.arange(4) * step * (-1 if down else 1)
    offsets = steps[list(order)] - steps[order[0]]
    path = write_dose(
        tmp_path / "rd.dcm",
        STORED,
        GridFrameOffsetVector=[f"{v:.6g}" for v in offsets],
        ImageOrientationPatient=[f"{v:.12f}" for v in np.concatenate([axes[0], axes[1]])],
    )
    dose = read_dose(path)
    grid = geometry_of(dose)
    normal = np.cross(axes[0], axes[1])
    assert grid.directions[:, 0] @ normal == pytest.approx(1)
    for frame, offset in enumerate(offsets):
        place = np.array([-10, 20, 30]) + offset * normal + 2 * 3 * axes[1] + 4 * 2 * axes[0]
        index = grid.to_index(place)
        assert np.allclose(index, np.round(index), atol=1e-5)
        assert dose.values[tuple(np.round(index).astype(int))] == STORED[frame, 2, 4]


def test_32_bits(tmp_path):
    stored = STORED.astype(np.uint32) * 70_000_000
    dose = read_dose(write_dose(tmp_path / "rd.dcm", stored, DoseGridScaling="1.5e-8"))
    assert dose.dtype == np.uint32
    assert np.array_equal(dose.values, stored)
    assert np.allclose(real_values(dose, np.float64), stored * 1.5e-8, rtol=1e-12)


def test_single_plane(tmp_path):
    one = {"NumberOfFrames": None, "GridFrameOffsetVector": None, "FrameIncrementPointer": None}
    dose = read_dose(write_dose(tmp_path / "rd.dcm", STORED[:1], SliceThickness="4", **one))
    assert dose.shape == (1, 3, 5)
    assert geometry_of(dose).spacing == (4, 3, 2)
    with pytest.raises(RefusedError, match="unknown thickness"):
        read_dose(write_dose(tmp_path / "rd.dcm", STORED[:1], **one))


def test_uneven_repeated_or_missing_planes_are_refused(tmp_path):
    with pytest.raises(RefusedError, match="unevenly spaced"):
        read_dose(write_dose(tmp_path / "rd.dcm", STORED, GridFrameOffsetVector=[0, 2.5, 5, 8.17]))
    with pytest.raises(RefusedError, match="same place"):
        read_dose(write_dose(tmp_path / "rd.dcm", STORED, GridFrameOffsetVector=[0, 2.5, 2.5, 5]))
    with pytest.raises(RefusedError, match="4 planes but 3"):
        read_dose(write_dose(tmp_path / "rd.dcm", STORED, GridFrameOffsetVector=[0, 2.5, 5]))


@pytest.mark.parametrize(
    ("offsets", "step", "frames"),
    [
        ([0, 2.5, 5, 10], 2.5, [0, 1, 2, -1, 3]),
        ([0, -2, -5, -7], 1, [3, -1, 2, -1, -1, 1, -1, 0]),
        ([5, 0, 2.5, 10], 2.5, None),
        ([0, 3, 7.5, 12], 1.5, [0, -1, 1, -1, -1, 2, -1, -1, 3]),
    ],
)
def test_uneven_planes_lie_on_the_even_grid_that_holds_all(tmp_path, offsets, step, frames):
    """Each plane where it was, and linear between planes: as any reader would interpolate them."""
    if offsets[0]:
        offsets = [one - offsets[0] for one in offsets]
    dose = read_dose(write_dose(tmp_path / "rd.dcm", STORED, GridFrameOffsetVector=offsets))
    grid = geometry_of(dose)
    assert grid.spacing[0] == pytest.approx(step)
    assert frames is None or dose.attrs["frames"] == frames
    places = np.array(offsets) - min(offsets)
    for plane, frame in enumerate(dose.attrs["frames"]):
        if frame >= 0:
            assert plane * step == pytest.approx(places[frame])
            assert np.array_equal(dose.values[plane], STORED[frame])
        else:
            order = np.argsort(places)
            between = [np.interp(plane * step, places[order], v[order]) for v in STORED.reshape(4, -1).T]
            assert np.abs(dose.values[plane].ravel() - between).max() <= 0.5


def test_rounded_offsets_are_even(tmp_path):
    offsets = [0, 3.33, 6.67, 10.0]
    dose = read_dose(write_dose(tmp_path / "rd.dcm", STORED, GridFrameOffsetVector=offsets))
    assert geometry_of(dose).spacing[0] == pytest.approx(10 / 3)


def test_units(tmp_path):
    path = write_dose(tmp_path / "rd.dcm", STORED, DoseUnits="RELATIVE")
    with pytest.raises(RefusedError, match="RELATIVE"):
        read_dose(path)
    assert read_dose(path, allow_relative=True).attrs["real_units"] == "1"
    with pytest.raises(RefusedError, match="without units"):
        read_dose(write_dose(tmp_path / "rd.dcm", STORED, DoseUnits=None), allow_relative=True)
    with pytest.raises(RefusedError, match="errors"):
        read_dose(write_dose(tmp_path / "rd.dcm", STORED, DoseType="ERROR"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"DoseGridScaling": None},
        {"DoseGridScaling": "0"},
        {"DoseGridScaling": "-1"},
        {"ImagePositionPatient": None},
        {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
        {"PixelSpacing": [0, 2]},
        {"NumberOfFrames": 0},
        {"Rows": 7},
    ],
)
def test_unusable_headers(tmp_path, wrong):
    with pytest.raises(InputError):
        read_dose(write_dose(tmp_path / "rd.dcm", STORED, **wrong))


def test_not_a_dose(tmp_path):
    path = tmp_path / "x.dcm"
    path.write_bytes(b"not DICOM, though long enough to be looked at" * 20)
    with pytest.raises(InputError):
        read_dose(path)
    whole = write_dose(tmp_path / "rd.dcm", STORED).read_bytes()
    for part in (200, len(whole) // 2, len(whole) - 20):
        path.write_bytes(whole[:part])
        with pytest.raises(InputError):
            read_dose(path)


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_end_in_a_sentence(tmp_path):
    whole = write_dose(tmp_path / "rd.dcm", STORED).read_bytes()
    path, reasons = tmp_path / "x.dcm", []
    for seed in range(300):
        path.write_bytes(mutated(whole, seed))
        try:
            dose = read_dose(path)
        except DefacedaskError as error:
            reasons.append(error.message)
        else:
            assert dose.shape == geometry_of(dose).shape
    assert 0 < len(reasons) < 300
    assert all(reasons)


def test_several_files(tmp_path):
    one = {"NumberOfFrames": None, "GridFrameOffsetVector": None, "FrameIncrementPointer": None}
    planes = [
        write_dose(
            tmp_path / f"{k}.dcm", STORED[k : k + 1], ImagePositionPatient=[-10, 20, 30 + 2.5 * k], **one
        )
        for k in (2, 0, 3, 1)
    ]
    dose = read_dose(planes)
    assert geometry_of(dose).close_to(GRID)
    assert np.array_equal(dose.values, STORED)
    beam = write_dose(tmp_path / "b.dcm", STORED[:1], DoseSummationType="BEAM", **one)
    with pytest.raises(RefusedError, match="differ in DoseSummationType"):
        read_dose([*planes, beam])
    shifted = write_dose(tmp_path / "s.dcm", STORED[:1], ImagePositionPatient=[-9, 20, 40], **one)
    with pytest.raises(RefusedError, match="sideways"):
        read_dose([*planes, shifted])
    whole = write_dose(tmp_path / "whole.dcm", STORED)
    with pytest.raises(RefusedError, match="2 dose grids"):
        read_dose([whole, whole])
    with pytest.raises(InputError):
        read_dose([])


@pytest.mark.data
def test_openkbp_dose(shared_data, shared_tools, tmp_path):
    tool, source = shared_tools / "openkbp_to_dicom.py", shared_data / "openkbp"
    path = openkbp_dicom(tool, source, "pt_24") / "RD.dcm"
    dose = read_dose(path)
    stored = np.load(shared_data / "openkbp" / "pt_24.npz")
    assert np.array_equal(dose.values, np.moveaxis(stored["dose_cgy"], 2, 0)[::-1])
    assert real_values(dose).max() == pytest.approx(stored["dose_cgy"].max() / 100)
    grid = geometry_of(dose)
    dy, dx, dz = (float(v) for v in stored["voxel_mm"])
    assert np.allclose(grid.spacing, (dz, dy, dx), rtol=1e-5)
    assert grid.codes == "SPL"
    values = real_values(dose).values
    same_as_image(sitk.ReadImage(str(path)), values / dose.slope.values[0], grid, "SimpleITK")
    if shutil.which("plastimatch"):
        out = tmp_path / "dose.nrrd"
        command = ["plastimatch", "convert", "--input-dose-img", path, "--output-dose-img", out]
        subprocess.run(command, check=True, capture_output=True)
        same_as_image(sitk.ReadImage(str(out)), values, grid, "plastimatch")


def same_as_image(image, values, grid, reader) -> None:
    """Every voxel of an ITK image has our value at the same place."""
    corners = [(0, 0, 0), tuple(n - 1 for n in image.GetSize()), (5, 20, 90)]
    for corner in corners:
        index = grid.to_index(image.TransformIndexToPhysicalPoint(corner))
        assert np.allclose(index, np.round(index), atol=1e-3), reader
    flip = grid.to_index(image.GetOrigin())[0] > 1
    theirs = sitk.GetArrayFromImage(image)[:: -1 if flip else 1]
    assert np.allclose(theirs, values, rtol=1e-5, atol=1e-3), reader


@pytest.mark.data
@pytest.mark.parametrize("name", ["rtdose.dcm", "rtdose_1frame.dcm"])
def test_relative_doses_of_pydicom(shared_data, name):
    path = shared_data / "rt_pydicom" / name
    with pytest.raises(RefusedError, match="RELATIVE"):
        read_dose(path)
    if name == "rtdose.dcm":
        dose = read_dose(path, allow_relative=True)
        assert dose.shape == (15, 10, 10)
        assert geometry_of(dose).spacing == (5, 10, 10)
    else:
        with pytest.raises(RefusedError, match="unknown thickness"):
            read_dose(path, allow_relative=True)
