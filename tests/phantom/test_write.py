import hashlib
import shutil
import subprocess

import numpy as np
import pydicom
import pytest

from defacedask.anatomy.structure_names import STUDY_NAMES
from defacedask.errors import ConfigError, OutputError
from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.dose import read_dose
from defacedask.io.dicom.image import read_image
from defacedask.io.dicom.structures import read_structures
from defacedask.phantom import write_phantom
from defacedask.phantom.anatomy import Target
from defacedask.volume import geometry_of, real_values


def digests(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


SEED = 5  # of `virtual_cohort`


@pytest.fixture(scope="module")
def cohort(virtual_cohort):
    return virtual_cohort


@pytest.fixture(scope="module")
def found(cohort):
    return scan(cohort)


def test_tree_and_catalogue(cohort, found):
    assert [p.name for p in sorted(cohort.iterdir())] == ["VP-0001", "VP-0002"]
    assert not found.skipped
    assert len(found.cases) == 4  # a frame of reference each scan
    for case in found.cases:
        assert sorted(s.modality for s in case.images) == ["CT", "MR", "PT"]
        assert len(case.structures) == len(case.doses) == len(case.plans) == 1
        assert case.primary.modality == "CT"
    files = [pydicom.dcmread(p, stop_before_pixels=True) for p in cohort.rglob("*.dcm")]
    instances = [ds.SOPInstanceUID for ds in files]
    assert len(set(instances)) == len(instances)
    assert all(len(uid) <= 64 for uid in instances)
    assert {ds.PatientID for ds in files} == {"VP-0001", "VP-0002"}


def test_same_seed_same_bytes_in_any_number_of_processes(cohort, tmp_path):
    write_phantom(tmp_path / "again", 2, seed=SEED, scans=1, size="coarse", workers=2)
    again, first = digests(tmp_path / "again"), digests(cohort)
    assert again
    assert again == {name: first[name] for name in again}


def test_another_seed_is_another_person(cohort, tmp_path):
    write_phantom(tmp_path / "other", 1, seed=2, size="coarse", modalities=["PT"])
    assert not set(digests(tmp_path / "other").values()) & set(digests(cohort).values())
    mine = {pydicom.dcmread(p).SOPInstanceUID for p in (cohort / "VP-0001/STUDY-1/PT").iterdir()}
    other = {pydicom.dcmread(p).SOPInstanceUID for p in (tmp_path / "other").rglob("*.dcm")}
    assert not mine & other


def test_structures_lie_where_their_names_say(found):
    for case in found.cases:
        image = read_image(case.primary)
        grid = geometry_of(image)
        hu = real_values(image).values
        structures = {s.name: s for s in read_structures(case.structures[0], grid)}
        assert set(structures) == {*STUDY_NAMES, "SpinalCord", "BODY"}
        assert not any(s.warnings for s in structures.values())

        def inside(name, structures=structures, hu=hu):
            box = tuple(
                slice(a, a + n)
                for a, n in zip(structures[name].start, structures[name].mask.shape, strict=True)
            )
            return hu[box][structures[name].mask]

        def centre(name, structures=structures, grid=grid):
            part = structures[name]
            return grid.to_world(np.argwhere(part.mask).mean(axis=0) + part.start)

        for name in ("Eye", "Parotid", "OpticNrv"):
            assert centre(f"{name}_L")[0] > centre(f"{name}_R")[0] + 15
        assert centre("Eye_L")[1] < centre("Brain")[1]  # eyes in front
        assert centre("Bone_Mandible")[2] < centre("Brain")[2]  # jaw below
        assert np.median(inside("Brain")) == pytest.approx(35, abs=10)
        assert np.median(inside("Bone_Mandible")) > 400
        assert np.median(inside("Eye_L")) == pytest.approx(14, abs=15)
        assert structures["BODY"].interpreted_type == "EXTERNAL"
        assert structures["Target"].interpreted_type == "PTV"
        body = inside("BODY")
        assert (body < -400).mean() < 0.06  # airways only
        # outside the body there is air, but for couch and headrest behind
        outside = hu > -400
        part = structures["BODY"]
        box = tuple(slice(a, a + n) for a, n in zip(part.start, part.mask.shape, strict=True))
        outside[box] &= ~part.mask
        front = part.start[1] + part.mask.shape[1] - int(45 / grid.spacing[1])
        assert outside[:, :front].mean() < 0.005


def test_couch_and_headrest_are_there_and_behind(found):
    case = found.cases[0]
    image = read_image(case.primary)
    hu = real_values(image).values
    shell = (hu > -400).mean(axis=(0, 2))
    back = hu.shape[1] - int(120 / geometry_of(image).spacing[1])
    board = np.flatnonzero(((hu > -400).mean(axis=2) > 0.6).mean(axis=0) > 0.9)
    assert len(board)
    assert board.min() > back
    assert shell[0] == 0


def test_dose_covers_the_target_and_spares_the_air(found):
    sites = set()
    for case in found.cases:
        subject = int(case.patient_id[-4:])
        target = Target.draw(SEED, subject)
        sites.add(target.site)
        dose = read_dose(case.doses[0])
        gray = real_values(dose).values
        part = {s.name: s for s in read_structures(case.structures[0], geometry_of(dose))}
        box = tuple(
            slice(a, a + n) for a, n in zip(part["Target"].start, part["Target"].mask.shape, strict=True)
        )
        median = np.median(gray[box][part["Target"].mask])
        assert median == pytest.approx(target.prescription * 1.02, rel=0.05)
        assert gray.max() < 1.2 * target.prescription
        body = np.zeros(gray.shape, bool)
        box = tuple(slice(a, a + n) for a, n in zip(part["BODY"].start, part["BODY"].mask.shape, strict=True))
        body[box] = part["BODY"].mask
        assert gray[~body].mean() < 0.02 * gray[body].mean()
    assert sites == {"oropharynx", "brain"}


def test_pet_is_in_suv_and_brain_and_target_are_hot(found):
    case = found.cases[0]
    series = next(s for s in case.images if s.modality == "PT")
    image = read_image(series)
    assert image.attrs["real_units"] == "g/mL"
    suv = real_values(image).values
    part = {s.name: s for s in read_structures(case.structures[0], geometry_of(image))}

    def mean(name):
        box = tuple(slice(a, a + n) for a, n in zip(part[name].start, part[name].mask.shape, strict=True))
        return suv[box][part[name].mask].mean()

    assert 4 < mean("Brain") < 9
    assert mean("Target") > 5
    assert mean("Cavity_Oral") < 2
    assert mean("Parotid_L") > 1.2


def test_mr_has_noise_in_air_and_the_same_head_as_the_ct(found):
    case = found.cases[0]
    mr = next(s for s in case.images if s.modality == "MR")
    image = read_image(mr)
    values = real_values(image).values
    corner = values[:, :4, :4]
    assert 5 < corner.mean() < 60  # Rician: never zero on average
    part = {s.name: s for s in read_structures(case.structures[0], geometry_of(image))}
    box = tuple(slice(a, a + n) for a, n in zip(part["Brain"].start, part["Brain"].mask.shape, strict=True))
    assert values[box][part["Brain"].mask].mean() > 10 * corner.mean()


def test_second_scan_is_the_same_head_elsewhere(found):
    one, two = sorted(
        (c for c in found.cases if c.patient_id == "VP-0001"), key=lambda c: c.primary.description
    )
    grids = [geometry_of(read_image(c.primary)) for c in (one, two)]
    assert one.frame_of_reference != two.frame_of_reference
    assert one.primary.study_uid != two.primary.study_uid
    assert grids[0].spacing != grids[1].spacing
    brains = []
    for case, grid in zip((one, two), grids, strict=True):
        brain = next(s for s in read_structures(case.structures[0], grid) if s.name == "Brain")
        brains.append(brain.mask.sum() * grid.voxel_volume)
    assert brains[0] == pytest.approx(brains[1], rel=0.03)


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy is not installed")
def test_dciodvfy_finds_no_error(cohort):
    folder = cohort / "VP-0002" / "STUDY-2"
    files = [*sorted((folder / "RT").iterdir())]
    files += [sorted((folder / name).iterdir())[20] for name in ("CT", "MR", "PT")]
    for path in files:
        done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
        said = (done.stdout + done.stderr).splitlines()
        assert [line for line in said if line.startswith("Error")] == []
        assert done.returncode == 0


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    from defacedask.phantom import write

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "write_mr", full)
    with pytest.raises(OutputError, match=r"No space left.*Free space"):
        write_phantom(tmp_path / "out", 1, size="coarse")
    assert list(tmp_path.iterdir()) == []


def test_more_patients_join_a_folder_but_never_overwrite(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    write_phantom(out, 1, size="coarse", modalities=["PT"])
    assert sorted(p.name for p in out.iterdir()) == ["VP-0001", "notes.txt"]
    with pytest.raises(OutputError, match="already holds VP-0001"):
        write_phantom(out, 2, size="coarse", modalities=["PT"])
    assert sorted(p.name for p in out.iterdir()) == ["VP-0001", "notes.txt"]


def test_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        write_phantom(tmp_path / "file", 1)
    with pytest.raises(OutputError, match="cannot write"):
        write_phantom(tmp_path / "file" / "below", 1)


@pytest.mark.parametrize(
    "options",
    [
        {"subjects": 0},
        {"subjects": 1, "scans": 0},
        {"subjects": 1, "modalities": ["US"]},
        {"subjects": 1, "modalities": []},
        {"subjects": 1, "size": "huge"},
        {"subjects": 1, "seed": -1},
    ],
)
def test_senseless_options(tmp_path, options):
    with pytest.raises(ConfigError):
        write_phantom(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
